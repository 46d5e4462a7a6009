"""MFU and HFU, or the reason why they are unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from mfu_profiler.analysis.clocks import ClockReading, with_clocks
from mfu_profiler.analysis.compute_split import ComputeSplit, compute_split
from mfu_profiler.analysis.efficiency import Executed, StepFlop
from mfu_profiler.analysis.live_flop import FlopChoice
from mfu_profiler.analysis.options import Options
from mfu_profiler.analysis.peak import DevicePeaks
from mfu_profiler.analysis.unprofiled import Unprofiled
from mfu_profiler.hardware import PRECISIONS, Precision
from mfu_profiler.trace.kernel_kinds import KERNEL_KINDS
from mfu_profiler.trace.kernel_precision import kernel_precision
from mfu_profiler.trace.timeline import Timeline
from mfu_profiler.units import flop_rate_text, percent_text

__all__ = ["Utilization", "bare_utilization", "utilization"]

FLOP_KINDS = tuple(KERNEL_KINDS.index(kind) for kind in ("matmul", "attention", "convolution"))
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Utilization:
    """The headline numbers of a report and what they rest on."""

    choice: FlopChoice
    """The FLOP of a step."""
    precision: Precision | None
    """Reference precision."""
    peak_flop_per_s: float | None
    peak_source: str | None
    peak_detail: str | None
    clock_hz: float | None = None
    """At which the peak holds; None where no datasheet gives the peak or the clock."""
    mfu: float | None = None
    hfu: float | None = None
    because: str | None = None
    """Why MFU is unknown; None where it is known."""
    hints: tuple[str, ...] = ()
    split: ComputeSplit | None = None
    """Of the profiled windows."""
    peaks: Mapping[str, float] = field(default_factory=dict)
    """Peaks by precision, the reference one as MFU uses it."""
    is_impossible: bool = False
    """The MFU would be over 100 %: the peak or the FLOP are wrong."""

    @property
    def flop(self) -> StepFlop | None:
        """None where no FLOP are known."""
        return self.choice.flop

    @property
    def flop_source(self) -> str | None:
        """Where they come from, in words."""
        return self.choice.source


def utilization(
    timeline: Timeline,
    ran: Executed,
    peaks: DevicePeaks,
    options: Options,
    choice: FlopChoice,
    unprofiled: Unprofiled | None = None,
    clock: ClockReading | None = None,
) -> Utilization:
    """Join FLOP, time and peak.

    Args:
        timeline: the trace.
        ran: what ran in the averaged windows.
        peaks: of the device.
        options: what the user says.
        choice: the FLOP of a step.
        unprofiled: steps of a live run, on which MFU and HFU then rest.
        clock: at which a live run really ran.

    """
    seen = _main_precision(timeline, ran)
    by_precision = _executed_in(choice, seen)
    precision = options.precision or _main_of(by_precision) or seen
    known = _known(peaks, options, choice, precision, timeline)
    if known.because is not None or choice.flop is None or known.peak_flop_per_s is None:
        return known
    stretch = unprofiled.stretch if unprofiled is not None else 1.0
    given_kinds = () if choice.basis == "shapes" else FLOP_KINDS
    counted = by_precision if choice.basis == "counted" else None
    split = compute_split(ran, choice.flop, known.peaks, known.peak_flop_per_s, given_kinds, counted)
    reached = max(split.hfu * stretch, split.useful / split.busy if split.busy > 0 else 0.0)
    if reached > 1 and _is_measured(known, peaks):
        known = _raised(known, reached)
        rate = known.peak_flop_per_s or 0.0
        split = compute_split(ran, choice.flop, known.peaks, rate, given_kinds, counted)
    if split.hfu * stretch > 1:
        return _impossible(known, split.mfu * stretch, split.hfu * stretch)
    if clock is not None and clock.clock_hz is not None and known.clock_hz is not None:
        split = with_clocks(split, known.clock_hz, clock.clock_hz)
    knows_all = choice.basis == "counted" or ran.flop.hardware > 0
    hfu = split.hfu * stretch if knows_all else None
    return replace(known, mfu=split.mfu * stretch, hfu=hfu, split=split)


def bare_utilization(
    timeline: Timeline,
    peaks: DevicePeaks,
    options: Options,
    choice: FlopChoice,
    unprofiled: Unprofiled | None,
) -> Utilization:
    """The same of a live run whose trace has no breakdown: only the step time is known."""
    precision = options.precision or _main_of(_executed_in(choice, None))
    known = _known(peaks, options, choice, precision, timeline)
    if known.because is not None or choice.flop is None or known.peak_flop_per_s is None:
        return known
    if unprofiled is None:
        return replace(known, because="no whole step was timed, so MFU is unknown.")
    reached = choice.flop.hardware / unprofiled.step_s / known.peak_flop_per_s
    if reached > 1 and _is_measured(known, peaks):
        known = _raised(known, reached)
    whole = unprofiled.step_s * (known.peak_flop_per_s or 1.0)
    mfu, hfu = choice.flop.model / whole, choice.flop.hardware / whole
    if hfu > 1:
        return _impossible(known, mfu, hfu)
    return replace(known, mfu=mfu, hfu=hfu if choice.basis == "counted" else None)


def _known(
    peaks: DevicePeaks, options: Options, choice: FlopChoice, precision: Precision | None, timeline: Timeline
) -> Utilization:
    """What holds before FLOP, time and peak are joined, or why they cannot be."""
    peak, source, detail = _reference_peak(peaks, options, precision)
    own_peaks = _own_peaks(peaks.flop_per_s, precision, peak)
    clock_hz = peaks.clock_hz(precision) if source == "datasheet" else None
    known = Utilization(choice, precision, peak, source, detail, clock_hz, peaks=own_peaks)
    if choice.flop is None:
        because, hints = _no_flop(timeline)
        return replace(known, because=because, hints=hints)
    if peak is None:
        because, hints = _no_peak(peaks, precision)
        return replace(known, because=because, hints=hints)
    return known


def _is_measured(known: Utilization, peaks: DevicePeaks) -> bool:
    return peaks.is_measured and known.peak_source == "measured"


def _raised(known: Utilization, reached: float) -> Utilization:
    """Measured peaks raised to the best rate seen: they are a benchmark's, and the run itself did better."""
    factor = reached * (1 + _ROUNDING)
    measured = known.peak_flop_per_s or 0.0
    said = f"raised from {flop_rate_text(measured)}, which this run exceeded"
    return replace(
        known,
        peak_flop_per_s=measured * factor,
        peak_detail=f"{known.peak_detail}; {said}" if known.peak_detail else said,
        peaks={name: rate * factor for name, rate in known.peaks.items()},
    )


