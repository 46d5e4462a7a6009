"""Two reports -> what a fix did, beside what was predicted of it.

::

    BEFORE   ├── compute ──┤├──── waits for data ────┤├ host ┤    finding: predicts a step without the wait
    AFTER    ├── compute ──┤├┤├── host ──┤                        the wait is gone; the step took this long
                                                                  error = predicted / achieved - 1

Shares of two steps of different length do not compare, so what became of a cause is told by the time that it
holds in a step.
"""

from __future__ import annotations

from collections.abc import Sequence

from mfu_profiler.analysis.comparing.matching import matched
from mfu_profiler.analysis.comparing.sameness import differing_device, work_ratio
from mfu_profiler.analysis.comparing.step_times import StepTime, step_time
from mfu_profiler.analysis.report import Finding, Report
from mfu_profiler.analysis.verifying.notes import notes
from mfu_profiler.analysis.verifying.shares import (
    NOTABLE_STEP_FRACTION,
    grown_causes,
    most_time,
    share_of,
    time_of,
)
from mfu_profiler.analysis.verifying.verification import (
    SCHEMA_VERSION,
    Fate,
    FindingChange,
    RunInfo,
    Verification,
)

__all__ = ["verification", "verifications"]

GONE_FRACTION = 0.1
"""A cause that holds no more than this of its former time is gone ..."""
HALF_FRACTION = 0.5
"""... and so is one that holds no more than this and is no finding any more."""


def verifications(before: Sequence[Report], after: Sequence[Report]) -> tuple[Verification, ...]:
    """One for each rank and device that both runs have; for the two reports where each has one.

    Raises:
        SeveralReportsError: no rank and device is in both.

    """
    found = matched(before, after, ("BEFORE", "AFTER"), "verify")
    alone = found.alone("BEFORE", "AFTER")
    return tuple(verification(ours, theirs, alone) for ours, theirs in found.pairs)


def verification(before: Report, after: Report, more_notes: Sequence[str] = ()) -> Verification:
    """What was fixed, what was predicted of it, what came, and how far the two are apart."""
    work = work_ratio(before, after)
    changes = tuple(_change(finding, before, after, work or 1.0) for finding in before.findings)
    fixed = _fixed(changes, after, work or 1.0)
    predicted_for, predicted_s, predicted_mfu = _predicted(before, fixed)
    step = step_time(after)
    because = _unknown_because(before, after, fixed, predicted_s, step)
    expected_s = None if because is not None or predicted_s is None else predicted_s * (work or 1.0)
    codes = tuple(change.code for change in fixed)
    return Verification(
        schema_version=SCHEMA_VERSION,
        before=_run(before),
        after=_run(after),
        fixed=codes,
        predicted_for=predicted_for,
        predicted_step_time_s=predicted_s,
        predicted_mfu=predicted_mfu,
        work_ratio=work,
        achieved_step_time_s=step.typical_s,
        error_fraction=_error(expected_s, step.typical_s),
        error_of_reported_fraction=_error(expected_s, step.reported_s),
        error_unknown_because=because,
        findings=(*changes, *_new(before, after)),
        grown=grown_causes(before, after, work or 1.0),
        notes=(*notes(before, after, fixed, predicted_for, work), *more_notes),
    )


def _run(report: Report) -> RunInfo:
    return RunInfo(
        path=report.trace.path,
        rank=report.trace.rank,
        device_index=report.device.index,
        device=report.device.name,
        step=step_time(report),
        mfu=report.mfu,
        model_flop_per_step=report.flop.model_per_step,
    )


