"""What-ifs: the steps of a trace, repeated, with the cost of one cause or several taken away.

Each says exactly which durations it changes, and never what waits for what:

    data           waits for the data loader take no time
    sync           synchronizing calls return at once, and so do copies to the device from pageable memory, as
                   from pinned; copies to the host still block
    host           launch calls, and the time between calls, take none; waits for data stay, and so do calls
                   that block, collections of garbage, allocator calls, compilation, stalls, and what the host
                   does outside of the model
    communication  collectives take no time on the device
    copy           copies and memsets take no time on the device, and block nobody

The others, and the options, change what their ``Relief`` says: a stretch of host time takes none, some work a
part of its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.activity_kinds import ActivityKinds
from mfu_profiler.analysis.host_states import pageable_copy_calls
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.replay.engine import steady_period_ns
from mfu_profiler.analysis.replay.graph import ReplayGraph
from mfu_profiler.analysis.replay.program import Program, program_of
from mfu_profiler.analysis.replay.relief import STAYS_WITH_A_FREE_HOST, Change, Relief
from mfu_profiler.analysis.windows import Window, Windows
from mfu_profiler.trace.host_calls import host_call_kind
from mfu_profiler.trace.timeline import Timeline

__all__ = ["WhatIfs"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]

MOST_ITEMS = 10_000
"""Host calls of the steps that are repeated; of more steps the most typical serve."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """Of the program's items and activities."""

    think_start_ns: Int64
    think_end_ns: Int64
    """When each item's think time was, as recorded, which ends with the start of a call."""
    start_ns: Int64
    own_start_ns: Int64
    synchronizes: Bool
    launches: Bool
    copies: Bool
    """Items that copy."""
    pins: Bool
    """Items that copy to the device from pageable memory."""
    is_communication: Bool
    is_copy: Bool
    place: Int64
    """Of each row of ``Work`` in the program; -1 for none."""


class WhatIfs:
    """Step times of one trace with causes removed; each is asked for once."""

    def __init__(
        self, program: Program, facts: _Facts, steps: int, reliefs: Mapping[Change, Relief], depth: int
    ) -> None:
        self._program, self._facts, self._steps = program, facts, steps
        self._reliefs, self._depth = reliefs, depth
        self._known: dict[frozenset[Change], float] = {}

    @classmethod
    def of(
        cls,
        timeline: Timeline,
        kinds: ActivityKinds,
        graph: ReplayGraph,
        windows: Windows,
        reliefs: Mapping[Change, Relief],
    ) -> WhatIfs:
        """Of the averaged steps."""
        inside, think_from, count = _averaged(graph, windows)
        program = program_of(graph, inside)
        thinks = think_from[program.item]
        program = replace(program, think_ns=graph.host.think_ns[thinks])
        facts = _facts(timeline, kinds, graph, program, thinks)
        return cls(program, facts, count, reliefs, graph.queue_depth)

    def step_ns(self, removed: Iterable[Change] = ()) -> float:
        """Length of a step where these causes are removed."""
        key = frozenset(removed)
        if key not in self._known:
            self._known[key] = steady_period_ns(self._without(key), self._steps, self._depth)
        return self._known[key]

    def _without(self, removed: frozenset[Change]) -> Program:
        program, facts = self._program, self._facts
        gone = _together(relief.host for cause, relief in self._reliefs.items() if cause in removed)
        own_ns = program.own_ns - gone.within(facts.own_start_ns, facts.own_start_ns + program.own_ns)
        stays = _together(
            self._reliefs[cause].host for cause in STAYS_WITH_A_FREE_HOST & self._reliefs.keys()
        )
        stays_ns = (stays - gone).within(facts.think_start_ns, facts.think_end_ns)
        if "host" in removed:
            think_ns = stays_ns
            own_ns = np.where(facts.launches, 0, own_ns)
        else:
            think_ns = program.think_ns - gone.within(facts.think_start_ns, facts.think_end_ns)
        unlaunched = self._unlaunched(removed)
        own_ns = np.where(unlaunched, 0, own_ns)
        think_ns = np.where(unlaunched, np.minimum(think_ns, stays_ns), think_ns)
        returns = gone.holds(facts.start_ns)
        returns |= (facts.synchronizes | facts.pins) & ("sync" in removed)
        returns |= facts.copies & ("copy" in removed)
        changed = replace(program, think_ns=think_ns, own_ns=own_ns, length_ns=self._lengths(removed))
        return _unblocked(changed, returns)

    def _unlaunched(self, removed: frozenset[Change]) -> Bool:
        """Items that launch only what is not launched any more."""
        program, gone = self._program, np.zeros(len(self._program.row), np.bool_)
        for cause in removed & self._reliefs.keys():
            relief = self._reliefs[cause]
            if relief.is_unlaunched:
                place = self._facts.place[relief.work[relief.left == 0]]
                gone[place[place >= 0]] = True
        before = np.concatenate([[0], np.cumsum(gone)])
        count = np.diff(program.first)
        return np.asarray((count > 0) & (np.diff(before[program.first]) == count), np.bool_)

    def _lengths(self, removed: frozenset[Change]) -> Int64:
        left = np.ones(len(self._program.row))
        left[self._facts.is_communication & ("communication" in removed)] = 0
        left[self._facts.is_copy & ("copy" in removed)] = 0
        for cause in removed & self._reliefs.keys():
            relief = self._reliefs[cause]
            place = self._facts.place[relief.work]
            np.minimum.at(left, place[place >= 0], relief.left[place >= 0])
        return np.rint(self._program.length_ns * left).astype(np.int64)


def _together(parts: Iterable[Spans]) -> Spans:
    whole = Spans.nothing()
    for spans in parts:
        whole = whole | spans
    return whole


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
    timeline: Timeline, kinds: ActivityKinds, graph: ReplayGraph, program: Program, thinks: Int64
) -> _Facts:
    calls = timeline.calls
    rows = graph.host.call[program.item]
    think_ends = graph.host.start_ns[thinks]
    starts = graph.host.start_ns[program.item]
    reached = starts - graph.host.think_ns[program.item]
    place = np.full(len(timeline.activities), -1)
    place[program.row] = np.arange(len(program.row))

    def are(kind: str) -> Bool:
        return timeline.by_name(calls.name, lambda name: host_call_kind(name) == kind, np.bool_)[rows]

    return _Facts(
        think_start_ns=think_ends - np.maximum(program.think_ns, 0),
        think_end_ns=think_ends,
        start_ns=starts,
        own_start_ns=np.maximum(starts, reached),
        synchronizes=are("sync"),
        launches=are("launch"),
        copies=are("copy"),
        pins=np.isin(rows, pageable_copy_calls(timeline, to_device=True)),
        is_communication=kinds.is_communication[program.row],
        is_copy=kinds.is_copy[program.row],
        place=place[np.flatnonzero(~kinds.is_copy)],
    )


def _unblocked(program: Program, items: Bool) -> Program:
    """The same where these items wait for nothing."""
    counts = np.diff(program.first_await)
    kept = np.repeat(~items, counts)
    first = np.concatenate([[0], np.cumsum(np.where(items, 0, counts))])
    return replace(program, first_await=first, awaited=program.awaited[kept])
