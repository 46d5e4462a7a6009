"""Waits between streams, which a trace does not name: told from the host's pattern, else from the times.

::

    host       launch x ── record ── wait ── launch a      (which event, on which stream, is not recorded)
    stream 1       ├══ x ══┤
    stream 2               └─────► ├══ a ══┤               a waits for x

Host pattern: after a ``StreamWaitEvent`` the next activity that is launched, by any thread (autograd's waits
for DDP's buckets, the main one then launches the optimizer), waits for what was launched last on each other
stream before. Times: an activity that starts shortly after one of another stream
has ended, later than its own stream and launch explain, waited for it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mfu_profiler.trace.timeline import Activities, Timeline

__all__ = ["Pairs", "joins_by_calls", "joins_by_times"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Pairs = tuple[Int64, Int64]
"""(Activities that wait, those that they wait for)."""

EARLY_NS = 500
"""So much earlier an activity may start and still have waited: stamps are rounded."""
SOON_NS = 30_000
"""Compute starts 10 to 25 µs after the collective that it waited for (real traces)."""
COLLECTIVE_SOON_NS = 80_000
"""A collective starts 36 to 79 µs after the kernel that it waited for (real traces)."""


def joins_by_calls(timeline: Timeline) -> Pairs:
    """Waits that a ``StreamWaitEvent`` says; those that the recorded times contradict are left out."""
    calls, activities = timeline.calls, timeline.activities
    is_wait = timeline.by_name(calls.name, lambda name: "StreamWaitEvent" in name, np.bool_)
    launched = np.flatnonzero(activities.has_call)
    launched = launched[np.argsort(activities.call[launched], kind="stable")]
    waiting: list[Int64] = []
    awaited: list[Int64] = []
    waits = np.flatnonzero(is_wait)
    place = np.searchsorted(activities.call[launched], waits)
    waits, next_one = waits[place < len(launched)], launched[place[place < len(launched)]]
    for stream in np.unique(activities.stream[launched]).tolist():
        queue = launched[activities.stream[launched] == stream]
        last = np.searchsorted(activities.call[queue], waits) - 1
        is_other = (last >= 0) & (activities.stream[next_one] != stream)
        waiting.append(next_one[is_other])
        awaited.append(queue[last[is_other]])
    return _possible(activities, waiting, awaited)


def _possible(activities: Activities, waiting: list[Int64], awaited: list[Int64]) -> Pairs:
    if not waiting:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    pairs = np.unique(np.stack([np.concatenate(waiting), np.concatenate(awaited)]), axis=1)
    first, second = pairs
    possible = activities.end_ns[second] <= activities.start_ns[first] + EARLY_NS
    return first[possible], second[possible]


def joins_by_times(activities: Activities, late: Int64, since_ns: Int64, communicates: Bool) -> Pairs:
    """Waits that only the times tell.

    Args:
        activities: of the trace.
        late: those that start later than is explained.
        since_ns: for each of these, when it could have started.
        communicates: for each activity.

    """
    order = np.argsort(activities.end_ns, kind="stable")
    ends = activities.end_ns[order]
    waiting, awaited = [], []
    for row, ready_ns in zip(late.tolist(), since_ns.tolist(), strict=True):
        start_ns = int(activities.start_ns[row])
        soon_ns = COLLECTIVE_SOON_NS if communicates[row] else SOON_NS
        low = int(np.searchsorted(ends, max(start_ns - soon_ns, ready_ns), side="right"))
        high = int(np.searchsorted(ends, start_ns + EARLY_NS, side="right"))
        for other in order[low:high][::-1].tolist():
            if _may_have_waited(activities, row, other):
                waiting.append(row)
                awaited.append(other)
                break
    return np.array(waiting, np.int64), np.array(awaited, np.int64)


def _may_have_waited(activities: Activities, row: int, other: int) -> bool:
    if activities.stream[other] == activities.stream[row]:
        return False
    return not activities.has_call[other] or bool(activities.call[other] < activities.call[row])
