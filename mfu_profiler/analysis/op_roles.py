"""What an op's FLOP are for: the model, a repetition of it (checkpointing), or the optimizer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mfu_profiler.trace.host_calls import is_optimizer_step
from mfu_profiler.trace.nesting import Nesting, sorted_by_nesting
from mfu_profiler.trace.timeline import Intervals, Timeline

__all__ = ["EVALUATE_FUNCTION", "is_in_optimizer", "is_recomputed"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

EVALUATE_FUNCTION = "autograd::engine::evaluate_function"
"""Prefix of the op that the autograd engine records around each backward node."""


def is_in_optimizer(timeline: Timeline, nesting: Nesting, rows: Int64) -> Bool:
    """Whether each op (a row of ``ops``) is the optimizer's: inside its step on its thread.

    What a closure (LBFGS) computes in there is the model's: forward ops, which are recorded for autograd, and
    backward nodes. Optimizers themselves run without gradients.
    """
    ops, marks = timeline.ops, timeline.marks
    if not len(marks):
        return np.zeros(len(rows), np.bool_)
    order = sorted_by_nesting(marks.thread, marks.start_ns, marks.end_ns)
    table = Intervals(marks.name[order], marks.start_ns[order], marks.end_ns[order], marks.thread[order])
    optimizer = timeline.by_name(table.name, is_optimizer_step, np.bool_)
    mark, inside = Nesting.of(table).innermost(ops.thread[rows], ops.start_ns[rows], among=optimizer)
    engine = timeline.by_name(ops.name, lambda name: name.startswith(EVALUATE_FUNCTION), np.bool_)
    trains = ops.has_sequence | engine
    above, has_above = nesting.parent_among(rows, trains)
    in_closure = trains[rows] | (has_above & (ops.start_ns[above] >= table.start_ns[mark]))
    return np.asarray(inside & ~in_closure, np.bool_)


def is_recomputed(timeline: Timeline, nesting: Nesting, rows: Int64) -> Bool:
    """Whether each op repeats a part of the forward pass (activation checkpointing).

    ::

        evaluate_function: XBackward  (sequence 936) ├──────────────────────────────────┤
          XBackward                   (sequence 936)   ├──────────────────────────────┤
            aten::convolution         (sequence 2001)    ├────┤   recorded with grad on: runs again
            aten::convolution_backward (none)                    ├────┤   ordinary backward

    An op in backward that has a sequence number of its own was recorded for autograd, so it runs
    forward code. With ``create_graph=True`` all of backward is recorded too, but then those very numbers are
    used by backward nodes later, outside this node; what checkpointing records is used inside it or never.
    """
    ops = timeline.ops
    engine = timeline.by_name(ops.name, lambda name: name.startswith(EVALUATE_FUNCTION), np.bool_)
    if not engine.any() or not len(rows):
        return np.zeros(len(rows), np.bool_)
    everything = np.arange(len(ops))
    node, in_backward = nesting.parent_among(everything, engine)
    own = in_backward & ops.has_sequence & ~engine & (ops.sequence != ops.sequence[node])
    candidates = np.flatnonzero(own)
    if not len(candidates):
        return np.zeros(len(rows), np.bool_)
    own[candidates] = ~_is_used_later(timeline, engine, node, in_backward, candidates)
    above, has_above = nesting.parent_among(rows, own)
    inside_node = ops.start_ns[above] >= ops.start_ns[node[rows]]
    return np.asarray(own[rows] | (has_above & in_backward[rows] & inside_node), np.bool_)


def _is_used_later(timeline: Timeline, engine: Bool, node: Int64, in_backward: Bool, asked: Int64) -> Bool:
    """Whether a backward node with an asked op's sequence number starts after the op's own node has ended.

    Each thread counts for itself: where an op of the forward pass has the same number, one node is that op's.
    """
    ops = timeline.ops
    rows = np.flatnonzero(engine & ops.has_sequence)
    if not len(rows):
        return np.zeros(len(asked), np.bool_)
    order = rows[np.lexsort((ops.start_ns[rows], ops.sequence[rows]))]
    sequence = ops.sequence[asked]
    first = np.searchsorted(ops.sequence[order], sequence, side="left")
    beyond = np.searchsorted(ops.sequence[order], sequence, side="right")
    forward = ops.has_sequence & ~in_backward & ~engine
    of_forward = np.isin(sequence, ops.sequence[forward])
    last = order[np.maximum(beyond - 1, 0)]
    return np.asarray(
        (beyond - first > of_forward) & (ops.start_ns[last] >= ops.end_ns[node[asked]]), np.bool_
    )
