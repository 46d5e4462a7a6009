"""What fixing a finding gives back, and what several fixes give one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from types import MappingProxyType

from mfu_profiler.analysis.replay.relief import CAUSES, Cause, Change, Option
from mfu_profiler.analysis.replay.what_ifs import WhatIfs
from mfu_profiler.analysis.report import Confidence, Finding, LadderStep

__all__ = ["LeftOf", "Predictions", "left_by_replay"]

_CAUSES: Mapping[str, Cause] = MappingProxyType(
    {
        "data_loading": "data",
        "synchronization": "sync",
        "host_bound": "host",
        "launch": "host",
        "communication": "communication",
        "copy": "copy",
        "garbage_collection": "garbage_collection",
        "allocator": "allocator",
        "compilation": "compilation",
        "host_stall": "stall",
        "outside_the_model": "outside",
        "reading_back": "reading_back",
        "optimizer": "optimizer",
        "attention": "attention",
        "layout": "layout",
        "other_kernels": "merging",
        "recomputation": "recomputation",
    }
)
"""A finding's code -> what its fix removes."""
_WAITS: frozenset[Cause] = frozenset(
    {"data", "sync", "garbage_collection", "allocator", "compilation", "stall", "outside", "reading_back"}
)
"""A fix of these leaves nothing of what was recorded, so that its gain is no estimate."""
LEAST_RUNG_FRACTION = 0.02
"""Of the step before it: a fix that gives less is no step of the ladder (design, section 7)."""

_HOST_LIMITS = 0.9
"""Of what a fix leaves: where a free host would leave less than this, the host is the next limit."""

LeftOf = Callable[[AbstractSet[Change]], float]
"""Causes that are removed -> what is then left of the step, 0 to 1."""


def left_by_replay(what_ifs: WhatIfs, more_waiting_s: float = 0.0) -> LeftOf:
    """Asks the replay.

    Args:
        what_ifs: of the profiled steps.
        more_waiting_s: what the step in question waits for data beyond a profiled one.

    """
    more_ns = more_waiting_s * 1e9

    def left(removed: AbstractSet[Change]) -> float:
        without_ns = what_ifs.step_ns(removed) + (0.0 if "data" in removed else more_ns)
        return min(1.0, without_ns / (what_ifs.step_ns() + more_ns))

    return left


@dataclass(frozen=True, slots=True)
class Predictions:
    """Of the step that a report is of, which in a live run is not the one that was profiled."""

    left: LeftOf
    step_time_s: float
    mfu: float | None
    causes: AbstractSet[Cause] = frozenset(CAUSES)
    """Of which it can be told what their fixes give."""

    def of(self, finding: Finding) -> Finding:
        """The finding with what its fix gives back, where that can be told."""
        cause = self.cause_of(finding)
        if cause is None:
            return finding
        left = self.left({cause})
        confidence: Confidence = "high" if cause in _WAITS else "medium"
        return replace(
            finding,
            recovered_s=self.step_time_s * (1 - left),
            step_time_after_s=self.step_time_s * left,
            mfu_after=self._mfu_after(left),
            confidence=confidence,
        )

    def step_time_after_s(self, option: Option) -> float:
        """The step with another precision, at best."""
        return self.step_time_s * self.left({option})

    def host_limit_s(self, finding: Finding) -> float | None:
        """The step that the host allows once a finding is fixed, where the host then sets the pace."""
        cause = self.cause_of(finding)
        if cause is None or cause == "host":
            return None
        return self.step_time_s * self.left({cause}) if self.is_host_next(cause) else None

    def is_host_next(self, change: Change) -> bool:
        """Whether a free host would give much more once something is changed."""
        return self.left({change, "host"}) < _HOST_LIMITS * self.left({change})

    def ladder(self, findings: Sequence[Finding]) -> tuple[LadderStep, ...]:
        """One fix after the other, each time the one that then gives most, until none gives enough.

        A fix counts for no more than the time that the partition gives its cause.
        """
        left_over = {finding: cause for finding in findings if (cause := self.cause_of(finding)) is not None}
        steps: list[LadderStep] = []
        removed: set[Cause] = set()
        while left_over:
            before = self.left(removed)
            left = {finding: self.left({*removed, cause}) for finding, cause in left_over.items()}
            best = max(left_over, key=lambda one: min(before - left[one], one.share_fraction))
            if before - left[best] < LEAST_RUNG_FRACTION * before:
                break
            removed.add(left_over[best])
            steps.append(LadderStep(best.code, self.step_time_s * left[best], self._mfu_after(left[best])))
            left_over = {one: cause for one, cause in left_over.items() if cause not in removed}
        return tuple(steps)

    def cause_of(self, finding: Finding) -> Cause | None:
        """What the finding's fix removes; None where it cannot be told what that gives."""
        cause = _CAUSES.get(finding.code)
        return cause if cause in self.causes else None

    def _mfu_after(self, left: float) -> float | None:
        return self.mfu / left if self.mfu is not None and self.mfu <= left else None
