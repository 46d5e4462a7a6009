"""One representative step as lanes of events, short enough to be drawn.

::

    time by cause   ├ data loading ┤├──── compute ────┤├ host-bound ┤├ compute ...
    stream 7                        ├ k ┤├─── k ──────┤              ├─ k ─ ...
    main thread     ├── next() ──┤├ op ─┤├ op ┤├── op ──┤├─ op ─┤           depth 0
                                   ├ op ┤       ├ sync ┤                    depth 1

A step of a large model has a hundred thousand events: each kind of lane keeps its longest ones, and says how
many shorter ones it left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.facts import StepTimeline, TimelineLane
from mfu_profiler.analysis.host_states import blocking_calls, launching_threads
from mfu_profiler.analysis.report import PARTS
from mfu_profiler.analysis.times import Times
from mfu_profiler.trace.host_calls import host_call_kind, is_data_loading, step_number
from mfu_profiler.trace.nesting import Nesting, sorted_by_nesting
from mfu_profiler.trace.timeline import Intervals

__all__ = ["step_timeline"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

MOST_EVENTS = {"cause": 800, "stream": 1200, "host": 800}
"""Of all lanes of a kind together: what a browser draws at once and a terminal's JSON still holds."""
MOST_LANES = {"cause": 1, "stream": 8, "host": 4}
MOST_DEPTH = 4
"""Rows of one host thread; deeper ops are parts of what is drawn."""
LONGEST_NAME = 200
_HOST_KINDS = ("op", "mark", "launch", "data loading", "blocked")
_KINDS = (*PARTS, *_HOST_KINDS)


@dataclass(frozen=True, slots=True)
class _Events:
    """Events of one kind of lane within the step, equally long columns."""

    lane: Int64
    start_ns: Int64
    end_ns: Int64
    name: Int64
    """Index into the timeline's names; of ``cause`` events the index of the class."""
    kind: Int64
    """Index into ``_KINDS``."""
    depth: Int64

    def __len__(self) -> int:
        return len(self.lane)

    def rows(self, rows: npt.NDArray[np.intp] | Bool) -> _Events:
        return _Events(
            self.lane[rows],
            self.start_ns[rows],
            self.end_ns[rows],
            self.name[rows],
            self.kind[rows],
            self.depth[rows],
        )

    def overlapping(self, start_ns: int, end_ns: int) -> _Events:
        """Those that overlap the window, as they are."""
        return self.rows(np.flatnonzero((self.start_ns < end_ns) & (self.end_ns > start_ns)))

    def within(self, start_ns: int, end_ns: int) -> _Events:
        """Those that overlap the window, clipped to it and counted from its start."""
        inside = self.overlapping(start_ns, end_ns)
        starts, ends = (
            np.clip(column, start_ns, end_ns) - start_ns for column in (inside.start_ns, inside.end_ns)
        )
        return _Events(inside.lane, starts, ends, inside.name, inside.kind, inside.depth)


def step_timeline(times: Times) -> StepTimeline | None:
    """The averaged window nearest to the median length; None where none is averaged."""
    windows = times.windows.averaged
    if not windows:
        return None
    lengths = np.array([window.end_ns - window.start_ns for window in windows])
    window = windows[int(np.argmin(np.abs(lengths - np.median(lengths))))]
    start_ns, end_ns = window.start_ns, window.end_ns
    names: dict[str, int] = {}
    lanes: list[TimelineLane] = []
    left_out = 0
    for kind, events, labels in _all_events(times, start_ns, end_ns):
        first = times.host.main_thread if kind == "host" else None
        busiest = _busiest(events, MOST_LANES[kind], first)
        left_out += len(np.unique(events.lane)) - len(busiest)
        kept = _longest(events.rows(np.isin(events.lane, busiest)), MOST_EVENTS[kind])
        for lane in busiest:
            is_of_lane = events.lane == lane
            shown = kept.rows(kept.lane == lane)
            lanes.append(_lane(kind, labels[lane], events.rows(is_of_lane), shown, times, names))
    return StepTimeline(
        label=window.label,
        duration_ns=end_ns - start_ns,
        lanes=tuple(lanes),
        lanes_left_out=left_out,
        names=tuple(names),
        kinds=_KINDS,
    )


def _all_events(times: Times, start_ns: int, end_ns: int) -> Iterator[tuple[str, _Events, dict[int, str]]]:
    """Each kind of lane: its events within the step, and the label of each lane."""
    timeline = times.timeline
    yield "cause", _causes(times).within(start_ns, end_ns), {0: "time by cause"}
    streams = {index: f"stream {name}" for index, name in enumerate(timeline.streams)}
    yield "stream", _activities(times).within(start_ns, end_ns), streams
    launching = set(launching_threads(timeline).tolist())
    labels = {}
    for index, name in enumerate(timeline.threads):
        role = "main thread" if index == times.host.main_thread else "thread"
        labels[index] = f"{role} {name}{', launches' if index in launching else ''}"
    yield "host", _host(times, start_ns, end_ns).within(start_ns, end_ns), labels


