"""Predictions held against what came: what counts as fixed, which prediction is meant, when none compares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.analysis.report import (
    Finding,
    HostIdle,
    LadderStep,
    Report,
    WaterfallRow,
)
from mfu_profiler.analysis.verifying.verification import GrownCause, Verification
from mfu_profiler.analysis.verifying.verify import verification, verifications
from mfu_profiler.errors import SeveralReportsError
from tests.render.sample import ranks, resnet

from .real import real_report

MS = 1e-3
ROWS = {"data_loading": "idle_data_loading", "copy": "copy", "matmul": "matmul_inefficiency"}
REASONS = {"host_bound": "dispatch", "host_stall": "host stall"}
WINDOW = resnet().windows[1]


def run(step_ms: float, held_ms: dict[str, float], after_ms: dict[str, float] | None = None) -> Report:
    """A run of three equal steps whose findings hold some time of each.

    Args:
        step_ms: of every step.
        held_ms: finding -> time that its cause holds; under a tenth of the step it is no finding.
        after_ms: finding -> predicted step time; no other has a prediction.

    """
    shares = {code: time_ms / step_ms for code, time_ms in held_ms.items()}
    predicted = {code: time_ms * MS for code, time_ms in (after_ms or {}).items()}
    rows = [WaterfallRow(ROWS[code], share, None, "") for code, share in shares.items() if code in ROWS]
    idle = [HostIdle("forward", REASONS[code], share) for code, share in shares.items() if code in REASONS]
    found = [
        Finding(code, f"title of {code}", share, (), (), None, predicted.get(code))
        for code, share in shares.items()
        if share >= 0.1
    ]
    sample = resnet()
    return replace(
        sample,
        step_time_s=step_ms * MS,
        steps=replace(sample.steps, count=3, spread_fraction=0.0),
        windows=tuple(replace(WINDOW, duration_ns=int(step_ms * 1e6)) for _ in range(3)),
        waterfall=(*rows, WaterfallRow("mfu", 0.3, None, "")),
        host_idle=tuple(idle),
        findings=tuple(found),
    )


def fates(found: Verification) -> dict[str, str]:
    return {change.code: change.fate for change in found.findings}


def with_flop(report: Report, flop: float | None, **about: Any) -> Report:
    return replace(report, flop=replace(report.flop, model_per_step=flop, **about))


BEFORE = run(100, {"data_loading": 40}, {"data_loading": 60})
AFTER = run(60, {"data_loading": 0})


def test_the_finding_whose_time_fell_most_was_fixed() -> None:
    before = run(100, {"host_bound": 20, "data_loading": 40}, {"host_bound": 90, "data_loading": 60})
    found = verification(before, run(64, {"host_bound": 20, "data_loading": 2}))
    assert found.fixed == found.predicted_for == ("data_loading",)
    assert fates(found) == {"host_bound": "still there", "data_loading": "gone"}
    assert found.predicted_step_time_s == pytest.approx(0.060)
    assert found.achieved_step_time_s == pytest.approx(0.064)
    assert found.error_fraction == pytest.approx(60 / 64 - 1)
    assert found.error_unknown_because is None and found.notes == ()


def test_a_share_that_grows_because_the_step_is_shorter_is_no_change() -> None:
    """The same 20 ms are 20 % of the one step and 40 % of the other."""
    found = verification(run(100, {"host_bound": 20, "copy": 50}), run(50, {"host_bound": 20, "copy": 0}))
    assert found.findings[0].share_after == pytest.approx(0.4)
    assert fates(found)["host_bound"] == "still there"


@pytest.mark.parametrize(
    ("after_ms", "fate"),
    [(1, "gone"), (6, "gone"), (9, "smaller"), (15, "smaller"), (19, "still there"), (24, "larger")],
)
def test_what_became_of_a_finding_of_20_ms(after_ms: float, fate: str) -> None:
    """10 ms of 100 make a finding; half the time without one is gone, 3 ms of BEFORE's step are a change."""
    after = run(100, {"copy": after_ms})
    if after_ms == 9:
        after = replace(after, findings=run(100, {"copy": 20}).findings)
    assert fates(verification(run(100, {"copy": 20}), after)) == {"copy": fate}


def test_the_same_run_twice_has_nothing_fixed() -> None:
    before = run(100, {"data_loading": 40}, {"data_loading": 60})
    found = verification(before, before)
    assert found.fixed == () and found.predicted_step_time_s is None and found.error_fraction is None
    assert found.error_unknown_because == "nothing was fixed, so no prediction was put to the test"


def test_a_run_without_findings_predicts_nothing() -> None:
    found = verification(run(100, {}), run(90, {}))
    assert found.error_unknown_because == "BEFORE has no finding, so it predicts nothing"


BOTH = {"data_loading": 40.0, "host_bound": 20.0}
EACH = {"data_loading": 60.0, "host_bound": 85.0}
RUNGS = (LadderStep("data_loading", 0.060, 0.4), LadderStep("host_bound", 0.045, 0.5))


