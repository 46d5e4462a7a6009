"""What ``compare`` says of runs: a frozen tree of plain values, whose fields are the JSON form's keys.

Times are seconds per step, fractions 0 to 1, and ``None`` means unknown. A change is the second run minus the
first. The runs of a pair are called A and B.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mfu_profiler.analysis.comparing.step_times import StepTime

__all__ = [
    "REST",
    "SCHEMA_VERSION",
    "CauseChange",
    "ChangeFate",
    "ComparedRun",
    "Comparison",
    "FindingFate",
    "NotCompared",
    "PairComparison",
    "SettingChange",
    "TableChange",
    "Verdict",
]

SCHEMA_VERSION = 1
REST = "rest"
"""A row for the time that a waterfall leaves without a cause, so that the changes always sum."""

Verdict = Literal["no difference", "within the noise", "faster", "slower", "no spread", "unknown"]
"""Of two step times. ``no spread``: they differ, and a run of one step cannot tell by chance or not."""

ChangeFate = Literal["slower", "faster", "same", "appeared", "vanished", "unlisted in A", "unlisted in B"]
"""``unlisted``: not among the rows that the run's table has room for, so it may be there and small."""


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One rank and device of one run."""

    run: int
    """Place among the runs, from 0."""
    name: str
    """As it was given."""
    rank: int | None
    device_index: int | None
    device: str | None
    """As the driver says it."""
    step: StepTime
    """``reported_s`` is what is compared."""
    mfu: float | None
    hfu: float | None
    largest_loss: str | None
    """Cause, as in the waterfall; None where the time was not split."""
    largest_loss_fraction: float | None


@dataclass(frozen=True, slots=True)
class CauseChange:
    """A row of both waterfalls. All rows' ``change_s`` sum to the change of the step time."""

    cause: str
    """As in the waterfall; ``mfu`` is useful work at peak; ``rest`` is what has no cause."""
    time_a_s: float
    time_b_s: float
    change_s: float
    fraction_a: float | None
    """Of A's step; None where that is 0."""
    fraction_b: float | None


@dataclass(frozen=True, slots=True)
class TableChange:
    """One kernel by its name, or one op by its name and shapes."""

    name: str
    shapes: str | None
    """None of kernels."""
    fate: ChangeFate
    count_a: float | None
    """Calls per step; None where A's table does not have it."""
    count_b: float | None
    time_a_s: float | None
    time_b_s: float | None
    change_s: float
    """What a table does not have counts as 0: of ``unlisted`` rows it is the most that it can be."""


@dataclass(frozen=True, slots=True)
class SettingChange:
    """Something that differs beside the times."""

    what: str
    """E.g. ``device``, ``precision``, ``FLOP per step``."""
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class FindingFate:
    """A finding that only one of the two runs has."""

    code: str
    title: str
    is_new: bool
    """Whether B has it."""
    share_fraction: float
    """Of the step of the run that has it."""


@dataclass(frozen=True, slots=True)
class PairComparison:
    """Two runs on one rank and device."""

    a: ComparedRun
    b: ComparedRun
    verdict: Verdict
    is_equal: bool
    """Whether nothing at all differs."""
    change_s: float | None
    """Of the step time."""
    change_fraction: float | None
    """The same over A's step time."""
    noise_s: float | None
    """A change of no more than this is within the noise of the steps; None where steps have no spread."""
    work_ratio: float | None
    """Model FLOP of B's step over A's, 1 where within 1 %; None where that cannot be told."""
    is_other_device: bool
    """Whether kernels have other names because the device is another."""
    causes: tuple[CauseChange, ...]
    """The largest change first, either way."""
    causes_unknown_because: str | None
    settings: tuple[SettingChange, ...]
    findings: tuple[FindingFate, ...]
    """New ones first."""
    ops: tuple[TableChange, ...]
    """Those that differ, the largest change first."""
    kernels: tuple[TableChange, ...]
    most_rows: int
    """Rows that a run's table has at most."""


@dataclass(frozen=True, slots=True)
class NotCompared:
    """A rank and device that only one of two runs has."""

    place: str
    run: int
    """Which run has it."""
    other: int
    """Which has not."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two or more runs; every one after the first is held against the first."""

    schema_version: int
    names: tuple[str, ...]
    """Of the runs, as they were given."""
    runs: tuple[ComparedRun, ...]
    """Every rank and device of every run, also those without a partner."""
    pairs: tuple[PairComparison, ...]
    not_compared: tuple[NotCompared, ...]
