"""Work that only looks at the training: values computed from gradients or weights and read on the host.

::

    backward ══╡ isfinite  all  item │ isfinite  all  item │ ... ╞══ optimizer.step
               └───────── not recorded for autograd, each stretch ends with a value read ─────────┘

One value read in a stretch is a loss or a metric, and no finding of this kind.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.fixes.steps import Steps
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.op_roles import EVALUATE_FUNCTION
from mfu_profiler.analysis.replay.relief import Relief
from mfu_profiler.trace.host_calls import is_data_loading, is_optimizer_step, is_zero_grad
from mfu_profiler.trace.timeline import Intervals

__all__ = ["READS", "reading_back"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

READS = frozenset({"aten::item", "aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal"})
"""Ops that hand one value to Python."""
LEAST_READS = 2
"""In one stretch."""


def reading_back(steps: Steps) -> Relief:
    """The stretches of the launching thread, and what they launched."""
    rows = _plain_ops(steps)
    if not len(rows):
        return Relief()
    reads = steps.ops_named(READS.__contains__)[rows]
    spans = _stretches(steps, rows, reads)
    return Relief.of_work(steps.work_within(spans), 0.0, spans)


def _plain_ops(steps: Steps) -> Int64:
    """Outermost ops of the main thread, in order."""
    ops, nesting = steps.ops, steps.nesting
    outermost = ~nesting.has_parent & (ops.thread == steps.times.host.main_thread)
    return np.flatnonzero(outermost)


def _stretches(steps: Steps, rows: Int64, reads: Bool) -> Spans:
    """From one value's usual number of ops before the first that is read to the last, in each stretch."""
    ops, broken = steps.ops, _broken(steps)
    trains = _trains(steps, rows) | broken.holds(ops.start_ns[rows])
    apart = broken.within(ops.end_ns[rows[:-1]], ops.start_ns[rows[1:]]) > 0
    stretch = np.concatenate([[0], np.cumsum(trains[1:] | trains[:-1] | apart)])
    starts, ends = [], []
    read_places = np.flatnonzero(reads & ~trains)
    groups = np.split(read_places, np.flatnonzero(np.diff(stretch[read_places])) + 1)
    first_of = np.searchsorted(stretch, stretch, side="left")
    for places in groups:
        if len(places) < LEAST_READS:
            continue
        usual = int(np.diff(places).max())
        first = max(int(first_of[places[0]]), int(places[0]) - usual + 1)
        starts.append(int(ops.start_ns[rows[first]]))
        ends.append(int(ops.end_ns[rows[places[-1]]]))
    return Spans.of(np.array(starts, np.int64), np.array(ends, np.int64))


def _trains(steps: Steps, rows: Int64) -> Bool:
    """Ops that autograd records or runs: the sequence number goes on behind them."""
    ops = steps.ops
    engine = steps.ops_named(lambda name: name.startswith(EVALUATE_FUNCTION))[rows]
    following = np.append(rows[1:], rows[-1])
    has_both = ops.has_sequence[rows] & ops.has_sequence[following]
    return np.asarray(engine | (has_both & (ops.sequence[following] > ops.sequence[rows])), np.bool_)


def _broken(steps: Steps) -> Spans:
    """Backward passes, optimizer steps and waits for data: what a stretch does not reach over."""
    marks, ops = steps.timeline.marks, steps.ops
    engine = steps.ops_named(lambda name: name.startswith(EVALUATE_FUNCTION))
    is_mark = steps.timeline.by_name(
        marks.name,
        lambda name: is_optimizer_step(name) or is_zero_grad(name) or is_data_loading(name),
        np.bool_,
    )
    return _spans(ops, engine) | _spans(marks, is_mark)


def _spans(table: Intervals, mask: Bool) -> Spans:
    return Spans.of(table.start_ns[mask], table.end_ns[mask])
