"""What-ifs: the steps of a trace, repeated, with the cost of one cause or several taken away.

Each says exactly which durations it changes, and never what waits for what:

    data           waits for the data loader take no time
    sync           synchronizing calls return at once; copies from and to pageable memory still block
    host           launch calls, and the time between calls, take none; waits for data stay, and so do calls
                   that block
    communication  collectives take no time on the device
    copy           copies and memsets take no time on the device, and block nobody
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.activity_kinds import ActivityKinds
from mfu_profiler.analysis.host_states import HostStates
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.replay.engine import steady_period_ns
from mfu_profiler.analysis.replay.graph import ReplayGraph
from mfu_profiler.analysis.replay.program import Program, program_of
from mfu_profiler.analysis.windows import Window, Windows
from mfu_profiler.trace.host_calls import host_call_kind
from mfu_profiler.trace.timeline import Timeline

__all__ = ["CAUSES", "Cause", "WhatIfs"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

Cause = Literal["data", "sync", "host", "communication", "copy"]
MOST_ITEMS = 20_000
"""Host calls of the steps that are repeated; of more steps the most typical serve."""
CAUSES: tuple[Cause, ...] = get_args(Cause)


@dataclass(frozen=True, slots=True)
class _Facts:
    """Of the program's items and activities."""

    data_ns: Int64
    """Of each item's think time, the wait for data."""
    synchronizes: Bool
    launches: Bool
    copies: Bool
    """Items that copy."""
    is_communication: Bool
    is_copy: Bool


class WhatIfs:
    """Step times of one trace with causes removed; each is asked for once."""

    def __init__(self, program: Program, facts: _Facts, steps: int) -> None:
        self._program, self._facts, self._steps = program, facts, steps
        self._known: dict[frozenset[Cause], float] = {}

    @classmethod
    def of(
        cls, timeline: Timeline, kinds: ActivityKinds, host: HostStates, graph: ReplayGraph, windows: Windows
    ) -> WhatIfs:
        """Of the averaged steps."""
        inside, think_from, count = _averaged(graph, windows)
        program = program_of(graph, inside)
        thinks = think_from[program.item]
        program = replace(program, think_ns=graph.host.think_ns[thinks])
        return cls(program, _facts(timeline, kinds, host, graph, program, thinks), count)

    def step_ns(self, removed: Iterable[Cause] = ()) -> float:
        """Length of a step where these causes are removed."""
        key = frozenset(removed)
        if key not in self._known:
            program = self._program
            for cause in CAUSES:  # in one order: "host" keeps what "data" left
                if cause in key:
                    program = _CHANGES[cause](program, self._facts, key)
            self._known[key] = steady_period_ns(program, self._steps)
        return self._known[key]


def _averaged(graph: ReplayGraph, windows: Windows) -> tuple[Bool, Int64, int]:
    """(Host items of the averaged steps, for each item whose think time it takes, how many steps).

    A window's items are those from the launch of its first activity to that of the next window's first. The
    think time before that one is the window's too, and stands at its start: the same where steps repeat.
    """
    count = len(graph.host)
    inside, think_from = np.zeros(count, np.bool_), np.arange(count)
    steps = items = 0
    for window in _most_typical_first(windows.averaged):
        first, last = _item_at(graph, window.start_ns), _item_at(graph, window.end_ns)
        if first is None or last is None or first >= last:
            continue
        if steps and items + last - first > MOST_ITEMS:
            break
        inside[first:last] = True
        think_from[first] = last
        steps, items = steps + 1, items + last - first
    if not steps:  # the windows are no steps, or there is only one
        return np.ones(count, np.bool_), think_from, 1
    return inside, think_from, steps


def _most_typical_first(windows: Sequence[Window]) -> list[Window]:
    mean_ns = sum(window.end_ns - window.start_ns for window in windows) / max(1, len(windows))
    return sorted(windows, key=lambda window: abs(window.end_ns - window.start_ns - mean_ns))


def _item_at(graph: ReplayGraph, start_ns: int) -> int | None:
    """The item that launched the activity which starts at this moment."""
    activities = graph.activities
    row = int(np.searchsorted(activities.start_ns, start_ns))
    if row == len(activities) or activities.start_ns[row] != start_ns or not graph.is_launched[row]:
        return None
    return int(graph.item[row])


def _facts(
    timeline: Timeline,
    kinds: ActivityKinds,
    host: HostStates,
    graph: ReplayGraph,
    program: Program,
    thinks: Int64,
) -> _Facts:
    calls = timeline.calls
    rows = graph.host.call[program.item]
    ends = graph.host.start_ns[thinks]
    loading = Spans.nothing()
    for spans in host.loading.values():
        loading = loading | spans

    def are(kind: str) -> Bool:
        return timeline.by_name(calls.name, lambda name: host_call_kind(name) == kind, np.bool_)[rows]

    return _Facts(
        data_ns=loading.within(ends - np.maximum(program.think_ns, 0), ends),
        synchronizes=are("sync"),
        launches=are("launch"),
        copies=are("copy"),
        is_communication=kinds.is_communication[program.row],
        is_copy=kinds.is_copy[program.row],
    )


_Change = Callable[[Program, _Facts, frozenset[Cause]], Program]


def _without_data(program: Program, facts: _Facts, removed: frozenset[Cause]) -> Program:
    return replace(program, think_ns=program.think_ns - facts.data_ns)


def _without_sync(program: Program, facts: _Facts, removed: frozenset[Cause]) -> Program:
    return _unblocked(program, facts.synchronizes)


def _without_host(program: Program, facts: _Facts, removed: frozenset[Cause]) -> Program:
    kept = np.zeros_like(facts.data_ns) if "data" in removed else facts.data_ns
    return replace(program, think_ns=kept, own_ns=np.where(facts.launches, 0, program.own_ns))


def _without_communication(program: Program, facts: _Facts, removed: frozenset[Cause]) -> Program:
    return _shortened(program, facts.is_communication)


def _without_copy(program: Program, facts: _Facts, removed: frozenset[Cause]) -> Program:
    return _unblocked(_shortened(program, facts.is_copy), facts.copies)


def _unblocked(program: Program, items: Bool) -> Program:
    """The same where these items wait for nothing."""
    counts = np.diff(program.first_await)
    kept = np.repeat(~items, counts)
    first = np.concatenate([[0], np.cumsum(np.where(items, 0, counts))])
    return replace(program, first_await=first, awaited=program.awaited[kept])


def _shortened(program: Program, activities: Bool) -> Program:
    return replace(program, length_ns=np.where(activities, 0, program.length_ns))


_CHANGES: dict[Cause, _Change] = {
    "data": _without_data,
    "sync": _without_sync,
    "host": _without_host,
    "communication": _without_communication,
    "copy": _without_copy,
}
