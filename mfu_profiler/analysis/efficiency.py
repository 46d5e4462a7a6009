"""How close the FLOP of a step come to the peak: precision, ideal times, coverage, and the compute rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.costs import OpCosts, WorkCosts
from mfu_profiler.analysis.waterfall import ComputeSplit
from mfu_profiler.analysis.work import Work
from mfu_profiler.hardware import Precision
from mfu_profiler.trace.kernel_precision import kernel_precision
from mfu_profiler.trace.timeline import Timeline

__all__ = ["Coverage", "StepFlop", "compute_split", "coverage", "op_precisions", "step_flop"]

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


def op_precisions(timeline: Timeline, work: Work, costs: OpCosts, item: WorkCosts) -> tuple[str | None, ...]:
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


def step_flop(
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


def coverage(timeline: Timeline, work: Work, item: WorkCosts) -> Coverage:
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


def compute_split(
    work: Work,
    item: WorkCosts,
    unknown: Bool,
    precisions: tuple[str | None, ...],
    flop: StepFlop,
    peaks: Mapping[Precision, float],
    reference_peak: float,
    averaged_time_s: float,
    step_count: int,
    given_kinds: tuple[int, ...] = (),
) -> ComputeSplit:
    """The FLOP rows of the waterfall, as fractions of the averaged windows.

    Args:
        unknown: items whose FLOP are unknown.
        peaks: FLOP/s by precision; a kernel whose precision has none is judged at the reference.
        reference_peak: FLOP/s.
        averaged_time_s: length of the averaged windows together.
        step_count: how many they are.
        given_kinds: where the user gives the FLOP of a step, kinds of kernels that execute them even
            where shapes do not tell: all of them are then judged at the reference.

    """
    whole = averaged_time_s * reference_peak
    executed_s = flop.hardware * step_count / reference_peak
    given = unknown & np.isin(work.kind, given_kinds)
    counted = item.has_flop & (work.share_ns > 0) & (item.flop > 0)
    own = np.array([_peak_of(name, peaks, reference_peak) for name in precisions])
    slower_s = 0.0
    if counted.any() and not given_kinds:
        slower_s = float((item.flop[counted] * (1 / own[item.cost[counted]] - 1 / reference_peak)).sum())
    busy_s = float(work.share_ns[counted | given].sum()) / 1e9
    return ComputeSplit(
        mfu=flop.model * step_count / whole,
        recomputation=flop.recomputed * step_count / whole,
        optimizer_matmul=flop.optimizer * step_count / whole,
        precision=slower_s / averaged_time_s,
        matmul_inefficiency=(busy_s - executed_s - slower_s) / averaged_time_s,
        uncounted_kernels=float(work.share_ns[unknown & ~given].sum()) / 1e9 / averaged_time_s,
    )


def _peak_of(name: str | None, peaks: Mapping[Precision, float], reference_peak: float) -> float:
    known = {str(precision): peak for precision, peak in peaks.items()}
    return known.get(name or "", reference_peak)
