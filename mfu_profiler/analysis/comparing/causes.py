"""The rows of two waterfalls beside each other: what each cause holds of both steps."""

from __future__ import annotations

from math import fsum

from mfu_profiler.analysis.comparing.comparison import REST, CauseChange
from mfu_profiler.analysis.report import PARTS, Report

__all__ = ["cause_changes", "causes_unknown_because", "largest_loss"]

_OF_COMPUTE = frozenset(
    {
        "mfu",
        "recomputation",
        "optimizer_matmul",
        "precision",
        "clocks",
        "matmul_inefficiency",
        "uncounted_kernels",
        "other_kernels",
    }
)
"""What the row ``compute`` is split into where MFU is known."""
_EXACT_FRACTION = 1e-9
"""Of a step: what its rows leave is rounding up to here, and a row of its own beyond."""


def cause_changes(report_a: Report, report_b: Report) -> tuple[CauseChange, ...]:
    """Every cause that holds something in one of the two, the largest change first; none where unknown.

    Where only one of the two splits its compute time, that of the other is put together, too.
    """
    step_a_s, step_b_s = report_a.step_time_s, report_b.step_time_s
    if causes_unknown_because(report_a, report_b) is not None or step_a_s is None or step_b_s is None:
        return ()
    times_a, times_b = _times_s(report_a), _times_s(report_b)
    if ("compute" in times_a) != ("compute" in times_b):
        times_a, times_b = _whole_compute(times_a), _whole_compute(times_b)
    times_a, times_b = _with_rest(times_a, step_a_s), _with_rest(times_b, step_b_s)
    rows = []
    for cause in dict.fromkeys((*times_a, *times_b)):
        a_s, b_s = times_a.get(cause, 0.0), times_b.get(cause, 0.0)
        if a_s or b_s:
            fraction_a, fraction_b = (
                a_s / step_a_s if step_a_s else None,
                b_s / step_b_s if step_b_s else None,
            )
            rows.append(CauseChange(cause, a_s, b_s, b_s - a_s, fraction_a, fraction_b))
    return tuple(sorted(rows, key=lambda row: -abs(row.change_s)))


def causes_unknown_because(report_a: Report, report_b: Report) -> str | None:
    """Why causes do not compare; None where they do."""
    for name, report in (("A", report_a), ("B", report_b)):
        if report.step_time_s is None:
            return f"{name} has no step time"
        if not _times_s(report):
            because = report.partition_unknown_because or "its report has no waterfall"
            return f"the time of {name}'s step is not split: {because}"
    return None


def largest_loss(report: Report) -> tuple[str | None, float | None]:
    """The cause that takes most of the step, and how much; None where the time is not split."""
    step_s = report.step_time_s
    losses = {cause: time_s for cause, time_s in _times_s(report).items() if cause not in ("mfu", "compute")}
    if not losses or not step_s:
        return None, None
    cause = max(losses, key=lambda one: losses[one])
    return (cause, losses[cause] / step_s) if losses[cause] > 0 else (None, None)


def _times_s(report: Report) -> dict[str, float]:
    """Time per step by cause, of the waterfall or else of the partition."""
    step_s = report.step_time_s
    if step_s is None:
        return {}
    times: dict[str, float] = {}
    for row in report.waterfall:
        if row.cause != "peak":
            time_s = row.fraction * step_s if row.time_s is None else row.time_s
            times[row.cause] = times.get(row.cause, 0.0) + time_s
    if times or report.partition is None:
        return times
    return {part: getattr(report.partition, part) * step_s for part in PARTS}


def _whole_compute(times_s: dict[str, float]) -> dict[str, float]:
    """The same with all that is part of the compute time in the row ``compute``."""
    kept = {cause: time_s for cause, time_s in times_s.items() if cause not in _OF_COMPUTE | {"compute"}}
    whole = fsum(time_s for cause, time_s in times_s.items() if cause in _OF_COMPUTE | {"compute"})
    return {"compute": whole, **kept}


def _with_rest(times_s: dict[str, float], step_s: float) -> dict[str, float]:
    """The same and what is left of the step, which is nothing in a report that nobody has changed."""
    rest_s = step_s - fsum(times_s.values())
    return times_s if abs(rest_s) <= _EXACT_FRACTION * abs(step_s) else {**times_s, REST: rest_s}
