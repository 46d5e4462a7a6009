"""What ``verify`` says of two runs: a frozen tree of plain values, whose fields are the JSON form's keys.

Times are seconds, fractions 0 to 1, and ``None`` means unknown (``error_unknown_because`` says why).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mfu_profiler.analysis.comparing.step_times import StepTime
from mfu_profiler.analysis.report import Confidence

__all__ = ["SCHEMA_VERSION", "Fate", "FindingChange", "GrownCause", "RunInfo", "Verification"]

SCHEMA_VERSION = 1

Fate = Literal["gone", "smaller", "still there", "larger", "new", "unknown"]
"""What became of a finding."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One of the two runs."""

    path: str
    """Of its trace."""
    rank: int | None
    device_index: int | None
    device: str | None
    """As the driver says it."""
    step: StepTime
    mfu: float | None
    model_flop_per_step: float | None


@dataclass(frozen=True, slots=True)
class FindingChange:
    """One finding and the time that its cause holds in both runs."""

    code: str
    title: str
    fate: Fate
    share_before: float | None
    """Of BEFORE's step."""
    share_after: float | None
    """Of AFTER's step."""
    time_before_s: float | None
    """Per step."""
    time_after_s: float | None
    """None as well where the cause is no finding of AFTER, and nothing else in its report tells."""
    predicted_step_time_s: float | None
    """By BEFORE, with this cause alone removed."""
    confidence: Confidence
    """What that rests on, as findings say it."""


@dataclass(frozen=True, slots=True)
class GrownCause:
    """A row of the waterfall that holds more of a step of AFTER, which no prediction of a fix foresees."""

    cause: str
    more_s: float
    """Per step, for BEFORE's work."""


@dataclass(frozen=True, slots=True)
class Verification:
    """A prediction of BEFORE held against AFTER."""

    schema_version: int
    before: RunInfo
    after: RunInfo
    fixed: tuple[str, ...]
    """Codes of the findings that were fixed; first the one whose time fell most."""
    predicted_for: tuple[str, ...]
    """Codes of those that the prediction is of."""
    predicted_step_time_s: float | None
    """At best, for the work of BEFORE's step."""
    predicted_mfu: float | None
    work_ratio: float | None
    """Model FLOP of a step of AFTER over BEFORE's, 1 where within 1 %; None where that cannot be told."""
    achieved_step_time_s: float | None
    """``after.step.typical_s``."""
    error_fraction: float | None
    """Predicted over achieved step time - 1, per model FLOP where ``work_ratio`` is not 1; below 0 the
    prediction was too short."""
    error_of_reported_fraction: float | None
    """The same against ``after.step.reported_s``."""
    error_unknown_because: str | None
    findings: tuple[FindingChange, ...]
    """BEFORE's in its order, then those that are new in AFTER."""
    grown: tuple[GrownCause, ...]
    """Largest first; by 3 % of BEFORE's step or more."""
    notes: tuple[str, ...]
    """What a reader must know before he believes the error."""
