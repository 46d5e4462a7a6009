"""What fixing a finding gives back, asked of the replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from mfu_profiler.analysis.replay.what_ifs import Cause, WhatIfs
from mfu_profiler.analysis.report import Finding

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
        cause = next((cause for code, cause in _CAUSES.items() if finding.code.startswith(code)), None)
        if cause is None:
            return finding
        more_ns = self.more_waiting_s * 1e9
        without_ns = self.what_ifs.step_ns((cause,)) + (0.0 if cause == "data" else more_ns)
        left = min(1.0, without_ns / (self.what_ifs.step_ns() + more_ns))
        is_possible = self.mfu is not None and self.mfu <= left
        return replace(
            finding,
            recovered_s=self.step_time_s * (1 - left),
            step_time_after_s=self.step_time_s * left,
            mfu_after=self.mfu / left if self.mfu is not None and is_possible else None,
        )
