"""The graph as a program to run: what the host does in order, and what each of its calls launches."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.replay.graph import ReplayGraph
from mfu_profiler.analysis.replay.host import NEVER_NS
from mfu_profiler.analysis.replay.joins import Pairs

__all__ = ["Program", "State", "program_of", "run"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Program:
    """Host columns of shape ``(items,)``, activity columns of shape ``(activities,)`` in order of launch."""

    item: Int64
    """Row of ``ReplayGraph.host``."""
    think_ns: Int64
    own_ns: Int64
    residual_ns: Int64
    """From the end of what the item waits for to its return."""
    first_await: Int64
    """Where each item's waits begin, and one more."""
    awaited: Int64
    """Places in this program of the activities that block the host."""
    first: Int64
    """Where each item's activities begin, and one more: where the last one's end."""
    row: Int64
    """Row of ``Timeline.activities``."""
    stream: Int64
    latency_ns: Int64
    gap_ns: Int64
    delay_ns: Int64
    length_ns: Int64
    floor_ns: Int64
    """Not before this: where it waits for something without a launch record."""
    first_join: Int64
    """Where each activity's joins begin, and one more."""
    joined: Int64
    """Places in this program of the activities that are waited for."""

    def __len__(self) -> int:
        return len(self.item)


@dataclass(slots=True)
class State:
    """Of host and device between two runs."""

    reached_ns: int = 0
    """The end of all calls so far."""
    end_ns: dict[int, int] = field(default_factory=dict)
    """Of the last activity on each stream."""
    queued_ns: list[int] = field(default_factory=list)
    """Starts of the last activities, in order of launch: no more than the queue holds."""


def program_of(graph: ReplayGraph, items: Bool | None = None) -> Program:
    """The program of a trace, or of some of its host's items.

    What waits for something outside does not wait, and where something stands without a launch record counts
    only in the program of the whole.
    """
    host, activities = graph.host, graph.activities
    chosen = np.arange(len(host)) if items is None else np.flatnonzero(items)
    item_at = np.full(max(1, len(host)), -1)
    item_at[chosen] = np.arange(len(chosen))
    rows = np.flatnonzero(graph.is_launched)
    rows = rows[item_at[graph.item[rows]] >= 0]
    own_item = item_at[graph.item[rows]]
    order = np.argsort(own_item, kind="stable")
    rows, own_item = rows[order], own_item[order]
    place = np.full(max(1, len(activities)), -1)
    place[rows] = np.arange(len(rows))
    first_join, joined = _inside(graph.joins, place, place, len(rows))
    first_await, awaited = _inside(host.awaits, item_at, place, len(chosen))
    floor = _floors(graph, rows) if items is None else np.full(len(rows), NEVER_NS)
    return Program(
        item=chosen,
        think_ns=host.think_ns[chosen],
        own_ns=host.own_ns[chosen],
        residual_ns=host.residual_ns[chosen],
        first_await=first_await,
        awaited=awaited,
        first=np.searchsorted(own_item, np.arange(len(chosen) + 1)),
        row=rows,
        stream=activities.stream[rows].astype(np.int64),
        latency_ns=graph.latency_ns[rows],
        gap_ns=graph.gap_ns[rows],
        delay_ns=graph.delay_ns[rows],
        length_ns=(activities.end_ns - activities.start_ns)[rows],
        floor_ns=floor,
        first_join=first_join,
        joined=joined,
    )


def _inside(pairs: Pairs, first_at: Int64, second_at: Int64, count: int) -> Pairs:
    """(Where the pairs of each first begin, and one more; places of their seconds), of pairs inside."""
    firsts, seconds = first_at[pairs[0]], second_at[pairs[1]]
    inside = (firsts >= 0) & (seconds >= 0)
    firsts, seconds = firsts[inside], seconds[inside]
    order = np.argsort(firsts, kind="stable")
    return np.searchsorted(firsts[order], np.arange(count + 1)), seconds[order]


def _floors(graph: ReplayGraph, rows: Int64) -> Int64:
    """Ends of what stands without a launch record before these activities or is joined by them."""
    end_ns = graph.activities.end_ns
    floor = np.full(len(end_ns), NEVER_NS)
    stands = graph.has_before & ~graph.is_launched[graph.before]
    floor[stands] = (end_ns[graph.before] + graph.gap_ns)[stands]
    waiting, awaited = graph.joins
    stands = ~graph.is_launched[awaited]
    np.maximum.at(floor, waiting[stands], end_ns[awaited[stands]])
    return floor[rows]


def run(program: Program, state: State, queue_depth: int) -> Int64:
    """Starts of the activities; leaves the state as it is afterwards.

    Args:
        program: what host and device do.
        state: before and after.
        queue_depth: a launch returns after the activity so many before it has started.

    """
    count = len(program.row)
    queued = state.queued_ns
    filled = queue_depth - len(queued)
    starts, ends = [0] * count, [0] * count
    first, first_join, joined = program.first.tolist(), program.first_join.tolist(), program.joined.tolist()
    stream, floor = program.stream.tolist(), program.floor_ns.tolist()
    latency, gap = program.latency_ns.tolist(), program.gap_ns.tolist()
    delay, length = program.delay_ns.tolist(), program.length_ns.tolist()
    first_await, awaited = program.first_await.tolist(), program.awaited.tolist()
    reached, end_of = state.reached_ns, state.end_ns
    columns = (program.think_ns, program.own_ns, program.residual_ns)
    for item, (think, own, residual) in enumerate(zip(*map(np.ndarray.tolist, columns), strict=True)):
        start = reached + think
        for place in range(first[item], first[item + 1]):
            ready = start + latency[place]
            free = end_of.get(stream[place], NEVER_NS) + gap[place]
            if free > ready:
                ready = free
            if floor[place] > ready:
                ready = floor[place]
            for join in range(first_join[place], first_join[place + 1]):
                if ends[joined[join]] > ready:
                    ready = ends[joined[join]]
            starts[place] = ready + delay[place]
            ends[place] = end_of[stream[place]] = starts[place] + length[place]
        oldest = first[item] - filled
        room = NEVER_NS
        if oldest >= 0 and first[item] < first[item + 1]:
            room = queued[oldest] if oldest < len(queued) else starts[oldest - len(queued)]
        reached = max(max(reached, start) + own, room)
        for wait in range(first_await[item], first_await[item + 1]):
            if ends[awaited[wait]] + residual > reached:
                reached = ends[awaited[wait]] + residual
    state.reached_ns = reached
    state.queued_ns = [*queued, *starts][-queue_depth:]
    return np.array(starts, np.int64)
