"""An optimizer that updates tensor by tensor or operation by operation, where one fused kernel would do.

A fused update reads and writes each tensor once; otherwise each operation reads and writes its own::

    Adam     lerp  mul  addcmul  sqrt  div  add  addcdiv        fused: parameter, gradient and two states
    passes     3    2      3       2    2    3      4    = 19          read, all but the gradient written  = 7

Whether ``add`` adds a tensor or a number its name does not say; it counts as the former.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.fixes.steps import Steps
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.op_roles import is_in_optimizer
from mfu_profiler.analysis.replay.relief import Relief
from mfu_profiler.trace.host_calls import is_optimizer_step

__all__ = ["OptimizerWork", "optimizer_work"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

FUSED_PASSES = {"Adam": 7, "AdamW": 7, "SGD": 5, "Adagrad": 5}
"""Tensors that ``fused=True`` reads and writes per parameter (SGD: with momentum).
Source: aten/src/ATen/native/cuda/fused_adam_utils.cuh and its neighbours."""
_PASSES = {"lerp": 3, "add": 3, "sub": 3, "addcmul": 3, "addcdiv": 4, "maximum": 3}
"""Tensors that an operation of an optimizer reads and writes; others one of each."""
_OTHER_PASSES = 2
_NO_OPERATION = frozenset(
    {"empty", "view", "select", "to", "copy", "detach", "item", "result", "fill", "zero"}
)
"""Names of other ops, allocation, and the counter of steps."""
_OPERATION = re.compile(r"^aten::(?:_foreach_)?([a-z]+)_?$")


@dataclass(frozen=True, slots=True)
class OptimizerWork:
    """What the optimizer does in the averaged steps."""

    name: str | None
    """Its class, e.g. ``AdamW``; None where no mark says it."""
    is_fused: bool
    is_foreach: bool
    count: float
    """Of its ops or launches, per step."""
    relief: Relief
    """If it were fused."""


def optimizer_work(steps: Steps) -> OptimizerWork:
    """Of the marked optimizer steps."""
    timeline, ops = steps.timeline, steps.ops
    marks = timeline.marks
    is_step = timeline.by_name(marks.name, is_optimizer_step, np.bool_)
    if not is_step.any():
        return OptimizerWork(None, False, False, 0.0, Relief())
    spans = Spans.of(marks.start_ns[is_step], marks.end_ns[is_step])
    rows = _own_work(steps)
    averaged = rows[steps.times.inside(steps.work.start_ns[rows])]
    used, counts = np.unique(ops.name[steps.work.op[averaged]], return_counts=True)
    names = [timeline.names[index] for index in used.tolist()]
    name = timeline.names[int(marks.name[np.argmax(is_step)])]
    name = name.removeprefix("Optimizer.step#").removesuffix(".step")
    passes = _passes(dict(zip(names, counts.tolist(), strict=True)))
    left = min(1.0, FUSED_PASSES.get(name, passes) / passes) if passes else 1.0
    return OptimizerWork(
        name=name,
        is_fused=any("_fused_" in one for one in names),
        is_foreach=any("_foreach_" in one for one in names),
        count=_count(steps, averaged) / steps.times.step_count,
        relief=Relief.of_work(rows, left, spans),
    )


def _own_work(steps: Steps) -> Int64:
    """Of all its steps: the host may be a step ahead of the work that it launches."""
    work = steps.work
    rows = np.flatnonzero(work.has_op)
    return rows[is_in_optimizer(steps.timeline, steps.nesting, work.op[rows])]


def _count(steps: Steps, rows: Int64) -> int:
    """Ops of a CPU; on a device calls that launched some of its work, of which a graph has many."""
    if steps.times.is_cpu:
        return len(rows)
    activities = steps.timeline.activities
    launched = np.flatnonzero(~steps.times.kinds.is_copy)[rows]
    return len(np.unique(activities.call[launched[activities.has_call[launched]]]))


def _passes(counts: Mapping[str, int]) -> float:
    """Tensors that all operations on one parameter read and write; 0 where no operation is known.

    Args:
        counts: of each op; the rarest runs once for a parameter.

    """
    found = [(match[1], count) for op, count in counts.items() if (match := _OPERATION.match(op))]
    found = [(operation, count) for operation, count in found if operation not in _NO_OPERATION]
    once = min((count for _, count in found), default=1)
    return sum(_PASSES.get(operation, _OTHER_PASSES) * count / once for operation, count in found)
