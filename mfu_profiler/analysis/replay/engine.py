"""The replay itself: one pass over the host's program and what it launches."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.replay.graph import ReplayGraph

__all__ = ["replayed_starts"]

Int64 = npt.NDArray[np.int64]


def replayed_starts(graph: ReplayGraph, delay_ns: Int64) -> Int64:
    """When each activity starts; those that are not launched at their recorded times.

    Args:
        graph: of the trace.
        delay_ns: for each activity, what it waits beyond edges and typical delays.

    """
    host = graph.host
    launched = _by_item(graph)
    starts = graph.activities.start_ns.tolist()
    lengths = (graph.activities.end_ns - graph.activities.start_ns).tolist()
    latency, gap, delay = graph.latency_ns.tolist(), graph.gap_ns.tolist(), delay_ns.tolist()
    before = np.where(graph.has_before, graph.before, -1).tolist()
    joins: defaultdict[int, list[int]] = defaultdict(list)
    for waiting, awaited in zip(*map(np.ndarray.tolist, graph.joins), strict=True):
        joins[waiting].append(awaited)
    reached = int(host.start_ns[0]) if len(host) else 0
    awaited_of = np.where(host.waits, host.awaited, -1).tolist()
    columns = host.think_ns.tolist(), host.own_ns.tolist(), host.residual_ns.tolist(), awaited_of
    for item, (think, own, residual, waited_for) in enumerate(zip(*columns, strict=True)):
        start = reached + think
        for row in launched.get(item, ()):
            ready = start + latency[row]
            if before[row] >= 0:
                ready = max(ready, starts[before[row]] + lengths[before[row]] + gap[row])
            for other in joins.get(row, ()):
                ready = max(ready, starts[other] + lengths[other])
            starts[row] = ready + delay[row]
        reached = max(reached, start) + own
        if waited_for >= 0:
            reached = max(reached, starts[waited_for] + lengths[waited_for] + residual)
    return np.array(starts, np.int64)


def _by_item(graph: ReplayGraph) -> dict[int, list[int]]:
    """Activities of each item, in the order in which they started."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    rows = np.flatnonzero(graph.is_launched)
    for item, row in zip(graph.item[rows].tolist(), rows.tolist(), strict=True):
        found[item].append(row)
    return found
