"""What keeps two runs from comparing, or only as far as a note says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt

from mfu_profiler.analysis.comparing.sameness import SAME_FRACTION, differing_device, has_low_coverage
from mfu_profiler.analysis.report import Report
from mfu_profiler.analysis.verifying.shares import NOTABLE_STEP_FRACTION
from mfu_profiler.analysis.verifying.verification import FindingChange
from mfu_profiler.units import clock_text, flop_rate_text, flop_text, percent_text, time_text

__all__ = ["notes"]

NOTABLE_CLOCK_FRACTION = 0.02
NOTABLE_CHANCE_FRACTION = 0.02
LEAST_GONE_FRACTION = 0.9
"""A fix that takes away less of its finding's time is one in part."""


def notes(
    before: Report,
    after: Report,
    fixed: Sequence[FindingChange],
    predicted_for: Sequence[str],
    work: float | None,
) -> tuple[str, ...]:
    """Lines, what weighs most first; of another device only that.

    Args:
        before: the run whose findings predict.
        after: the run with the fix.
        fixed: those of BEFORE's findings that were fixed.
        predicted_for: codes of those that the prediction is of.
        work: as ``work_ratio`` says.

    """
    if differing_device(before, after) is not None:
        return ("what was fixed is told by times, too, and another device changes those of every cause",)
    return (
        *_of_device(before, after),
        *_of_work(before, after, work),
        *_of_prediction(before, fixed, predicted_for, work or 1.0),
        *_of_length(before, after, work or 1.0),
        *_of_steps(before, after),
        *_of_chance(before, after),
        *(
            f"check failed in {run}: {check.name}"
            for run, report in (("BEFORE", before), ("AFTER", after))
            for check in report.checks
            if not check.ok
        ),
    )


def _of_device(before: Report, after: Report) -> Iterator[str]:
    ours, theirs = before.device, after.device
    if ours.name is None or theirs.name is None:
        yield "a device has no name: whether both ran on the same one is not known"
    if ours.precision != theirs.precision and ours.precision and theirs.precision:
        yield f"most FLOP ran in {theirs.precision}, before in {ours.precision}: MFU is of another peak"
        for option in before.options:
            if option.code == theirs.precision:
                predicted = time_text(option.step_time_after_s)
                yield f"with {option.code} alone BEFORE predicted a step of {predicted} at best"
    elif _differ(ours.peak_flop_per_s, theirs.peak_flop_per_s, SAME_FRACTION):
        peaks = [flop_rate_text(peak or 0.0) for peak in (ours.peak_flop_per_s, theirs.peak_flop_per_s)]
        yield f"MFU is of another peak: {peaks[1]}, before {peaks[0]}"
    if _differ(ours.sampled_clock_hz, theirs.sampled_clock_hz, NOTABLE_CLOCK_FRACTION):
        clocks = [clock_text(clock or 0.0) for clock in (ours.sampled_clock_hz, theirs.sampled_clock_hz)]
        yield f"the device's clock was {clocks[1]}, before {clocks[0]}: that changes the step as well"


def _differ(ours: float | None, theirs: float | None, most: float) -> bool:
    return bool(ours and theirs) and abs((theirs or 0.0) / (ours or 1.0) - 1) > most


