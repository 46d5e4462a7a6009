"""MFU and HFU, or the reason why they are unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from mfu_profiler.analysis.compute_split import ComputeSplit, compute_split
from mfu_profiler.analysis.efficiency import Executed, StepFlop
from mfu_profiler.analysis.options import Options
from mfu_profiler.analysis.peak import DevicePeaks
from mfu_profiler.hardware import PRECISIONS, Precision
from mfu_profiler.trace.kernel_kinds import KERNEL_KINDS
from mfu_profiler.trace.kernel_precision import kernel_precision
from mfu_profiler.trace.timeline import Timeline
from mfu_profiler.units import flop_rate_text, percent_text

__all__ = ["Utilization", "utilization"]

FLOP_KINDS = tuple(KERNEL_KINDS.index(kind) for kind in ("matmul", "attention", "convolution"))


@dataclass(frozen=True, slots=True)
class Utilization:
    """The headline numbers of a report and what they rest on."""

    flop: StepFlop | None
    """None where no FLOP are known."""
    flop_source: str | None
    precision: Precision | None
    """Reference precision."""
    peak_flop_per_s: float | None
    peak_source: str | None
    peak_detail: str | None
    mfu: float | None = None
    hfu: float | None = None
    because: str | None = None
    """Why MFU is unknown; None where it is known."""
    hints: tuple[str, ...] = ()
    split: ComputeSplit | None = None
    peaks: Mapping[str, float] = field(default_factory=dict)
    """Peaks by precision, the reference one as MFU uses it."""
    is_impossible: bool = False
    """The MFU would be over 100 %: the peak or the FLOP are wrong."""


def utilization(timeline: Timeline, ran: Executed, peaks: DevicePeaks, options: Options) -> Utilization:
    """Join FLOP, time and peak."""
    has_shapes = ran.flop.hardware > 0
    flop = ran.flop if has_shapes else None
    source = "shapes in the trace" if has_shapes else None
    if options.flop_per_step is not None:
        flop, source = replace(ran.flop, model=options.flop_per_step), "given"
    precision = options.precision or _main_precision(timeline, ran)
    peak, peak_source, detail = _reference_peak(peaks, options, precision)
    own_peaks = _own_peaks(peaks.flop_per_s, precision, peak)
    known = Utilization(flop, source, precision, peak, peak_source, detail, peaks=own_peaks)
    if flop is None:
        because, hints = _no_flop(timeline)
        return replace(known, because=because, hints=hints)
    if peak is None:
        because, hints = _no_peak(peaks, precision)
        return replace(known, because=because, hints=hints)
    given_kinds = FLOP_KINDS if options.flop_per_step is not None else ()
    split = compute_split(ran, flop, own_peaks, peak, given_kinds)
    if split.hfu > 1:
        because, hints = _impossible(known, split)
        return replace(known, because=because, hints=hints, is_impossible=True)
    return replace(known, mfu=split.mfu, hfu=split.hfu if has_shapes else None, split=split)


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
    best = max(totals, key=lambda name: totals[name]) if totals else None
    return next((known for known in PRECISIONS if known == best), None)


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


def _impossible(known: Utilization, split: ComputeSplit) -> tuple[str, tuple[str, ...]]:
    peak = "unknown" if known.peak_flop_per_s is None else flop_rate_text(known.peak_flop_per_s)
    return (
        f"it would be {percent_text(split.mfu)} (HFU {percent_text(split.hfu)}), over 100 %:"
        " the peak or the FLOP are wrong.",
        (
            f"the peak is {peak} ({known.peak_source}); give another:  --peak-tflops X",
            f"the FLOP are {known.flop_source}; give them:  --flop-per-step X",
        ),
    )


def _no_flop(timeline: Timeline) -> tuple[str, tuple[str, ...]]:
    give = "or give the model FLOP of a step:  report trace.json --flop-per-step X"
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
