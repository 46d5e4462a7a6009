"""When the host's threads waited for the data loader, or were blocked in a synchronization."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.trace.host_calls import (
    SYNC_OPS,
    host_call_kind,
    is_blocking_copy,
    is_data_loading,
)
from mfu_profiler.trace.timeline import MEMCPY, Timeline

__all__ = ["HostStates", "blocking_calls", "host_states", "launching_threads"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class HostStates:
    """What the host was doing, as sets of time."""

    main_thread: int
    """The thread that marks steps; else the one that launches most; else the one with most ops."""
    loading: dict[int, Spans]
    """Waiting for the data loader, by thread."""
    blocked: Spans
    """Some launching thread is inside a device, stream or event synchronize, an op that reads a
    value back (``aten::item``), or a copy that blocks."""


def host_states(timeline: Timeline, step_thread: int | None) -> HostStates:
    """Args: step_thread: the thread that marks steps, if any does."""
    marks = timeline.marks
    is_loading = timeline.by_name(marks.name, is_data_loading, np.bool_)
    loading = {
        thread: Spans.of(*_times(timeline, is_loading & (marks.thread == thread)))
        for thread in np.unique(marks.thread[is_loading]).tolist()
    }
    main_thread = _busiest_thread(timeline) if step_thread is None else step_thread
    return HostStates(main_thread, loading, _blocked(timeline))


def _times(timeline: Timeline, mask: Bool) -> tuple[Int64, Int64]:
    return timeline.marks.start_ns[mask], timeline.marks.end_ns[mask]


def _busiest_thread(timeline: Timeline) -> int:
    for table in (timeline.calls, timeline.ops, timeline.marks):
        if len(table):
            return int(np.argmax(np.bincount(table.thread)))
    return 0


def _blocked(timeline: Timeline) -> Spans:
    calls, ops = timeline.calls, timeline.ops
    sync = blocking_calls(timeline)
    reads = timeline.by_name(ops.name, lambda name: name in SYNC_OPS, np.bool_)
    reads &= np.isin(ops.thread, launching_threads(timeline))
    return Spans.of(
        np.concatenate([calls.start_ns[sync], ops.start_ns[reads]]),
        np.concatenate([calls.end_ns[sync], ops.end_ns[reads]]),
    )


def blocking_calls(timeline: Timeline) -> Bool:
    """Which calls block a launching thread until the device has caught up."""
    calls = timeline.calls
    sync = timeline.by_name(
        calls.name, lambda name: host_call_kind(name) == "sync" or is_blocking_copy(name), np.bool_
    )
    sync = sync.copy()
    sync[pageable_copy_calls(timeline)] = True
    return np.asarray(sync & np.isin(calls.thread, launching_threads(timeline)), np.bool_)


def launching_threads(timeline: Timeline) -> npt.NDArray[np.int32]:
    """Threads that launch device work; all that make calls where no launch is recorded."""
    calls, activities = timeline.calls, timeline.activities
    launches = activities.call[activities.has_call]
    return np.unique(calls.thread[launches]) if len(launches) else np.unique(calls.thread)


def pageable_copy_calls(timeline: Timeline, *, to_device: bool = False) -> Int64:
    """Rows of the calls that copy from or to pageable memory: they block, asynchronous by name or not.

    Source: CUDA runtime API, "API synchronization behavior".

    Args:
        timeline: of one device.
        to_device: leave out copies to the host.

    """
    activities, part = timeline.activities, "HtoD (Pageable" if to_device else "Pageable"
    pageable = timeline.by_name(activities.name, lambda name: part in name, np.bool_)
    rows = activities.has_call & (activities.kind == MEMCPY) & pageable
    return np.asarray(activities.call[rows], np.int64)
