"""Runs to compare: a report with the step time and the spread that a test asks for."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

from mfu_profiler.analysis.comparing.compare import comparison
from mfu_profiler.analysis.comparing.comparison import Comparison, PairComparison
from mfu_profiler.analysis.report import Report
from tests.render.sample import resnet, waterfall

__all__ = ["found_of", "live", "pair", "ranks_of", "rows", "run"]


def run(step_s: float | None, *, deviation_s: float | None = None, count: int = 5, **about: Any) -> Report:
    """A run of ``count`` steps whose sample standard deviation is ``deviation_s``."""
    spread = None
    if step_s is not None and deviation_s is not None:
        spread = deviation_s / step_s * sqrt((count - 1) / count)
    sample = resnet()
    steps = replace(sample.steps, count=count, spread_fraction=spread)
    return replace(sample, step_time_s=step_s, steps=steps, **about)


def live(report: Report, count: int, kind: str) -> Report:
    """The same with the spread as that of ``count`` unprofiled steps."""
    source = f"{kind} of {count} unprofiled steps; breakdown from 5 profiled"
    return replace(report, steps=replace(report.steps, count=5, unprofiled_count=count, source=source))


def pair(a: Report, b: Report) -> PairComparison:
    return comparison([("a.json", [a]), ("b.json", [b])]).pairs[0]


def ranks_of(*numbers: int) -> list[Report]:
    sample = resnet()
    return [replace(sample, trace=replace(sample.trace, rank=number)) for number in numbers]


def found_of(*runs: Report) -> Comparison:
    return comparison([(f"{number}.json", [one]) for number, one in enumerate(runs)])


def rows(step_s: float, deviation_s: float | None = 0.0, **parts: float) -> Report:
    """A run of five steps whose waterfall holds these fractions."""
    split = waterfall(step_s, {cause: (part, "") for cause, part in parts.items()})
    return run(step_s, deviation_s=deviation_s, waterfall=split)
