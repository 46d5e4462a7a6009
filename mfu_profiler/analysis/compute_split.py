"""What the compute part of a step consists of, at the reference peak: the FLOP rows of the waterfall."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mfu_profiler.analysis.efficiency import Executed, StepFlop

__all__ = ["ComputeSplit", "compute_split"]


@dataclass(frozen=True, slots=True)
class ComputeSplit:
    """Fractions of the averaged windows at the reference peak that make up the compute part."""

    mfu: float
    recomputation: float
    optimizer_matmul: float
    precision: float
    matmul_inefficiency: float
    uncounted_kernels: float
    clocks: float = 0.0
    """What the device lost by another clock than its peak's; live runs only."""

    @property
    def hfu(self) -> float:
        """Everything that was executed."""
        return self.mfu + self.recomputation + self.optimizer_matmul

    @property
    def useful(self) -> float:
        """Ideal time of the kernels with FLOP, each at its own peak."""
        return self.hfu + self.precision

    @property
    def busy(self) -> float:
        """Their true time."""
        return self.useful + self.clocks + self.matmul_inefficiency


def compute_split(
    ran: Executed,
    flop: StepFlop,
    peaks: Mapping[str, float],
    reference_peak: float,
    given_kinds: tuple[int, ...] = (),
    by_precision: Mapping[str, float] | None = None,
) -> ComputeSplit:
    """The FLOP rows of the waterfall, as fractions of the averaged windows.

    Args:
        ran: what ran in them.
        flop: per step: as counted, or as the user gives them.
        peaks: FLOP/s by precision; a kernel whose precision has none is judged at the reference.
        reference_peak: FLOP/s.
        given_kinds: where the user gives the FLOP of a step, kinds of kernels that execute them even
            where shapes do not tell: all of them are then judged at the reference.
        by_precision: executed FLOP by precision where a live run counted them: kernels without shapes have
            no precision of their own.

    """
    work, item, unknown = ran.work, ran.item, ran.covered.is_unknown
    whole = ran.averaged_s * reference_peak
    executed_s = flop.hardware * ran.step_count / reference_peak
    counted = item.has_flop & (work.share_ns > 0) & (item.flop > 0)
    given = unknown & np.isin(work.kind, given_kinds)
    if by_precision is not None and not work.share_ns[counted | given].any():
        # The FLOP were executed, so something did: kernels of unknown FLOP, or else all of them.
        given = unknown if work.share_ns[unknown].any() else ~work.is_communication
    slower_s = 0.0
    if by_precision:
        slower_s = executed_s * _slower_fraction(by_precision, peaks, reference_peak)
    elif counted.any() and not given_kinds:
        own = np.array([peaks.get(name or "", reference_peak) for name in ran.precisions])
        slower_s = float((item.flop[counted] * (1 / own[item.cost[counted]] - 1 / reference_peak)).sum())
    busy_s = float(work.share_ns[counted | given].sum()) / 1e9
    return ComputeSplit(
        mfu=flop.model * ran.step_count / whole,
        recomputation=flop.recomputed * ran.step_count / whole,
        optimizer_matmul=flop.optimizer * ran.step_count / whole,
        precision=slower_s / ran.averaged_s,
        matmul_inefficiency=(busy_s - executed_s - slower_s) / ran.averaged_s,
        uncounted_kernels=float(work.share_ns[unknown & ~given].sum()) / 1e9 / ran.averaged_s,
    )


def _slower_fraction(
    by_precision: Mapping[str, float], peaks: Mapping[str, float], reference: float
) -> float:
    """How much longer FLOP take at their own precisions' peaks than at the reference, over the latter."""
    own = sum(flop * reference / peaks.get(name, reference) for name, flop in by_precision.items())
    return own / sum(by_precision.values()) - 1
