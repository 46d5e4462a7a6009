"""The host in the replay: the calls of the launching threads, in order, as one program.

::

    host      ├ launch ┤ think ├ launch ┤ think ├─ synchronize ──────────────┤
                                                ├ own ┤             residual ├─┤
    device           ├───────── awaited ───────────────────────────┤

The main thread and those of autograd alternate, so all of them are one virtual thread. Where two calls
overlap the second one's own time is what it adds. With nothing changed the program takes as long as it did.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.host_states import blocking_calls, launching_threads
from mfu_profiler.analysis.replay.joins import Pairs
from mfu_profiler.analysis.replay.queue import full_queue_waits
from mfu_profiler.trace.host_calls import waits_for_device
from mfu_profiler.trace.timeline import Activities, Timeline

__all__ = ["NEVER_NS", "HostProgram", "host_program"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

CLOCK_TOLERANCE_NS = 2_000
"""Host and device stamps of one moment differ by as much in real traces."""
NEVER_NS = np.iinfo(np.int64).min // 4
"""Before everything, and far from overflow."""
OWN_NS = 2_000
"""What a call that waits takes by itself, at most: a wait for nothing takes 1 to 3 µs in real traces."""


@dataclass(frozen=True, slots=True)
class HostProgram:
    """Calls in order of their start; shape ``(items,)`` each."""

    call: Int64
    """Row of ``Timeline.calls``."""
    start_ns: Int64
    """Recorded."""
    think_ns: Int64
    """From the end of all calls before to its start; negative where it overlaps them."""
    own_ns: Int64
    """What it adds to the end of all calls before, or to its start, without what it waited for."""
    residual_ns: Int64
    """From the end of what it waited for to its return."""
    awaits: Pairs
    """(Items that block, activities whose ends they wait for), in order of the items."""

    def __len__(self) -> int:
        return len(self.call)


def host_program(timeline: Timeline) -> HostProgram:
    """The calls of all threads that launch."""
    calls = timeline.calls
    rows = np.flatnonzero(np.isin(calls.thread, launching_threads(timeline)))
    start, end = calls.start_ns[rows], calls.end_ns[rows]
    reached = np.maximum.accumulate(end) if len(end) else end
    before = np.concatenate([start[:1], reached[:-1]])
    own = np.maximum(0, end - np.maximum(start, before))
    items, awaited = _awaits(timeline, rows)
    more_items, more_awaited = full_queue_waits(timeline, rows)
    items, awaited = np.concatenate([items, more_items]), np.concatenate([awaited, more_awaited])
    order = np.argsort(items, kind="stable")
    items, awaited = items[order], awaited[order]
    ended = np.full(len(rows), NEVER_NS)
    np.maximum.at(ended, items, timeline.activities.end_ns[awaited])
    has_blocked = ended > start
    return HostProgram(
        call=rows,
        start_ns=start,
        think_ns=start - before,
        own_ns=np.where(has_blocked, np.minimum(own, OWN_NS), own),
        residual_ns=np.where(has_blocked, end - ended, 0),
        awaits=(items, awaited),
    )


def _awaits(timeline: Timeline, rows: Int64) -> Pairs:
    """For each call that blocks the activities that it waits for.

    Of those launched before it, or by it if it is a copy, the one that ended last before it returned; where
    it waits for the whole device, that of each stream.
    """
    calls, activities = timeline.calls, timeline.activities
    for_all = timeline.by_name(calls.name, waits_for_device, np.bool_)
    queues = _Queues(activities, len(timeline.streams))
    items: list[int] = []
    awaited: list[int] = []
    for item in np.flatnonzero(blocking_calls(timeline)[rows]).tolist():
        call = int(rows[item])
        found = queues.last_ended(call, int(calls.end_ns[call]) + CLOCK_TOLERANCE_NS)
        if found and not for_all[call]:
            found = [max(found, key=lambda row: int(activities.end_ns[row]))]
        items += [item] * len(found)
        awaited += found
    return np.array(items, np.int64), np.array(awaited, np.int64)


class _Queues:
    """Launched activities by stream, in the order of their launches, which is that of the stream."""

    def __init__(self, activities: Activities, stream_count: int) -> None:
        launched = np.flatnonzero(activities.has_call)
        order = launched[np.argsort(activities.call[launched], kind="stable")]
        self._end_ns = activities.end_ns
        self._rows = [order[activities.stream[order] == stream] for stream in range(stream_count)]
        self._calls = [activities.call[rows] for rows in self._rows]

    def last_ended(self, call: int, latest_end_ns: int) -> list[int]:
        """Of each stream, among those launched by this call or before: which ended last until then."""
        found = []
        for rows, launched_by in zip(self._rows, self._calls, strict=True):
            place = int(np.searchsorted(launched_by, call, side="right")) - 1
            while place >= 0 and self._end_ns[rows[place]] > latest_end_ns:
                place -= 1
            if place >= 0:
                found.append(int(rows[place]))
        return found
