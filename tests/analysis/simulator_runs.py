"""Simulated programs through the product: their traces on disk, read and reported on as any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import mfu_profiler
from mfu_profiler import Report
from mfu_profiler.analysis.replay.what_ifs import WhatIfs
from mfu_profiler.flops import has_formula
from mfu_profiler.trace.reader import read_trace

from .simulator import REMOVALS, Launch, Removed, Step, period_ns, recorded, without
from .simulator_programs import random_step
from .simulator_trace import PEAK_FLOP_PER_NS, product_side, write_simulated
from .simulator_truth import HELD_BY, shares
from .test_what_ifs import what_ifs


@dataclass(frozen=True)
class Simulated:
    """One program: what the product says of its trace, and what is true of it."""

    step: Step
    report: Report
    what_ifs: WhatIfs
    shares: Mapping[str, float]
    """The truth of the partition, over the windows that the report averages."""
    mfu: float
    """The truth: FLOP of the program's matrix products over what the device could do in that time."""

    @cached_property
    def period_ns(self) -> float:
        """The truth of the step time."""
        return period_ns(self.step)

    @cached_property
    def periods_ns(self) -> Mapping[Removed, float]:
        """The truth of each what-if."""
        return MappingProxyType({cause: period_ns(without(self.step, cause)) for cause in REMOVALS})

    @cached_property
    def worths(self) -> Mapping[str, float]:
        """What the fix of a finding truly gives back, of the step; at most the time that its cause holds."""
        return MappingProxyType(
            {
                code: min(self.shares.get(part, 0.0), 1 - self.periods_ns[cause] / self.period_ns)
                for code, (part, cause) in HELD_BY.items()
            }
        )

    @property
    def predicted(self) -> dict[str, float]:
        """Ns of a step after the fix of each finding that tells it, best first."""
        return {
            finding.code: finding.step_time_after_s * 1e9
            for finding in self.report.findings
            if finding.step_time_after_s is not None and finding.code in HELD_BY
        }


def simulated(step: Step) -> Simulated:
    """Run a program, and let the product report on its trace."""
    log = recorded(step)
    with TemporaryDirectory() as folder:
        path = write_simulated(log, Path(folder))
        report = mfu_profiler.analyze(path)
        (timeline,) = read_trace(path, keeps_concrete=has_formula)
    averaged = [int(window.label.split("#")[1]) for window in report.windows if window.role == "averaged"]
    return Simulated(step, report, what_ifs(timeline), shares(log, averaged), _mfu(step))


def _mfu(step: Step) -> float:
    products = [one.ns for one in step if isinstance(one, Launch) and one.work == "matmul"]
    return sum(2 * product_side(ns) ** 3 for ns in products) / (PEAK_FLOP_PER_NS * period_ns(step))


@cache
def simulated_at_random(seed: int) -> Simulated:
    """A random program; several tests ask for the same."""
    return simulated(random_step(seed))