def test_several_fixes_have_the_prediction_of_all_of_them() -> None:
    before = replace(run(100, BOTH, EACH), ladder=RUNGS)
    found = verification(before, run(50, {"data_loading": 0, "host_bound": 1}))
    assert found.fixed == found.predicted_for == ("data_loading", "host_bound")
    assert found.predicted_step_time_s == 0.045 and found.predicted_mfu == 0.5
    assert found.error_fraction == pytest.approx(-0.1)


def test_a_combination_that_the_ladder_lacks_is_predicted_by_the_first_alone() -> None:
    found = verification(run(100, BOTH, EACH), run(50, {"data_loading": 0, "host_bound": 1}))
    assert found.predicted_for == ("data_loading",) and found.predicted_step_time_s == pytest.approx(0.060)
    (note,) = found.notes
    assert note.startswith("also fixed: host bound.") and note.endswith("the prediction is without it")


def test_a_fix_without_a_prediction_has_no_error_but_a_bound() -> None:
    found = verification(run(100, {"matmul": 40}), run(70, {"matmul": 5}))
    assert found.fixed == ("matmul",) and found.error_fraction is None
    assert found.error_unknown_because == "BEFORE predicts no step time for what was fixed"
    assert found.notes[-1] == "without a prediction, the most that the fix could give was its time, 40.0 ms"


def test_what_only_a_finding_tells_is_gone_where_it_is_none() -> None:
    """An optimizer is a finding from 5 % of the step: AFTER's holds less than 4.4 ms of BEFORE's 20."""
    before = run(100, {"optimizer": 20}, {"optimizer": 86})
    found = verification(before, run(88, {}))
    assert found.fixed == ("optimizer",) and found.error_fraction == pytest.approx(86 / 88 - 1)
    assert found.findings[0].time_after_s is None and found.findings[0].share_after is None
    assert found.notes == ("optimizer is no finding of AFTER, which tells no more of what it still holds",)
    assert fates(verification(before, run(100, {"optimizer": 19}))) == {"optimizer": "still there"}


def test_what_may_just_have_missed_being_a_finding_is_not_gone() -> None:
    """10 ms of 400 would be no finding either."""
    before = run(200, {"optimizer": 20})
    assert fates(verification(before, run(400, {}))) == {"optimizer": "unknown"}


def test_a_report_that_can_have_no_findings_tells_nothing_of_them() -> None:
    after = replace(run(88, {}), partition=None)
    assert fates(verification(run(100, {"optimizer": 20, "host_bound": 20}), after)) == {
        "optimizer": "unknown",
        "host_bound": "unknown",
    }


def test_a_reason_of_host_bound_time_is_told_apart_from_the_others() -> None:
    before = run(100, {"host_bound": 20, "host_stall": 20}, {"host_stall": 80})
    found = verification(before, run(80, {"host_bound": 20, "host_stall": 0}))
    assert found.fixed == ("host_stall",) and fates(found)["host_bound"] == "still there"


def test_a_fix_in_part_says_what_is_left() -> None:
    before = run(100, {"data_loading": 40}, {"data_loading": 60})
    found = verification(before, run(80, {"data_loading": 20}))
    assert fates(found) == {"data_loading": "smaller"} and found.error_fraction == pytest.approx(-0.25)
    assert found.notes[0].startswith("fixed in part: 50 % of the time of data loading is left")


def test_what_took_longer_than_before_is_said() -> None:
    before = run(100, {"data_loading": 40, "host_bound": 10, "copy": 0}, {"data_loading": 60})
    found = verification(before, run(75, {"data_loading": 0, "host_bound": 25, "copy": 5.0}))
    assert fates(found)["host_bound"] == "larger"
    assert found.grown == (GrownCause("copy", pytest.approx(0.005)),)


def test_what_only_one_report_tells_apart_has_not_grown() -> None:
    before, after = run(100, {"copy": 1, "matmul": 1}), run(100, {"copy": 9})
    assert [row.cause for row in verification(before, after).grown] == ["copy"]


def test_a_finding_that_only_after_has_is_new() -> None:
    before = run(100, {"data_loading": 40, "copy": 1}, {"data_loading": 60})
    found = verification(before, run(70, {"data_loading": 0, "copy": 10}))
    assert fates(found) == {"data_loading": "gone", "copy": "new"}
    assert found.findings[-1].time_before_s == pytest.approx(0.001)


def test_where_the_work_changed_times_are_compared_per_flop() -> None:
    """Twice the FLOP in twice the time that was predicted is no error; 80 ms then hold what 40 did."""
    after = with_flop(run(120, {"data_loading": 2}), 2 * 7.776e11)
    found = verification(BEFORE, after)
    assert found.work_ratio == pytest.approx(2) and found.error_fraction == pytest.approx(0)
    assert found.predicted_step_time_s == pytest.approx(0.060) and "compared per FLOP" in found.notes[0]
    same = verification(BEFORE, with_flop(run(200, {"data_loading": 80}), 2 * 7.776e11))
    assert same.fixed == () and fates(same) == {"data_loading": "still there"}


