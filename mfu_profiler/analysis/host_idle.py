"""Why the host was late: host-bound idle time by phase and reason."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.op_roles import EVALUATE_FUNCTION
from mfu_profiler.analysis.report import HostIdle
from mfu_profiler.trace.host_calls import (
    host_call_kind,
    is_optimizer_step,
    is_zero_grad,
)
from mfu_profiler.trace.timeline import Intervals, Timeline

__all__ = ["NO_OPS", "host_idle", "idle_reasons", "is_compilation"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

STALL_OVER_MEDIAN = 20.0
"""An op longer than this many medians of its name has stalled (design, section 5)."""
STALL_LEAST_NS = 200_000
"""Shorter ops are no stall, whatever their median."""
BARE_LEAST_NS = 1_000_000
"""A stretch of host time without any op, longer than this, is no dispatch: the host did something else."""
NO_OPS = "no ops"
"""The reason of such stretches."""
_COMPILATION = "(dynamo_timed)"
"""Suffix of the annotations that torch's compiler records of itself (torch/_dynamo/utils.py)."""


def host_idle(
    timeline: Timeline, idle_host: Spans, windows: tuple[Int64, Int64], whole_ns: int
) -> tuple[HostIdle, ...]:
    """Shares of the step, largest first; they sum to the partition's ``idle_host``.

    Args:
        idle_host: host-bound idle time.
        windows: starts and ends of the averaged windows.
        whole_ns: their length together.

    """
    bare = _bare(timeline)
    phases = _phases(timeline, bare)
    reasons = idle_reasons(timeline, bare)
    rows = []
    for phase, phase_spans in phases.items():
        left = idle_host & phase_spans
        for reason, reason_spans in reasons.items():
            part = left if reason == "dispatch" else left & reason_spans
            left = left - part
            length = int(part.within(*windows).sum())
            if length:
                rows.append(HostIdle(phase, reason, length / whole_ns))
    return tuple(sorted(rows, key=lambda row: -row.fraction))


def _phases(timeline: Timeline, bare: Spans) -> dict[str, Spans]:
    """Disjoint sets that cover all time: what the host's threads were in."""
    ops, marks = timeline.ops, timeline.marks
    everything = Spans.one(timeline.start_ns - 1, timeline.end_ns + 1)
    optimizer_marks = timeline.by_name(
        marks.name, lambda name: is_optimizer_step(name) or is_zero_grad(name), np.bool_
    )
    engine = timeline.by_name(ops.name, lambda name: name.startswith(EVALUATE_FUNCTION), np.bool_)
    optimizer = _spans(marks, optimizer_marks)
    # Between its first and its last node one backward pass is backward all through.
    backward = _closed(_spans(ops, engine), BARE_LEAST_NS) - optimizer
    outside = bare - optimizer - backward
    forward = everything - optimizer - backward - outside
    return {"optimizer": optimizer, "backward": backward, "outside the model": outside, "forward": forward}


def idle_reasons(timeline: Timeline, bare: Spans | None = None) -> dict[str, Spans]:
    """Sets of time by reason, in the order in which they claim it; the rest is dispatch.

    Args:
        timeline: a trace.
        bare: long stretches without any op or call, if they are known already.

    """
    calls, marks = timeline.calls, timeline.marks
    bare = _bare(timeline) if bare is None else bare
    allocates = timeline.by_name(calls.name, lambda name: host_call_kind(name) == "allocate", np.bool_)
    compiles = timeline.by_name(marks.name, is_compilation, np.bool_)
    return {
        "compilation": _spans(marks, compiles),
        "allocator": _spans(calls, allocates),
        "garbage collection": _spans(timeline.python, _is_collection(timeline)),
        "host stall": _stalled(timeline),
        NO_OPS: bare,
        "dispatch": Spans.nothing(),
    }


def is_compilation(name: str) -> bool:
    """Whether an annotation is of torch's compiler at work."""
    return _COMPILATION in name


def _is_collection(timeline: Timeline) -> Bool:
    return timeline.by_name(
        timeline.python.name, lambda name: name.startswith("<built-in function collect>"), np.bool_
    )


def _stalled(timeline: Timeline) -> Spans:
    """Ops far longer than others of their name, while their thread ran no other op inside them."""
    ops = timeline.ops
    if not len(ops):
        return Spans.nothing()
    duration = ops.end_ns - ops.start_ns
    order = np.lexsort((duration, ops.name))
    names, first, count = np.unique(ops.name[order], return_index=True, return_counts=True)
    median = np.zeros(int(names.max()) + 1)
    median[names] = duration[order[first + count // 2]]
    stalled = (duration > STALL_OVER_MEDIAN * median[ops.name]) & (duration > STALL_LEAST_NS)
    # The innermost of nested stalls is the one that waited.
    has_inner = np.zeros(len(ops), np.bool_)
    rows = np.flatnonzero(stalled)
    inner = np.flatnonzero(
        (ops.thread[rows[1:]] == ops.thread[rows[:-1]]) & (ops.start_ns[rows[1:]] < ops.end_ns[rows[:-1]])
    )
    has_inner[rows[inner]] = True
    return _spans(ops, stalled & ~has_inner)


def _bare(timeline: Timeline) -> Spans:
    """Long stretches in which no host thread is in an op or a runtime call."""
    ops, calls = timeline.ops, timeline.calls
    busy = _spans(ops, np.ones(len(ops), np.bool_)) | _spans(calls, np.ones(len(calls), np.bool_))
    free = Spans.one(timeline.start_ns - 1, timeline.end_ns + 1) - busy
    long = free.end_ns - free.start_ns > BARE_LEAST_NS
    return Spans(free.start_ns[long], free.end_ns[long])


def _closed(spans: Spans, gap_ns: int) -> Spans:
    """The spans with holes up to ``gap_ns`` filled."""
    if not len(spans):
        return spans
    grown = Spans.of(spans.start_ns, spans.end_ns + gap_ns)
    return Spans(grown.start_ns, grown.end_ns - gap_ns)


def _spans(table: Intervals, mask: Bool) -> Spans:
    return Spans.of(table.start_ns[mask], table.end_ns[mask])
