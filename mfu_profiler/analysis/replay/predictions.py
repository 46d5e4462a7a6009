"""What fixing a finding gives back, asked of the replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from mfu_profiler.analysis.replay.what_ifs import Cause, WhatIfs
from mfu_profiler.analysis.report import Finding, LadderStep

__all__ = ["Predictions"]

_CAUSES: Mapping[str, Cause] = MappingProxyType(
    {
        "data_loading": "data",
        "synchronization": "sync",
        "host_bound": "host",
        "launch": "host",
        "communication": "communication",
        "copy": "copy",
    }
)
"""What a finding's code begins with -> what its fix removes."""
LEAST_RUNG_FRACTION = 0.02
"""Of the step before it: a fix that gives less is no step of the ladder (design, section 7)."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Of the step that a report is of, which in a live run is not the one that was profiled."""

    what_ifs: WhatIfs
    step_time_s: float
    mfu: float | None
    more_waiting_s: float = 0.0
    """What this step waits for data beyond a profiled one."""

    def of(self, finding: Finding) -> Finding:
        """The finding with what its fix gives back, where a what-if tells."""
        cause = _cause_of(finding)
        if cause is None:
            return finding
        left = self._left({cause})
        return replace(
            finding,
            recovered_s=self.step_time_s * (1 - left),
            step_time_after_s=self.step_time_s * left,
            mfu_after=self._mfu_after(left),
        )

    def ladder(self, findings: Sequence[Finding]) -> tuple[LadderStep, ...]:
        """One fix after the other, each time the one that then gives most, until none gives enough.

        A fix counts for no more than the time that the partition gives its cause.
        """
        open_ones = {finding: cause for finding in findings if (cause := _cause_of(finding)) is not None}
        steps: list[LadderStep] = []
        removed: set[Cause] = set()
        while open_ones:
            before = self._left(removed)
            left = {finding: self._left({*removed, cause}) for finding, cause in open_ones.items()}
            best = max(open_ones, key=lambda one: min(before - left[one], one.share_fraction))
            if before - left[best] < LEAST_RUNG_FRACTION * before:
                break
            removed.add(open_ones[best])
            steps.append(LadderStep(best.code, self.step_time_s * left[best], self._mfu_after(left[best])))
            open_ones = {one: cause for one, cause in open_ones.items() if cause not in removed}
        return tuple(steps)

    def _left(self, removed: set[Cause]) -> float:
        """What is left of the step without these causes, 0 to 1."""
        more_ns = self.more_waiting_s * 1e9
        without_ns = self.what_ifs.step_ns(removed) + (0.0 if "data" in removed else more_ns)
        return min(1.0, without_ns / (self.what_ifs.step_ns() + more_ns))

    def _mfu_after(self, left: float) -> float | None:
        return self.mfu / left if self.mfu is not None and self.mfu <= left else None


def _cause_of(finding: Finding) -> Cause | None:
    return next((cause for code, cause in _CAUSES.items() if finding.code.startswith(code)), None)
