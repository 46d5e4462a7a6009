"""What first, and on what evidence: the findings and the largest kernels."""

from __future__ import annotations

from collections.abc import Sequence

from mfu_profiler.analysis.report import Finding, KernelRow, Report
from mfu_profiler.render.causes import ENDS, cause_words
from mfu_profiler.render.names import short_name, shown_text
from mfu_profiler.render.page import Fact, Fix, KernelLine
from mfu_profiler.units import count_text, flop_rate_column, mfu_percent_text, percent_text, time_text

__all__ = ["fixes", "fixes_ladder", "fixes_note", "kernel_lines", "numeric_options"]

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
_SAME = {
    "host_bound": "launch",
    "alignment": "matmul",
    "layout": "matmul",
    "optimizer": "other_kernels",
    "attention": "other_kernels",
    "reading_back": "other_kernels",
} | dict.fromkeys(
    ("garbage_collection", "allocator", "compilation", "host_stall", "outside_the_model"), "host_bound"
)
"""Code of a finding -> that of the loss which it explains as well."""
_CERTAINTY = {"high": "at best, alone", "medium": "at best, alone, an estimate", "low": "at best, alone"}
_MORE = 1.25
"""A fix that gives back so many times its cause's share also hides what stood behind it."""
_COMPUTE_BOUND = 0.85
"""Of the step in kernels: the rest is less than what one fix gives in other runs."""


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
    times = f"{time_text(report.step_time_s)} → {time_text(finding.step_time_after_s)}"
    text = f"{_CERTAINTY[finding.confidence]}: step {times}"
    if report.mfu is not None and finding.mfu_after is not None:
        text += f", MFU {mfu_percent_text(report.mfu)} → {mfu_percent_text(finding.mfu_after)}"
    recovered = (finding.recovered_s or 0.0) / report.step_time_s
    return f"{text}; it hides other waits too" if recovered > _MORE * finding.share_fraction else text


def fixes_ladder(report: Report) -> str:
    """``one after the other, at best: now 176 ms (28.2 %) → with 1: 119 ms (41.7 %) → and 2: ...``."""
    number = {finding.code: index for index, finding in enumerate(report.findings, start=1)}
    if (
        len(report.ladder) < 2
        or report.step_time_s is None
        or {rung.code for rung in report.ladder} - {*number}
    ):
        return ""
    rungs = [f"now {_state(report.step_time_s, report.mfu)}"]
    for place, rung in enumerate(report.ladder):
        state = _state(rung.step_time_after_s, rung.mfu_after)
        rungs.append(f"{'and' if place else 'with'} {number[rung.code]}: {state}")
    return f"one after the other, at best: {' → '.join(rungs)}"


def _state(step_time_s: float, mfu: float | None) -> str:
    """A step time, and the MFU that it is."""
    return time_text(step_time_s) + ("" if mfu is None else f" ({mfu_percent_text(mfu)})")


def fixes_note(report: Report) -> str:
    """Why there are no findings, large causes without one, or that shares rank; nothing without times."""
    if report.partition is None:
        return ""
    named = {finding.code for finding in report.findings}
    named |= {_SAME.get(code, code) for code in named}
    silent = [
        f"{cause_words(row.cause)[0]} ({percent_text(row.fraction)})"
        for row in report.waterfall
        if row.cause not in (*ENDS, "compute", "profiler")
        and row.fraction >= _NOTABLE_FRACTION
        and _CODES.get(row.cause, row.cause) not in named
    ]
    notes = [] if report.findings else [f"no finding: {_healthy(report)}"]
    if silent:
        notes.append(
            f"no change worth 3 % of the step follows from what the trace shows of: {', '.join(silent)}"
        )
    if report.replay is not None and not report.replay.usable:
        notes.append("a replay does not reproduce these steps, so findings are ranked by share")
    return "; ".join(notes)


def _healthy(report: Report) -> str:
    """``compute-bound: kernels run 91 % of the step, matrix products at 62 % of their peak``."""
    compute = report.partition.compute if report.partition is not None else 0.0
    rows = [row for row in report.kernels if row.ideal_time_s is not None]
    ideal_s, time_s = sum(row.ideal_time_s or 0.0 for row in rows), sum(row.time_s for row in rows)
    rate = f", matrix products at {percent_text(ideal_s / time_s, 0)} of their peak" if time_s else ""
    runs = f"kernels run {percent_text(compute, 0)} of the step{rate}"
    return (
        f"compute-bound, {runs}"
        if compute >= _COMPUTE_BOUND
        else f"no fix gives back 3 % of the step; {runs}"
    )


def numeric_options(report: Report) -> tuple[Fact, ...]:
    """Precisions that the run does not use."""
    if report.step_time_s is None:
        return ()
    now, found = time_text(report.step_time_s), []
    for option in report.options:
        gain = f"at best: step {now} → {time_text(option.step_time_after_s)}"
        found.append(Fact(option.code, (gain, f"→ {shown_text(option.advice)}")))
    return tuple(found)


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
