"""How long a step of a report took, and what that rests on."""

from __future__ import annotations

from dataclasses import dataclass

from mfu_profiler.analysis.report import Report
from mfu_profiler.analysis.step_lengths import is_mean, typical

__all__ = ["StepTime", "step_time"]


@dataclass(frozen=True, slots=True)
class StepTime:
    """How long a step of one run took."""

    typical_s: float | None
    """Median of its steps; the mean where they alternate, and whatever ``basis`` says of a live run."""
    basis: str
    """What that is, e.g. ``median of 4 steps``."""
    reported_s: float | None
    """Step time in the run's report: the mean of its steps, which the predictions start from; of a live run
    the same as ``typical_s``."""
    spread_fraction: float | None
    """Standard deviation over mean of these steps; None for a single one."""
    fastest_s: float | None
    slowest_s: float | None
    count: int


def step_time(report: Report) -> StepTime:
    """The typical step, by the same rule for a trace as ``track`` has for unprofiled steps."""
    steps, reported_s = report.steps, report.step_time_s
    lengths = [
        window.duration_ns
        for window in report.windows
        if window.role == "averaged" and window.duration_ns > 0
    ]
    typical_s, count = reported_s, steps.count
    if steps.unprofiled_count is not None:
        count, basis = steps.unprofiled_count, steps.source.partition(";")[0]
    elif len(lengths) > 1:
        typical_s = typical(lengths) / 1e9
        basis = f"{'mean' if is_mean(lengths) else 'median'} of {len(lengths)} steps"
    else:
        basis = "one step" if count == 1 else f"mean of {count} steps"
    return StepTime(
        typical_s, basis, reported_s, steps.spread_fraction, steps.fastest_s, steps.slowest_s, count
    )