def _causes(times: Times) -> _Events:
    spans = [times.parts.spans[part] for part in PARTS]
    kind = np.repeat(np.arange(len(PARTS)), [len(part) for part in spans])
    return _Events(
        lane=np.zeros(len(kind), np.int64),
        start_ns=np.concatenate([part.start_ns for part in spans]),
        end_ns=np.concatenate([part.end_ns for part in spans]),
        name=kind,
        kind=kind,
        depth=np.zeros(len(kind), np.int64),
    )


def _activities(times: Times) -> _Events:
    activities, kinds = times.timeline.activities, times.kinds
    compute, communication, copy = (_KINDS.index(name) for name in ("compute", "communication", "copy"))
    kind = np.where(kinds.is_compute, compute, np.where(kinds.is_communication, communication, copy))
    return _Events(
        lane=activities.stream.astype(np.int64),
        start_ns=activities.start_ns,
        end_ns=activities.end_ns,
        name=activities.name.astype(np.int64),
        kind=kind,
        depth=np.zeros(len(activities), np.int64),
    )


def _host(times: Times, start_ns: int, end_ns: int) -> _Events:
    """Ops, annotations and calls that launch or block, nested; step marks say nothing here.

    Not clipped: of two that began before the window, only their true starts tell which encloses the other.
    """
    timeline = times.timeline
    op, mark, launch, loading, blocked = (_KINDS.index(name) for name in _HOST_KINDS)
    is_launch = timeline.by_name(timeline.calls.name, lambda name: host_call_kind(name) == "launch", np.bool_)
    is_blocked = blocking_calls(timeline)
    is_step = timeline.by_name(timeline.marks.name, lambda name: step_number(name) is not None, np.bool_)
    is_loading = timeline.by_name(timeline.marks.name, is_data_loading, np.bool_)
    parts = (
        _intervals(timeline.ops, np.full(len(timeline.ops), op), np.ones(len(timeline.ops), np.bool_)),
        _intervals(timeline.marks, np.where(is_loading, loading, mark), ~is_step),
        _intervals(timeline.calls, np.where(is_blocked, blocked, launch), is_blocked | is_launch),
    )
    lane, starts, ends, name, kind = (np.concatenate(column) for column in zip(*parts, strict=True))
    unnested = _Events(lane, starts, ends, name, kind, np.zeros(len(lane), np.int64))
    events = unnested.overlapping(start_ns, end_ns)
    events = events.rows(sorted_by_nesting(events.lane, events.start_ns, events.end_ns))
    depth = _depths(events)
    deep = _Events(events.lane, events.start_ns, events.end_ns, events.name, events.kind, depth)
    return deep.rows(depth < MOST_DEPTH)


def _intervals(table: Intervals, kind: Int64, mask: Bool) -> tuple[Int64, ...]:
    """Columns of ``_Events`` but the depth."""
    thread, name = table.thread[mask].astype(np.int64), table.name[mask].astype(np.int64)
    return thread, table.start_ns[mask], table.end_ns[mask], name, kind[mask].astype(np.int64)


def _depths(events: _Events) -> Int64:
    """How many others of its lane enclose each event; up to ``MOST_DEPTH``."""
    table = Intervals(
        events.name.astype(np.int32), events.start_ns, events.end_ns, events.lane.astype(np.int32)
    )
    nesting = Nesting.of(table)
    depth, above, has = np.zeros(len(events), np.int64), nesting.parent, nesting.has_parent
    for _ in range(MOST_DEPTH):
        depth += has
        has = has & nesting.has_parent[above]
        above = nesting.parent[above]
    return depth


def _busiest(events: _Events, most: int, first: int | None) -> list[int]:
    """The lanes with most time, the busiest first; one of them may be set before all others."""
    outer = events.rows(events.depth == 0)
    lanes, place = np.unique(outer.lane, return_inverse=True)
    time_ns = np.bincount(place, weights=outer.end_ns - outer.start_ns, minlength=len(lanes))
    is_after = np.array([lane != first for lane in lanes.tolist()], np.bool_)
    order = np.lexsort((-time_ns, is_after))[:most]
    return [int(lane) for lane in lanes[order]]


def _longest(events: _Events, most: int) -> _Events:
    lengths = events.end_ns - events.start_ns
    if len(events) <= most:
        return events
    return events.rows(np.sort(np.argsort(-lengths, kind="stable")[:most]))


def _lane(
    kind: str, label: str, events: _Events, shown: _Events, times: Times, names: dict[str, int]
) -> TimelineLane:
    """One lane; ``names`` grows by what it shows."""
    lengths, kept = events.end_ns - events.start_ns, shown.end_ns - shown.start_ns
    left_out = np.sort(lengths)[: len(events) - len(shown)]
    said = PARTS if kind == "cause" else times.timeline.names
    index = [names.setdefault(said[name][:LONGEST_NAME], len(names)) for name in shown.name.tolist()]
    columns = (shown.start_ns.tolist(), kept.tolist(), index, shown.kind.tolist(), shown.depth.tolist())
    return TimelineLane(
        kind=kind,
        label=label,
        events=tuple(sorted(zip(*columns, strict=True))),
        left_out_count=len(left_out),
        left_out_ns=int(left_out[-1]) if len(left_out) else 0,
    )
