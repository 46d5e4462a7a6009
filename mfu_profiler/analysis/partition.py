"""Where the time goes: every instant of a window belongs to exactly one class.

::

    compute         ####..####........###         Ties go to the upper row:
    communication   ...####.....##.......           compute > communication > copy > idle
    copy            ..........###..#.....
    idle                         .. ....          split by what the launching host thread was doing

    gap that ends with activity a, launched by call L on thread T:

    device   ═══════╡ gap ............................╞══ a ══
    host T      ...sync├── next() ──┤ ops ... ├─ L ─┤
             synchronization   data loading   host-bound   launch latency (or unexplained, if long)

Sums are exact: all sets are disjoint by construction, and a part of a window is a difference of integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.activity_kinds import ActivityKinds
from mfu_profiler.analysis.host_states import HostStates
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.report import PARTS
from mfu_profiler.trace.host_calls import is_graph_launch
from mfu_profiler.trace.timeline import Timeline

__all__ = ["TimeParts", "device_parts"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

UNEXPLAINED_OVER_NS = 50_000
"""A longer wait from launch to start is no launch latency (design, section 5)."""


@dataclass(frozen=True, slots=True)
class TimeParts:
    """Disjoint sets of time, one per class of ``PARTS``; together they cover the whole trace."""

    spans: dict[str, Spans]

    def within(self, start_ns: Int64, end_ns: Int64) -> dict[str, Int64]:
        """Ns of each class in each window, summing to the window's length."""
        parts = {name: self.spans[name].within(start_ns, end_ns) for name in PARTS}
        total = np.sum(list(parts.values()), axis=0)
        if not np.array_equal(total, end_ns - start_ns):
            raise AssertionError("the parts of a window do not sum to it")
        return parts


@dataclass(frozen=True, slots=True)
class _Gaps:
    """Stretches without device work, and the launch that ends each."""

    start_ns: Int64
    end_ns: Int64
    host_end_ns: Int64
    """Where the host's part of the gap ends: the return of the launch, or the gap's end."""
    thread: Int64
    """The launching thread; the main thread where no launch is known."""
    is_explained: Bool
    """The wait after the launch is launch latency."""
    has_launch: Bool


def device_parts(
    timeline: Timeline, kinds: ActivityKinds, host: HostStates, bounds: tuple[int, int]
) -> TimeParts:
    """The classes of a device's time.

    Args:
        timeline: one device's trace.
        kinds: what each activity does.
        host: when the host's threads loaded data or were blocked.
        bounds: (start, end) in ns of all time to classify; it holds every window.

    """
    activities = timeline.activities

    def busy(mask: Bool) -> Spans:
        return Spans.of(activities.start_ns[mask], activities.end_ns[mask])

    compute = busy(kinds.is_compute)
    communication = busy(kinds.is_communication) - compute
    copy = busy(kinds.is_copy) - compute - communication
    everything = Spans.one(*bounds)
    idle = everything - (compute | communication | copy)
    return TimeParts(
        {"compute": compute, "communication": communication, "copy": copy}
        | _idle_by_cause(_gaps(timeline, idle, host), host)
    )


def _gaps(timeline: Timeline, idle: Spans, host: HostStates) -> _Gaps:
    activities, calls = timeline.activities, timeline.calls
    # An activity of no length, as µs stamps make them, ends no gap.
    real = np.flatnonzero(activities.end_ns > activities.start_ns)
    place = np.searchsorted(activities.start_ns[real], idle.end_ns, side="left")
    ends_with_activity = place < len(real)
    ender = real[np.minimum(place, len(real) - 1)] if len(real) else np.zeros(len(idle), np.intp)
    has_launch = ends_with_activity.copy()
    host_end, thread = idle.end_ns.copy(), np.full(len(idle), host.main_thread, np.int64)
    latency = np.zeros(len(idle), np.int64)
    in_graph = np.zeros(len(idle), np.bool_)
    if len(activities) and len(calls):
        has_launch &= activities.has_call[ender]
        call = np.where(has_launch, activities.call[ender], 0)
        returned = np.clip(calls.end_ns[call], idle.start_ns, idle.end_ns)
        host_end = np.where(has_launch, returned, idle.end_ns)
        thread = np.where(has_launch, calls.thread[call], host.main_thread)
        latency = np.where(has_launch, activities.start_ns[ender] - calls.end_ns[call], 0)
        in_graph = has_launch & timeline.by_name(calls.name, is_graph_launch, np.bool_)[call]
    else:
        has_launch &= False
    # An activity without a launch record: nothing is known of the wait before it.
    host_end = np.where(ends_with_activity & ~has_launch, idle.start_ns, host_end)
    explained = has_launch & ~in_graph & (latency <= UNEXPLAINED_OVER_NS)
    return _Gaps(idle.start_ns, idle.end_ns, host_end, thread, explained, has_launch)


def _idle_by_cause(gaps: _Gaps, host: HostStates) -> dict[str, Spans]:
    def waits(mask: Bool) -> Spans:
        return Spans.of(gaps.host_end_ns[mask], gaps.end_ns[mask])

    def host_part(mask: Bool) -> Spans:
        return Spans.of(gaps.start_ns[mask], gaps.host_end_ns[mask])

    began_blocked = host.blocked.holds(gaps.start_ns)
    loading = Spans.nothing()
    for thread, spans in host.loading.items():
        loading = loading | (host_part(gaps.thread == thread) & spans)
    return {
        "idle_data_loading": loading,
        "idle_synchronization": host_part(began_blocked) - loading,
        "idle_host": host_part(~began_blocked) - loading,
        "idle_launch": waits(gaps.is_explained),
        "idle_unexplained": waits(~gaps.is_explained),
    }