def _change(finding: Finding, before: Report, after: Report, work: float) -> FindingChange:
    """What became of a finding of BEFORE; ``work`` is how many times its work a step of AFTER does."""
    share_after = share_of(after, finding.code)
    time_before_s = time_of(finding.share_fraction, before)
    most_after_s = most_time(after, finding.code)
    fate: Fate = "unknown"
    if time_before_s is not None and most_after_s is not None and before.step_time_s is not None:
        is_named = any(other.code == finding.code for other in after.findings)
        fate = _fate(time_before_s, most_after_s / work, before.step_time_s, is_named=is_named)
        if share_after is None and fate != "gone":
            fate = "unknown"
    return FindingChange(
        code=finding.code,
        title=finding.title,
        fate=fate,
        share_before=finding.share_fraction,
        share_after=share_after,
        time_before_s=time_before_s,
        time_after_s=time_of(share_after, after),
        predicted_step_time_s=finding.step_time_after_s,
        confidence=finding.confidence,
    )


def _fate(before_s: float, after_s: float, step_s: float, *, is_named: bool) -> Fate:
    is_half = after_s <= HALF_FRACTION * before_s
    if after_s <= GONE_FRACTION * before_s or (is_half and not is_named):
        return "gone"
    if is_half or before_s - after_s >= NOTABLE_STEP_FRACTION * step_s:
        return "smaller"
    return "larger" if after_s - before_s >= NOTABLE_STEP_FRACTION * step_s else "still there"


def _new(before: Report, after: Report) -> tuple[FindingChange, ...]:
    """Findings that only AFTER has."""
    known = {finding.code for finding in before.findings}
    shares = {finding.code: share_of(before, finding.code) for finding in after.findings}
    return tuple(
        FindingChange(
            code=finding.code,
            title=finding.title,
            fate="new",
            share_before=shares[finding.code],
            share_after=finding.share_fraction,
            time_before_s=time_of(shares[finding.code], before),
            time_after_s=time_of(finding.share_fraction, after),
            predicted_step_time_s=None,
            confidence=finding.confidence,
        )
        for finding in after.findings
        if finding.code not in known
    )


def _fixed(changes: Sequence[FindingChange], after: Report, work: float) -> tuple[FindingChange, ...]:
    """The finding whose time fell most, then the others that are gone, by the time that they gave back."""

    def fell_s(change: FindingChange) -> float:
        return (change.time_before_s or 0.0) - (most_time(after, change.code) or 0.0) / work

    fallen = sorted(
        (change for change in changes if change.fate in ("gone", "smaller")), key=lambda one: -fell_s(one)
    )
    return tuple(change for change in fallen if change is fallen[0] or change.fate == "gone")


def _predicted(
    before: Report, fixed: Sequence[FindingChange]
) -> tuple[tuple[str, ...], float | None, float | None]:
    """Whose fix the prediction is of, and the step time and the MFU that it says."""
    told = [change for change in fixed if change.predicted_step_time_s is not None]
    if not told:
        return (), None, None
    codes = {change.code for change in told}
    if len(codes) > 1:
        for end, rung in enumerate(before.ladder, start=1):
            climbed = {one.code for one in before.ladder[:end]}
            if climbed == codes:
                return tuple(change.code for change in told), rung.step_time_after_s, rung.mfu_after
    first = told[0]
    mfu_after = next(finding.mfu_after for finding in before.findings if finding.code == first.code)
    return (first.code,), first.predicted_step_time_s, mfu_after


def _unknown_because(
    before: Report,
    after: Report,
    fixed: Sequence[FindingChange],
    predicted_s: float | None,
    step: StepTime,
) -> str | None:
    """Why a prediction cannot be held against AFTER; None where it can."""
    if before.step_time_s is None or step.typical_s is None:
        return f"{'BEFORE' if before.step_time_s is None else 'AFTER'} has no step time"
    if (device := differing_device(before, after)) is not None:
        return device
    if not before.findings:
        return "BEFORE has no finding, so it predicts nothing"
    if not fixed:
        return "nothing was fixed, so no prediction was put to the test"
    return "BEFORE predicts no step time for what was fixed" if predicted_s is None else None


def _error(expected_s: float | None, achieved_s: float | None) -> float | None:
    return expected_s / achieved_s - 1 if expected_s is not None and achieved_s else None