def _of_work(before: Report, after: Report, work: float | None) -> Iterator[str]:
    ours, theirs = before.flop.model_per_step, after.flop.model_per_step
    if work is not None and work != 1 and ours and theirs:
        yield (
            f"the work of a step changed: {flop_text(theirs)}, before {flop_text(ours)}. Times are compared"
            " per FLOP, as if all of a step grew with its FLOP; loading and launches need not"
        )
    elif work is None and ours and theirs:
        yield (
            f"FLOP of a step differ ({flop_text(theirs)}, before {flop_text(ours)}), but many are unknown:"
            " whether the work changed cannot be told. Times are compared as they are"
        )
    elif work is None:
        runs = " and ".join(run for run, flop in (("BEFORE", ours), ("AFTER", theirs)) if not flop)
        yield f"FLOP of a step are unknown in {runs}: that both do the same work is taken for granted"
    sizes, ranks = (before.trace.world_size, after.trace.world_size), (before.trace.rank, after.trace.rank)
    if sizes[0] != sizes[1] and None not in sizes:
        yield f"AFTER ran on {sizes[1]} ranks, BEFORE on {sizes[0]}: communication is another"
    if ranks[0] != ranks[1] and None not in ranks:
        yield f"AFTER is of rank {ranks[1]}, BEFORE of rank {ranks[0]}"
    for run, report in (("BEFORE", before), ("AFTER", after)):
        if report.mfu is not None and has_low_coverage(report.flop):
            known = percent_text(report.flop.coverage_fraction or 0.0)
            yield f"the MFU of {run} is a lower bound: FLOP known for {known} of compute time"


def _of_prediction(
    before: Report, fixed: Sequence[FindingChange], predicted_for: Sequence[str], work: float
) -> Iterator[str]:
    for change in fixed:
        if change.time_after_s is None:
            yield f"{_words(change.code)} is no finding of AFTER, which tells no more of what it still holds"
        elif change.code in predicted_for and change.time_before_s:
            left = change.time_after_s / work / change.time_before_s
            if left > 1 - LEAST_GONE_FRACTION:
                yield (
                    f"fixed in part: {percent_text(left, 0)} of the time of {_words(change.code)} is left,"
                    " and the prediction is for none: part of the error is what the fix left"
                )
    untold = [change.code for change in fixed if change.code not in predicted_for]
    if predicted_for and untold:
        yield (
            f"also fixed: {', '.join(map(_words, untold))}. BEFORE predicts no step time of all together, so"
            f" the prediction is without {'it' if len(untold) == 1 else 'them'}"
        )
    if fixed and not predicted_for:
        if before.replay is not None and not before.replay.usable:
            yield "BEFORE's replay does not reproduce its steps well enough to predict any"
        share = fixed[0].time_before_s
        if share is not None:
            yield f"without a prediction, the most that the fix could give was its time, {time_text(share)}"


def _of_length(before: Report, after: Report, work: float) -> Iterator[str]:
    step_s = before.step_time_s or 0.0
    if step_s and (after.step_time_s or 0.0) / work > (1 + NOTABLE_STEP_FRACTION) * step_s:
        yield "AFTER's step is longer than BEFORE's; should the two be swapped:  verify AFTER BEFORE"


def _words(code: str) -> str:
    return code.replace("_", " ")


def _of_steps(before: Report, after: Report) -> Iterator[str]:
    ours, theirs = (report.steps.unprofiled_count is not None for report in (before, after))
    if ours != theirs:
        live = "BEFORE" if ours else "AFTER"
        yield (
            f"the steps of {live} are unprofiled, those of {'AFTER' if ours else 'BEFORE'} are not: the"
            " profiler slows the host, and is part of the difference"
        )
    elif not ours and before.steps.source != after.steps.source:
        yield f"steps are cut by other marks: {after.steps.source}; before: {before.steps.source}"


def _of_chance(before: Report, after: Report) -> Iterator[str]:
    """How far the mean of so many steps is a matter of chance: its standard error."""
    for run, report in (("BEFORE", before), ("AFTER", after)):
        steps = report.steps
        count = steps.count if steps.unprofiled_count is None else steps.unprofiled_count
        if count == 1:
            yield f"{run} has one step: how much its steps differ is not known"
        elif steps.spread_fraction is not None and count > 1:
            chance = steps.spread_fraction / sqrt(count)
            if chance > NOTABLE_CHANCE_FRACTION:
                yield (
                    f"the steps of {run} differ by {percent_text(steps.spread_fraction)}, so the mean of"
                    f" {count} is uncertain by {percent_text(chance)} or more"
                )
