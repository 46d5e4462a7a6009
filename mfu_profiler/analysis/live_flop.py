"""The FLOP of a step: from the shapes in the trace, as a live run counted them, or as the user gives them.

================================  ==========================================================================
given                             the user knows
shapes                            they cover the kernels, and agree with the live count or there is none
shapes of the profiled steps      the steps' shapes differ: a count of one other step says little of them
counted                           elsewhere: kernels without shapes (compiled models), or the two disagree
================================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from mfu_profiler.analysis.efficiency import Executed, StepFlop
from mfu_profiler.analysis.report import Check, FlopInfo, ModuleFlop, UncountedKernel
from mfu_profiler.trace.live import LiveFlop
from mfu_profiler.units import flop_text, percent_text

__all__ = ["FlopChoice", "chosen_flop", "flop_info"]

COMPLETE_COVERAGE_FRACTION = 0.9
"""Below this share of compute time with known FLOP, shapes are no count to compare with."""
AGREEMENT_FRACTION = 0.01
SHAPES = "shapes in the trace"
_CHECK = "FLOP counted live and from shapes agree"


@dataclass(frozen=True, slots=True)
class FlopChoice:
    """FLOP of a step, and where they come from."""

    flop: StepFlop | None
    """None where none are known."""
    source: str | None = None
    basis: Literal["shapes", "given", "counted"] | None = None
    check: Check | None = None
    """Whether shapes and the live count agree; None of other traces."""
    by_precision: Mapping[str, float] = field(default_factory=dict)
    """Executed FLOP by precision, where the live count is used."""


def chosen_flop(ran: Executed | None, live: LiveFlop | None, given: float | None) -> FlopChoice:
    """The FLOP that MFU rests on.

    Args:
        ran: what ran in the profiled windows; None where nothing tells.
        live: as counted in the process; None of other traces, and where a window is no step.
        given: model FLOP as the user says.

    """
    counted = live if live is not None and live.source is not None and live.hardware > 0 else None
    shapes = ran.flop if ran is not None and ran.flop.hardware > 0 else None
    check = None if live is None else _agreement(ran, counted)
    if given is not None:
        base = ran.flop if ran is not None else _NOTHING
        return FlopChoice(replace(base, model=given), "given", "given", check)
    varies = counted is not None and (counted.varies or (ran is not None and _differs(ran)))
    if counted is None or (varies and shapes is not None):
        source = f"{SHAPES}; the steps differ in theirs" if varies else SHAPES
        return FlopChoice(shapes, source if shapes else None, "shapes" if shapes else None, check)
    if shapes is not None and check is not None and check.ok and _covers(ran):
        return FlopChoice(shapes, SHAPES, "shapes", check)
    base = ran.flop if ran is not None else _NOTHING
    flop = replace(
        base,
        model=counted.model,
        recomputed=counted.recomputed,
        optimizer=counted.optimizer,
        causal_model=counted.causal_model,
    )
    return FlopChoice(flop, _counted_source(counted), "counted", check, counted.by_precision)


_NOTHING = StepFlop(0.0, 0.0, 0.0, None, ())


def _counted_source(counted: LiveFlop) -> str:
    if counted.source == "shadow":
        where = "counted on a meta copy of the model"
    else:
        where = "counted on a step" if counted.step is None else f"counted on step {counted.step}"
    return f"{where}; the steps' shapes vary" if counted.varies else where


def _covers(ran: Executed | None) -> bool:
    fraction = ran.covered.fraction if ran is not None else None
    return fraction is not None and fraction >= COMPLETE_COVERAGE_FRACTION


def _differs(ran: Executed) -> bool:
    """Whether the averaged windows differ in their FLOP."""
    counts = [
        flop for flop, used in zip(ran.flop.model_by_window, ran.is_averaged.tolist(), strict=True) if used
    ]
    return len(counts) > 1 and max(counts) - min(counts) > AGREEMENT_FRACTION * max(counts)


def _agreement(ran: Executed | None, counted: LiveFlop | None) -> Check:
    """The two counts compared, model FLOP and what was executed; where they cannot be, it is no failure."""
    if counted is None:
        return Check(_CHECK, True, "none were counted live", applies=False)
    if counted.varies or (ran is not None and _differs(ran)):
        return Check(_CHECK, True, "the steps' shapes vary", applies=False)
    if ran is None:
        return Check(_CHECK, True, "no step was profiled", applies=False)
    if not _covers(ran):
        return Check(_CHECK, True, "shapes do not cover the kernels", applies=False)
    pairs = ((counted.model, ran.flop.model, ""), (counted.hardware, ran.flop.hardware, " executed"))
    live, shapes, what = max(pairs, key=lambda pair: _difference(pair[0], pair[1]))
    difference = _difference(live, shapes)
    detail = f"{flop_text(live)} counted, {flop_text(shapes)} from shapes{what}"
    return Check(_CHECK, difference <= AGREEMENT_FRACTION, f"{detail}: {percent_text(difference)} apart")


def _difference(one: float, other: float) -> float:
    largest = max(one, other)
    return abs(one - other) / largest if largest else 0.0


def flop_info(choice: FlopChoice, ran: Executed | None, live: LiveFlop | None) -> FlopInfo:
    """What a report says of its FLOP."""
    flop, covered = choice.flop, ran.covered if ran is not None else None
    info = FlopInfo(
        model_per_step=flop.model if flop else None,
        hardware_per_step=flop.hardware if flop else None,
        recomputed_per_step=flop.recomputed if flop else None,
        optimizer_per_step=flop.optimizer if flop else None,
        causal_model_per_step=flop.causal_model if flop else None,
        source=choice.source,
        coverage_fraction=covered.fraction if covered else None,
        uncounted=tuple(UncountedKernel(name, share) for name, share in covered.uncounted) if covered else (),
        basis=choice.basis,
    )
    if live is None:
        return info
    largest = sorted(live.by_module, key=lambda row: -(row.forward + row.backward + row.recomputed))
    return replace(
        info,
        counted_per_step=live.model if live.source is not None else None,
        shapes_per_step=ran.flop.model if ran is not None and ran.flop.hardware > 0 else None,
        by_module=tuple(ModuleFlop(row.name, row.forward, row.backward, row.recomputed) for row in largest),
        analytic_per_step=live.analytic,
    )
