"""What findings are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mfu_profiler.analysis.clocks import ClockReading
from mfu_profiler.analysis.findings.evidence import Evidence
from mfu_profiler.analysis.fixes.reliefs import Fixes
from mfu_profiler.analysis.replay.predictions import Predictions
from mfu_profiler.analysis.replay.relief import Cause
from mfu_profiler.analysis.report import HostIdle, KernelRow, WaterfallRow
from mfu_profiler.kernel_names import short_kernel_name
from mfu_profiler.units import count_text, percent_text, time_text

__all__ = ["FindingInputs"]

LONGEST_NAME = 44


@dataclass(frozen=True, slots=True)
class FindingInputs:
    """Of one report."""

    waterfall: tuple[WaterfallRow, ...]
    host_idle: tuple[HostIdle, ...]
    kernels: tuple[KernelRow, ...]
    """Longest first."""
    evidence: Evidence
    fixes: Fixes
    stretch: float = 1.0
    """Turns shares of a profiled step into those of the step that the report is of."""
    predictions: Predictions | None = None
    """None where the replay is not usable."""
    clock: ClockReading | None = None

    def share(self, cause: str) -> float:
        """A row of the waterfall; 0 where it is absent."""
        return sum(row.fraction for row in self.waterfall if row.cause == cause)

    def held(self, cause: Cause) -> float:
        """What a fix is about, of the step."""
        return min(1.0, self.fixes.held(cause) * self.stretch)

    def computed(self, cause: Cause) -> float:
        """The same without idle time."""
        relief, steps = self.fixes.reliefs[cause], self.fixes.steps
        return float(steps.work.share_ns[relief.work].sum()) / steps.times.averaged_ns * self.stretch

    def idle_for(self, *reasons: str) -> float:
        """Host-bound time of some reasons, of the step."""
        return sum(row.fraction for row in self.host_idle if row.reason in reasons)

    def longest_kernels(self, *kinds: str, others: bool = False) -> tuple[str, ...]:
        """Up to three kernels of some kinds (or of all others), with counts, times and places."""
        return self.kernels_where(lambda row: (row.kind in kinds) is not others)

    def kernels_where(self, holds: Callable[[KernelRow], bool]) -> tuple[str, ...]:
        """Up to three kernels of which something holds, with counts, times and places."""
        sums: dict[str, tuple[float, float, float]] = {}
        places: dict[str, str] = {}
        for row in self.kernels:
            if holds(row):
                name = short_kernel_name(row.name)
                count, time_s, fraction = sums.get(name, (0.0, 0.0, 0.0))
                sums[name] = (count + row.count, time_s + row.time_s, fraction + row.time_fraction)
                if row.location:
                    places.setdefault(name, f" at {row.location}")
        longest = sorted(sums.items(), key=lambda item: -item[1][1])[:3]
        return tuple(
            f"{count_text(count)} {_cut(name)} a step, {time_text(time_s)} ({percent_text(fraction)})"
            f"{places.get(name, '')}"
            for name, (count, time_s, fraction) in longest
        )


def _cut(name: str) -> str:
    """A kernel's name in a sentence: both ends tell."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 13]}…{name[-12:]}"
