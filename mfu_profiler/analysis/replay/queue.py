"""The queue of launches: a full one blocks the host until the device has taken something out of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.replay.joins import Pairs
from mfu_profiler.trace.host_calls import host_call_kind
from mfu_profiler.trace.timeline import Timeline

__all__ = ["full_queue_waits", "most_queued"]

Int64 = npt.NDArray[np.int64]

FULL_QUEUE = 950
"""So many waiting launches a long launch call may have been blocked: real queues hold 1,002 to 1,031."""
BLOCKED_OVER_MEDIAN = 5
"""A launch call that many times longer than usual did more than launch."""


def most_queued(timeline: Timeline) -> int:
    """Launched activities that had not started when the call after them returned, at most."""
    _, _, queued = _queued(timeline)
    return int(queued.max()) if len(queued) else 0


def full_queue_waits(timeline: Timeline, rows: Int64) -> Pairs:
    """(Items whose launch call waited for room in the queue, the activity whose end made some).

    Args:
        timeline: of one device.
        rows: of the host's calls, by item.

    """
    calls, activities = timeline.calls, timeline.activities
    call, end_ns, queued = _queued(timeline)
    is_full = np.flatnonzero(queued >= FULL_QUEUE)
    if not len(is_full):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    launches = timeline.by_name(calls.name, lambda name: host_call_kind(name) == "launch", np.bool_)
    own_ns = calls.end_ns - calls.start_ns
    usual_ns = float(np.median(own_ns[call]))
    is_full = is_full[(own_ns[call[is_full]] > BLOCKED_OVER_MEDIAN * usual_ns) & launches[call[is_full]]]
    order = np.argsort(activities.end_ns, kind="stable")
    place = np.searchsorted(activities.end_ns[order], end_ns[is_full], side="right") - 1
    is_full, awaited = is_full[place >= 0], order[place[place >= 0]]
    has_launch = activities.has_call[awaited] & (activities.call[awaited] < call[is_full])
    item_of = np.full(len(calls), -1)
    item_of[rows] = np.arange(len(rows))
    item = item_of[call[is_full]]
    kept = has_launch & (item >= 0)
    return item[kept], awaited[kept]


def _queued(timeline: Timeline) -> tuple[Int64, Int64, Int64]:
    """In order: (launch call, when it returned, launches from the first that had not started then to it)."""
    activities, calls = timeline.activities, timeline.calls
    launched = np.flatnonzero(activities.has_call)
    launched = launched[np.argsort(activities.call[launched], kind="stable")]
    call, first = np.unique(activities.call[launched], return_index=True)
    end_ns = calls.end_ns[call]
    all_started_by = np.maximum.accumulate(activities.start_ns[launched])
    waiting_from = np.searchsorted(all_started_by, end_ns, side="right")
    return call.astype(np.int64), end_ns, np.maximum(first + 1 - waiting_from, 0)
