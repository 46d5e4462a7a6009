"""How well the replay reproduces what was recorded, and so whether its predictions are worth anything."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.activity_kinds import ActivityKinds
from mfu_profiler.analysis.facts import ReplayInfo
from mfu_profiler.analysis.replay.engine import replayed_starts
from mfu_profiler.analysis.replay.graph import ReplayGraph
from mfu_profiler.analysis.windows import main_stream
from mfu_profiler.trace.host_calls import is_graph_launch
from mfu_profiler.trace.timeline import Timeline

__all__ = ["replay_info"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

MOST_OFF_FRACTION = 0.05
"""A replay further off predicts nothing (design, section 7)."""
MOST_IN_GRAPHS_FRACTION = 0.5
"""Of activities launched by CUDA graphs: what one waits for inside a graph no trace tells."""


def replay_info(
    timeline: Timeline, kinds: ActivityKinds, graph: ReplayGraph, windows: tuple[Int64, Int64]
) -> ReplayInfo:
    """Fidelity over the averaged windows.

    Args:
        timeline: of one device.
        kinds: of its activities.
        graph: of the same.
        windows: starts and ends of the averaged windows.

    """
    starts, ends = windows
    recorded_ns = int((ends - starts).sum())
    in_graph = _in_graph(timeline)
    replayed = replayed_starts(graph, keeps_delays=False)
    shift = replayed - timeline.activities.start_ns
    moved_ns = int((_shift_at(timeline, shift, ends) - _shift_at(timeline, shift, starts)).sum())
    fidelity = (recorded_ns + moved_ns) / recorded_ns
    counted = (timeline.activities.stream == main_stream(timeline, kinds)) & ~in_graph
    late_ns = graph.delay_ns[counted & _within(timeline.activities.start_ns, windows)].clip(0)
    is_off = abs(fidelity - 1) > MOST_OFF_FRACTION
    return ReplayInfo(
        fidelity_fraction=fidelity,
        unexplained_fraction=int(late_ns.sum()) / recorded_ns,
        usable=not is_off and float(in_graph.mean()) <= MOST_IN_GRAPHS_FRACTION,
    )


def _shift_at(timeline: Timeline, shift: Int64, edges: Int64) -> Int64:
    """By how much the first activity from each edge on has moved; at the end, the last activity."""
    row = np.searchsorted(timeline.activities.start_ns, edges)
    return shift[np.minimum(row, len(shift) - 1)]


def _in_graph(timeline: Timeline) -> Bool:
    activities, calls = timeline.activities, timeline.calls
    if not len(calls):
        return np.zeros(len(activities), np.bool_)
    launches_graph = timeline.by_name(calls.name, is_graph_launch, np.bool_)
    return np.asarray(activities.has_call & launches_graph[activities.call], np.bool_)


def _within(times: Int64, windows: tuple[Int64, Int64]) -> Bool:
    starts, ends = windows
    window = np.searchsorted(starts, times, side="right") - 1
    return (window >= 0) & (times < ends[np.maximum(window, 0)])
