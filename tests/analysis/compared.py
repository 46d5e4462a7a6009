"""Runs to compare: a report with the step time and the spread that a test asks for."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

from mfu_profiler.analysis.compare import comparison
from mfu_profiler.analysis.comparison import PairComparison
from mfu_profiler.analysis.report import Report
from tests.render.sample import resnet

__all__ = ["live", "pair", "ranks_of", "run"]


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