def _executed_in(choice: FlopChoice, seen: Precision | None) -> dict[str, float]:
    """FLOP by precision as counted live. Operands in fp32 may run in TF32, which only kernels tell."""
    result: dict[str, float] = {}
    for name, flop in choice.by_precision.items():
        ran_in = "tf32" if name == "fp32" and seen == "tf32" else name
        result[ran_in] = result.get(ran_in, 0.0) + flop
    return result


def _main_of(totals: Mapping[str, float]) -> Precision | None:
    best = max(totals, key=lambda name: totals[name]) if totals else None
    return next((known for known in PRECISIONS if known == best), None)


def _main_precision(timeline: Timeline, ran: Executed) -> Precision | None:
    """The precision of most FLOP; without FLOP, that of most time of kernels that name theirs."""
    work, costs, item = ran.work, ran.costs, ran.item
    totals: dict[str, float] = {}
    in_window = np.bincount(
        item.cost[item.has_flop], weights=work.share_ns[item.has_flop] > 0, minlength=len(costs.op)
    )
    for name, flop, is_inside in zip(
        ran.precisions, costs.executed_flop.tolist(), in_window.tolist(), strict=True
    ):
        if name is not None and is_inside:
            totals[name] = totals.get(name, 0.0) + flop
    if not any(totals.values()):
        rows = np.flatnonzero(np.isin(work.kind, FLOP_KINDS) & (work.share_ns > 0))
        for name_id, share in zip(work.name[rows].tolist(), work.share_ns[rows].tolist(), strict=True):
            said = kernel_precision(timeline.names[name_id])
            if said is not None:
                totals[said] = totals.get(said, 0.0) + share
    return _main_of(totals)


def _reference_peak(
    peaks: DevicePeaks, options: Options, precision: Precision | None
) -> tuple[float | None, str | None, str | None]:
    """(FLOP/s, source, detail)."""
    if options.peak_flop_per_s is not None:
        return options.peak_flop_per_s, "given", None
    peak = peaks.flop_per_s.get(precision) if precision is not None else None
    if peak is None or peaks.source is None:
        return None, None, None
    source, _, detail = peaks.source.replace(": ", ", ").replace(" (", ", ", 1).partition(", ")
    if detail.endswith(")") and "(" not in detail:
        detail = detail[:-1]
    return peak, source, detail or None


def _own_peaks(
    known: Mapping[Precision, float], reference: Precision | None, peak: float | None
) -> dict[str, float]:
    """Peaks by precision, the reference one as used for MFU."""
    own = {str(precision): rate for precision, rate in known.items()}
    if reference is not None and peak is not None:
        own[reference] = peak
    return own


def _impossible(known: Utilization, mfu: float, hfu: float) -> Utilization:
    peak = "unknown" if known.peak_flop_per_s is None else flop_rate_text(known.peak_flop_per_s)
    return replace(
        known,
        is_impossible=True,
        because=f"it would be {percent_text(mfu)} (HFU {percent_text(hfu)}), over 100 %:"
        " the peak or the FLOP are wrong.",
        hints=(
            f"the peak is {peak} ({known.peak_source}); give another:  --peak-tflops X",
            f"the FLOP are {known.flop_source}; give them:  --flop-per-step X",
        ),
    )


def _no_flop(timeline: Timeline) -> tuple[str, tuple[str, ...]]:
    give = "or give the model FLOP of a step:  report trace.json --flop-per-step X"
    if timeline.live is not None:
        counted = timeline.live.flop
        because = counted.because if counted is not None and counted.because else "no matrix product was seen"
        return f"the FLOP of a step are unknown: {because.rstrip('.')}.", (give.removeprefix("or "),)
    if not timeline.facts.recorded_shapes:
        return (
            "the trace has no shapes, so FLOP are unknown.",
            ("record it again:  torch.profiler.profile(record_shapes=True)", give),
        )
    return ("no op in the steps has known FLOP (no matrix product, or its kernels belong to no op).", (give,))


def _no_peak(peaks: DevicePeaks, precision: Precision | None) -> tuple[str, tuple[str, ...]]:
    if peaks.because is not None:
        return peaks.because, peaks.hints
    if precision is None:
        return (
            "the precision of the matrix products is unknown, so no peak can be chosen.",
            ("give it:  report trace.json --precision bf16",),
        )
    known = ", ".join(peaks.flop_per_s)
    return (
        f"no {precision} peak is known for {peaks.name} (known: {known}).",
        ("give it:  report trace.json --peak-tflops X",),
    )
