"""What ran in the steps and what it costs: FLOP per step, the precision it ran in, how much is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.costs import OpCosts, WorkCosts, op_costs, work_costs
from mfu_profiler.analysis.work import Work
from mfu_profiler.trace.kernel_precision import kernel_precision
from mfu_profiler.trace.nesting import Nesting
from mfu_profiler.trace.timeline import Timeline

__all__ = ["Coverage", "Executed", "StepFlop", "executed"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StepFlop:
    """FLOP of the averaged windows, per step."""

    model: float
    recomputed: float
    """Checkpointing, and what kernels repeat inside themselves."""
    optimizer: float
    causal_model: float | None
    """``model`` with causal attention counted by half; None where no call says causal."""
    model_by_window: tuple[int, ...]
    """Model FLOP of every window, exact."""

    @property
    def hardware(self) -> float:
        """FLOP executed per step."""
        return self.model + self.recomputed + self.optimizer


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the compute-kernel time has known FLOP."""

    fraction: float | None
    """None where no compute kernel ran."""
    is_unknown: Bool
    """Work items whose FLOP are unknown."""
    uncounted: tuple[tuple[str, float], ...]
    """(kernel name, share of compute-kernel time) of the largest of them."""


@dataclass(frozen=True, slots=True)
class Executed:
    """What ran, with its costs."""

    work: Work
    costs: OpCosts
    item: WorkCosts
    """Costs of each row of ``work``."""
    precisions: tuple[str | None, ...]
    """In which each row of ``costs`` ran."""
    flop: StepFlop
    """From shapes; 0 where there are none."""
    covered: Coverage
    step_count: int
    """Averaged windows."""
    averaged_ns: int
    """Their length together."""
    is_averaged: Bool
    """Which of all windows those are."""

    @property
    def averaged_s(self) -> float:
        """Length of the averaged windows together."""
        return self.averaged_ns / 1e9


def executed(
    timeline: Timeline, nesting: Nesting, work: Work, windows: tuple[Int64, Int64], is_averaged: Bool
) -> Executed:
    """Join the work of a timeline with its costs.

    Args:
        nesting: of ``Timeline.ops``.
        windows: starts and ends of all windows, in order.
        is_averaged: which of them are averaged.

    """
    costs = op_costs(timeline, nesting, work)
    item = work_costs(timeline, work, costs)
    starts, ends = windows
    return Executed(
        work=work,
        costs=costs,
        item=item,
        precisions=_op_precisions(timeline, work, costs, item),
        flop=_step_flop(work, costs, item, windows, is_averaged),
        covered=_coverage(timeline, work, item),
        step_count=int(np.count_nonzero(is_averaged)),
        averaged_ns=int((ends - starts)[is_averaged].sum()),
        is_averaged=is_averaged,
    )


def _op_precisions(timeline: Timeline, work: Work, costs: OpCosts, item: WorkCosts) -> tuple[str | None, ...]:
    """The precision in which each costed op ran.

    Its operands decide, except that float32 operands may run in TF32: then the longest kernel's name tells.
    """
    result = list(costs.dtype)
    asking = np.array([dtype in (None, "fp32") for dtype in costs.dtype], np.bool_)
    rows = np.flatnonzero(item.has_flop)
    if not asking.any() or not len(rows):
        return tuple(result)
    rows = rows[asking[item.cost[rows]]]
    for row in rows[np.argsort(work.time_ns[rows], kind="stable")].tolist():
        said = kernel_precision(timeline.names[work.name[row]])
        index = int(item.cost[row])
        if said == "tf32" or (costs.dtype[index] is None and said is not None):
            result[index] = said
    return tuple(result)


def _step_flop(
    work: Work, costs: OpCosts, item: WorkCosts, windows: tuple[Int64, Int64], averaged: Bool
) -> StepFlop:
    """FLOP per step; an op belongs to the window in which its first kernel starts.

    Args:
        windows: starts and ends of all windows, in order.
        averaged: which of them are averaged.

    """
    starts, ends = windows
    first = np.full(len(costs.op), np.iinfo(np.int64).max)
    np.minimum.at(first, item.cost[item.has_flop], work.start_ns[item.has_flop])
    window = np.searchsorted(starts, first, side="right") - 1
    inside = (window >= 0) & (first < ends[np.maximum(window, 0)])
    is_model = ~costs.is_recomputed & ~costs.is_optimizer & inside

    def per_window(flop: Int64, mask: Bool) -> list[int]:
        totals = [0] * len(starts)
        for index, value in zip(window[mask].tolist(), flop[mask].tolist(), strict=True):
            totals[index] += value
        return totals

    def per_step(flop: Int64, mask: Bool) -> float:
        chosen = [
            total for total, is_averaged in zip(per_window(flop, mask), averaged, strict=True) if is_averaged
        ]
        return sum(chosen) / max(1, len(chosen))

    again = per_step(costs.recompute_flop, inside & ~costs.is_optimizer)
    again += per_step(costs.model_flop, inside & costs.is_recomputed & ~costs.is_optimizer)
    has_causal = bool(np.any(costs.is_causal & is_model))
    return StepFlop(
        model=per_step(costs.model_flop, is_model),
        recomputed=again,
        optimizer=per_step(costs.executed_flop, inside & costs.is_optimizer),
        causal_model=per_step(costs.causal_flop, is_model) if has_causal else None,
        model_by_window=tuple(per_window(costs.model_flop, is_model)),
    )


def _coverage(timeline: Timeline, work: Work, item: WorkCosts) -> Coverage:
    """Known are kernels whose op has a cost, and kernels whose name says that they multiply no matrices."""
    compute = ~work.is_communication
    unknown = compute & ~item.has_flop & ~work.has_no_flop
    total = float(work.share_ns[compute].sum())
    if total <= 0:
        return Coverage(None, unknown, ())
    by_name: dict[int, float] = {}
    for name, share in zip(work.name[unknown].tolist(), work.share_ns[unknown].tolist(), strict=True):
        by_name[name] = by_name.get(name, 0.0) + share
    largest = sorted(by_name.items(), key=lambda entry: -entry[1])[:5]
    return Coverage(
        fraction=1.0 - float(work.share_ns[unknown].sum()) / total,
        is_unknown=unknown,
        uncounted=tuple((timeline.names[name], share / total) for name, share in largest if share > 0),
    )
