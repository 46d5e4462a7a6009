"""What first, and on what evidence: the findings and the largest kernels."""

from __future__ import annotations

from collections.abc import Sequence

from mfu_profiler.analysis.report import Finding, KernelRow, Report
from mfu_profiler.render.causes import ENDS, cause_words
from mfu_profiler.render.names import short_name, shown_text
from mfu_profiler.render.page import Fix, KernelLine
from mfu_profiler.units import count_text, flop_rate_column, percent_text, time_text

__all__ = ["fixes", "fixes_ladder", "fixes_note", "kernel_lines"]

_NOTABLE_FRACTION = 0.10
"""A larger cause without a finding is named, so that nobody looks for it."""
_CODES = {
    "idle_data_loading": "data_loading",
    "idle_synchronization": "synchronization",
    "idle_host": "host_bound",
    "idle_launch": "launch",
    "matmul_inefficiency": "matmul",
}
"""Cause of a loss -> code of its finding, where they differ."""


def fixes(report: Report) -> tuple[Fix, ...]:
    """The findings in the report's order, which is their rank."""
    return tuple(
        Fix(
            title=shown_text(finding.title),
            share=percent_text(finding.share_fraction),
            gain=_gain(report, finding),
            evidence=tuple(shown_text(line) for line in finding.evidence),
            advice=tuple(shown_text(line) for line in finding.advice),
        )
        for finding in report.findings
    )


def _gain(report: Report, finding: Finding) -> str:
    """``at best, alone: step 176 ms → 119 ms, MFU 28.1 % → 41.6 %``."""
    if finding.step_time_after_s is None or report.step_time_s is None:
        return ""
    text = f"at best, alone: step {time_text(report.step_time_s)} → {time_text(finding.step_time_after_s)}"
    if report.mfu is None or finding.mfu_after is None:
        return text
    return f"{text}, MFU {percent_text(report.mfu)} → {percent_text(finding.mfu_after)}"


def fixes_ladder(report: Report) -> str:
    """``at best, 1 then 3: step 176 ms → 119 ms → 103 ms, MFU 28.2 % → 41.7 % → 48.0 %``; none for one."""
    if len(report.ladder) < 2 or report.step_time_s is None:
        return ""
    number = {finding.code: index for index, finding in enumerate(report.findings, start=1)}
    order = " then ".join(str(number[rung.code]) for rung in report.ladder)
    times = [report.step_time_s, *(rung.step_time_after_s for rung in report.ladder)]
    mfus = [report.mfu, *(rung.mfu_after for rung in report.ladder)]
    known = [percent_text(mfu) for mfu in mfus if mfu is not None]
    text = f"at best, {order}: step {' → '.join(map(time_text, times))}"
    return f"{text}, MFU {' → '.join(known)}" if len(known) == len(mfus) else text


def fixes_note(report: Report) -> str:
    """Large causes without a finding, or that nothing stands out; nothing where the times are unknown."""
    if report.partition is None:
        return ""
    named = {finding.code for finding in report.findings}
    silent = [
        f"{cause_words(row.cause)[0]} ({percent_text(row.fraction)})"
        for row in report.waterfall
        if row.cause not in (*ENDS, "compute", "profiler")
        and row.fraction >= _NOTABLE_FRACTION
        and _CODES.get(row.cause, row.cause) not in named
    ]
    if silent:
        return f"no change follows from what the trace shows of: {', '.join(silent)}"
    return "" if report.findings else "nothing stands out: no single cause takes enough of the step"


def kernel_lines(kernels: Sequence[KernelRow], top: int) -> tuple[str, tuple[KernelLine, ...]]:
    """The unit of the rate column, and the ``top`` kernels by device time."""
    largest = sorted(kernels, key=lambda row: -row.time_s)[:top]
    unit, rates = flop_rate_column([row.achieved_flop_per_s for row in largest])
    return unit, tuple(_kernel_line(row, rate) for row, rate in zip(largest, rates, strict=True))


def _kernel_line(row: KernelRow, rate: str | None) -> KernelLine:
    without = "-" if row.flop == 0 else "unknown"
    return KernelLine(
        name=short_name(row.name) or "(no name)",
        origin=_origin(row),
        kind=shown_text(row.kind, 14),
        calls=count_text(row.count),
        time=time_text(row.time_s),
        rate=without if rate is None or row.flop == 0 else rate,
        of_peak=without if row.peak_fraction is None or row.flop == 0 else percent_text(row.peak_fraction),
    )


def _origin(row: KernelRow) -> str:
    if row.location is None:
        return ""
    op = f"{row.op} " if row.op else ""
    return shown_text(f"{op}at {row.location}", 200)