def test_flop_within_1_percent_are_the_same_work() -> None:
    assert verification(BEFORE, with_flop(AFTER, 7.8e11)).work_ratio == 1


def test_a_step_is_the_median_and_the_mean_stands_beside_it() -> None:
    lengths = (58, 60, 68)
    windows = tuple(replace(WINDOW, duration_ns=length * 1_000_000) for length in lengths)
    after = replace(AFTER, step_time_s=0.062, windows=windows)
    found = verification(BEFORE, after)
    assert found.after.step.basis == "median of 3 steps" and found.achieved_step_time_s == 0.060
    assert found.error_fraction == pytest.approx(0)
    assert found.error_of_reported_fraction == pytest.approx(60 / 62 - 1)


def test_steps_that_alternate_have_their_mean() -> None:
    windows = tuple(replace(WINDOW, duration_ns=length * 1_000_000) for length in (40, 40, 100))
    step = verification(BEFORE, replace(AFTER, step_time_s=0.060, windows=windows)).after.step
    assert step.basis == "mean of 3 steps" and step.typical_s == pytest.approx(0.060)


def test_a_live_run_has_the_step_of_its_report_and_a_note_beside_a_profiled_one() -> None:
    live = replace(AFTER.steps, unprofiled_count=15, source="median of 15 unprofiled steps; breakdown from 5")
    found = verification(BEFORE, replace(AFTER, step_time_s=0.059, steps=live))
    assert found.after.step.basis == "median of 15 unprofiled steps" and found.after.step.count == 15
    assert found.achieved_step_time_s == 0.059
    assert found.notes[0].startswith("the steps of AFTER are unprofiled, those of BEFORE are not")


def test_steps_that_differ_make_the_error_uncertain() -> None:
    after = replace(AFTER, steps=replace(AFTER.steps, count=4, spread_fraction=0.11))
    assert "the mean of 4 is uncertain by 5.5 %" in verification(BEFORE, after).notes[0]
    single = replace(AFTER, steps=replace(AFTER.steps, count=1, spread_fraction=None))
    assert "AFTER has one step" in verification(BEFORE, single).notes[0]


def test_without_a_step_time_nothing_compares() -> None:
    found = verification(BEFORE, replace(AFTER, step_time_s=None, windows=()))
    assert found.error_unknown_because == "AFTER has no step time"
    assert fates(found) == {"data_loading": "unknown"}


# Several ranks ------------------------------------------------------------------------------------


def test_a_run_without_a_step_time_is_not_suspected_of_having_been_quicker() -> None:
    found = verification(replace(BEFORE, step_time_s=None, windows=()), AFTER)
    assert not [note for note in found.notes if "swapped" in note]


def test_ranks_are_compared_with_themselves() -> None:
    found = verifications(ranks(), tuple(reversed(ranks())))
    assert [(one.before.rank, one.after.rank) for one in found] == [(0, 0), (1, 1)]


def test_a_rank_that_only_one_run_has_is_named() -> None:
    (found,) = verifications(ranks(), ranks()[1:])
    assert found.before.rank == found.after.rank == 1
    assert found.notes[-1] == "rank 0 device 0 only in BEFORE, not compared"


def test_runs_without_a_rank_in_common_do_not_compare() -> None:
    other = replace(resnet(), trace=replace(resnet().trace, rank=7))
    with pytest.raises(SeveralReportsError, match="no rank and device is in both runs"):
        verifications(ranks(), (other,))


def test_two_single_reports_are_compared_whatever_their_ranks() -> None:
    first, second = ranks()
    (found,) = verifications([first], [second])
    assert "AFTER is of rank 1, BEFORE of rank 0" in found.notes


# A real pair --------------------------------------------------------------------------------------


def test_the_real_training_with_workers(shared_dir: Path) -> None:
    """PyTorch's own ResNet-50 on a V100, before and after num_workers=4."""
    before, after = (real_report(f"kineto_resnet50_workers{workers}_v100") for workers in (0, 4))
    found = verification(before, after)
    assert found.fixed == found.predicted_for == ("data_loading",)
    assert found.predicted_step_time_s == pytest.approx(0.119, abs=0.001)
    assert found.achieved_step_time_s == pytest.approx(0.128, abs=0.001)
    assert found.error_fraction == pytest.approx(-0.075, abs=0.01)
    assert found.error_of_reported_fraction == pytest.approx(-0.123, abs=0.01)
    assert found.work_ratio == 1 and found.error_unknown_because is None
    assert [row.cause for row in found.grown] == ["idle_host"]
