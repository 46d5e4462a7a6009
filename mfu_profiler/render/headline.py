"""The first lines of a page: how much, of what, and how far to trust it."""

from __future__ import annotations

from mfu_profiler.analysis.report import FlopInfo, Report
from mfu_profiler.render.names import shown_text
from mfu_profiler.render.page import Fact
from mfu_profiler.units import (
    flop_rate_column,
    flop_rate_text,
    mfu_percent_text,
    percent_text,
    points_text,
    time_text,
)

__all__ = ["headline", "is_lower_bound", "mfu_text"]

ROUGH_FRACTION = 0.1
"""A row ``profiler`` of this share of the step, either way, makes the others rough."""
LOW_COVERAGE_FRACTION = 0.9
"""Below this share of compute time with known FLOP, an MFU is a lower bound and reads as one."""


def headline(report: Report) -> tuple[Fact, ...]:
    """MFU, HFU, step time, scale, and whatever casts doubt on them."""
    facts = [_mfu(report), _hfu(report), _step(report), _scale(report), *_cautions(report)]
    return tuple(fact for fact in facts if fact is not None)


def mfu_text(report: Report) -> str:
    """``28.1 %``, ``at least 28.1 %`` where many FLOP are unknown, or ``unknown``."""
    if report.mfu is None:
        return "unknown"
    return f"{'at least ' if is_lower_bound(report) else ''}{mfu_percent_text(report.mfu)}"


def is_lower_bound(report: Report) -> bool:
    """Whether so many FLOP are unknown that the true MFU may be well above the one found.

    FLOP that a live run counted are all of them, whatever the kernels in the trace tell.
    """
    return report.flop.basis != "counted" and _is_low(report.flop)


def _mfu(report: Report) -> Fact:
    label = f"MFU {mfu_text(report)}"
    if report.mfu is None:
        because = report.mfu_unknown_because or "the report does not say why"
        lines = [because, *report.mfu_unknown_hints, *_rate_without_peak(report)]
        return Fact(label, tuple(shown_text(line) for line in lines), alarm=True)
    lines = [_of_peak(report, report.mfu), _coverage(report.flop)]
    return Fact(label, tuple(line for line in lines if line))


def _of_peak(report: Report, fraction: float) -> str:
    device = report.device
    if device.peak_flop_per_s is None:
        return ""
    unit, (achieved, peak) = flop_rate_column([fraction * device.peak_flop_per_s, device.peak_flop_per_s])
    about = [shown_text(part, 60) for part in (device.name, device.precision, device.peak_source) if part]
    return " · ".join([f"{achieved} of {peak} {unit}", *about])


def _rate_without_peak(report: Report) -> list[str]:
    """What was achieved is known even where there is no peak to hold it against."""
    if report.flop.model_per_step is None or not report.step_time_s:
        return []
    rate = flop_rate_text(report.flop.model_per_step / report.step_time_s)
    return [f"achieved: {rate} of model FLOP", *filter(None, [_coverage(report.flop)])]


def _coverage(flop: FlopInfo) -> str:
    if flop.coverage_fraction is None:
        return f"FLOP: {shown_text(flop.source)}" if flop.source else ""
    share = f"{percent_text(flop.coverage_fraction)} of compute-kernel time"
    if flop.basis == "counted":
        return f"FLOP {shown_text(flop.source or 'counted', 100)}; shapes tell them for {share}"
    known = f"FLOP known for {share}"
    return f"{known}; the true MFU may be higher" if _is_low(flop) else known


def _is_low(flop: FlopInfo) -> bool:
    return flop.coverage_fraction is not None and flop.coverage_fraction < LOW_COVERAGE_FRACTION


def _hfu(report: Report) -> Fact | None:
    if report.hfu is None:
        return None
    least = "at least " if is_lower_bound(report) else ""
    return Fact(f"HFU {least}{mfu_percent_text(report.hfu)}", (_executed_twice(report, report.hfu),))


def _executed_twice(report: Report, hfu: float) -> str:
    """What HFU counts and MFU does not."""
    flop = report.flop
    parts = (("recomputation", flop.recomputed_per_step), ("optimizer matmuls", flop.optimizer_per_step))
    hardware = flop.hardware_per_step
    extra = [f"{what} ({points_text(hfu * part / hardware)})" for what, part in parts if part and hardware]
    if extra:
        return f"adds {', '.join(extra)}"
    return "the same: no recomputation, no optimizer matmuls" if hfu == report.mfu else "all FLOP executed"


def _step(report: Report) -> Fact:
    if report.step_time_s is None:
        return Fact("step unknown", ("no step window in the trace",))
    steps, spread = report.steps, report.steps.spread_fraction
    count = steps.count if steps.unprofiled_count is None else steps.unprofiled_count
    of_kind = "steps" if steps.unprofiled_count is None else "unprofiled steps"
    over = f"over {count} {of_kind}" if count != 1 else "one step: no spread"
    said = [over if spread is None else f"± {percent_text(spread)} {over}"]
    if report.partition is not None:
        whole = "it" if steps.profiled_step_time_s is None else "a profiled one"
        said.append(f"compute kernels run {percent_text(report.partition.compute)} of {whole}")
    return Fact(f"step {time_text(report.step_time_s)}", ("; ".join(said),))


def _scale(report: Report) -> Fact | None:
    if report.scale is None:
        return None
    return Fact("scale", (shown_text(report.scale.text),))


def _cautions(report: Report) -> list[Fact]:
    lines = [f"check failed: {shown_text(check.name)}" for check in report.checks if not check.ok]
    if report.trace.truncated:
        because = report.trace.truncated_because or "it ends early"
        lines.append(f"the trace is truncated, only its part before the cut is seen: {shown_text(because)}")
    lines += _rough_breakdown(report)
    return [Fact("caution", tuple(lines), alarm=True)] if lines else []


def _rough_breakdown(report: Report) -> list[str]:
    """Where profiled steps differ from the others by more than the host's part in them explains."""
    profiled_s, step_s = report.steps.profiled_step_time_s, report.step_time_s
    unexplained = sum(row.fraction for row in report.waterfall if row.cause == "profiler")
    if profiled_s is None or step_s is None or abs(unexplained) < ROUGH_FRACTION:
        return []
    return [
        f"the breakdown is rough: a step takes {time_text(step_s)}, a profiled one {time_text(profiled_s)}"
    ]
