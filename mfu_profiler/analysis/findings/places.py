"""The places in the trace that cost most: calls, ops, and source lines where stacks or samples have them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.fixes.reading_back import READS
from mfu_profiler.analysis.host_states import blocking_calls
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.locations import Locations
from mfu_profiler.analysis.times import Times
from mfu_profiler.trace.host_calls import SYNC_OPS
from mfu_profiler.trace.timeline import Intervals
from mfu_profiler.units import count_text, percent_text, time_text

__all__ = ["late_launches", "reads_in", "worst_syncs"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

MOST_PLACES = 3
LEAST_PLACE_FRACTION = 0.005
"""Of the step: smaller places are not named."""


def worst_syncs(times: Times, locations: Locations) -> tuple[str, ...]:
    """What the host was blocked in when the device ran dry: the three that cost most idle time."""
    idle = times.parts.spans["idle_synchronization"]
    inside = times.inside(idle.start_ns)
    starts, lengths = idle.start_ns[inside], (idle.end_ns - idle.start_ns)[inside]
    cost: dict[str, list[int]] = {}
    places: dict[str, Counter[str]] = {}
    for (what, place), length in zip(_blocked_in(times, locations, starts), lengths.tolist(), strict=True):
        if what is not None:
            cost.setdefault(what, []).append(length)
            places.setdefault(what, Counter()).update([place] if place and " at " not in what else [])
    worst = sorted(cost.items(), key=lambda item: -sum(item[1]))[:MOST_PLACES]
    return tuple(
        f"{count_text(len(found) / times.step_count)} {what}{_at(places[what])} a step, then"
        f" {time_text(sum(found) / 1e9 / times.step_count)} idle"
        for what, found in worst
    )


def reads_in(times: Times, locations: Locations, spans: Spans) -> tuple[float, tuple[str, ...]]:
    """(Values read back a step in some host time, the three places where most are read)."""
    ops = times.timeline.ops
    reads = times.timeline.by_name(ops.name, READS.__contains__, np.bool_)
    nesting = times.joined.nesting
    inner = nesting.has_parent & reads[nesting.parent]
    rows = np.flatnonzero(reads & ~inner & spans.holds(ops.start_ns) & times.inside(ops.start_ns))
    found = Counter(place for row in rows.tolist() if (place := locations.of_op(row)))
    texts = tuple(
        f"{count_text(count / times.step_count)} a step at {place}"
        for place, count in found.most_common(MOST_PLACES)
    )
    if not texts and (sampled := locations.of_times(spans, times.averaged)):
        texts = (f"mostly at {sampled}",)
    return len(rows) / times.step_count, texts


def late_launches(times: Times, locations: Locations) -> tuple[str, ...]:
    """The three ops for which the device waited longest in host-bound time, one line for all."""
    idle, activities, joined = times.parts.spans["idle_host"], times.timeline.activities, times.joined
    inside = times.inside(idle.start_ns)
    ends, lengths = idle.end_ns[inside], (idle.end_ns - idle.start_ns)[inside]
    place = np.searchsorted(activities.start_ns, ends)
    known = place < len(activities)
    rows, lengths = place[known], lengths[known]
    has_op = joined.has_op[rows]
    ops, lengths = joined.op[rows[has_op]], lengths[has_op]
    if not len(ops):
        return ()
    names = times.timeline.ops.name[ops]
    total = np.bincount(names, weights=lengths) / times.averaged_ns
    texts: list[str] = []
    for name in np.argsort(-total, kind="stable")[:MOST_PLACES].tolist():
        if total[name] >= LEAST_PLACE_FRACTION:
            location = None if texts else locations.of_op(int(ops[names == name][0]))
            at = f" at {location}" if location else ""
            texts.append(f"{times.timeline.names[name]} {percent_text(float(total[name]))}{at}")
    return (f"waited longest for: {', '.join(texts)}",) if texts else ()


def _blocked_in(times: Times, locations: Locations, time_ns: Int64) -> list[tuple[str | None, str | None]]:
    """The blocking call around each time, else the op that reads back, and where that was sampled."""
    timeline = times.timeline
    calls, ops = timeline.calls, timeline.ops
    reads = timeline.by_name(ops.name, lambda name: name in SYNC_OPS, np.bool_)
    call, has_call = _holding(calls, blocking_calls(timeline), time_ns)
    read, has_read = _holding(ops, reads, time_ns)
    found: list[tuple[str | None, str | None]] = [(None, None)] * len(time_ns)
    for index in np.flatnonzero(has_call).tolist():
        row = int(call[index])
        at = locations.of_wait(calls, row, int(time_ns[index]))
        found[index] = _call_text(times, locations, row), at
    for index in np.flatnonzero(has_read & ~has_call).tolist():
        row = int(read[index])
        at = locations.of_wait(ops, row, int(time_ns[index]))
        found[index] = _op_text(times, locations, row), at
    return found


def _call_text(times: Times, locations: Locations, call: int) -> str:
    calls = times.timeline.calls
    name = times.timeline.names[int(calls.name[call])]
    here = np.array([call])
    op, has_op = times.joined.nesting.innermost(calls.thread[here], calls.start_ns[here])
    return f"{name} in {_op_text(times, locations, int(op[0]))}" if has_op[0] else name


def _op_text(times: Times, locations: Locations, op: int) -> str:
    """An op's name, and its source line where the trace has stacks."""
    name = times.timeline.names[int(times.timeline.ops.name[op])]
    location = locations.of_op(op)
    return f"{name} at {location}" if location else name


def _at(places: Counter[str]) -> str:
    """Where most of them were sampled; nothing where none was, or where the text has said it."""
    if not places:
        return ""
    return f"{' mostly' if len(places) > 1 else ''} at {places.most_common(1)[0][0]}"


def _holding(table: Intervals, mask: Bool, time_ns: Int64) -> tuple[Int64, Bool]:
    """The row, of a mask, that started last before each time, and whether it holds the time."""
    rows = np.flatnonzero(mask)
    if not len(rows):
        return np.zeros(len(time_ns), np.int64), np.zeros(len(time_ns), np.bool_)
    rows = rows[np.argsort(table.start_ns[rows], kind="stable")]
    place = np.searchsorted(table.start_ns[rows], time_ns, side="right") - 1
    row = rows[np.maximum(place, 0)]
    return row, np.asarray((place >= 0) & (time_ns < table.end_ns[row]), np.bool_)
