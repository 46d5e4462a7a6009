"""Step times for the live line, the report and the closing line. Lengths in ms."""

from __future__ import annotations

import pytest

from mfu_profiler.capture.phases import Phase
from mfu_profiler.capture.step_times import MOST_LIVE_STEPS, StepTimes
from mfu_profiler.capture.steps import Step

MS = 10**6


def times_of(
    *lengths: float,
    phase: Phase = Phase.TIMED,
    evaluation: float = 0,
    own: float = 0,
    times: StepTimes | None = None,
) -> StepTimes:
    """Steps of these lengths, one after the other, each with so much evaluation and own work in it."""
    times = times or StepTimes()
    start = 0
    for length in lengths:
        end = start + round(length * MS)
        step = Step(times.count + 1, start, end, round(evaluation * MS), micro_batches=1)
        times.add(step, phase, round(own * MS))
        start = end
    return times


def test_nothing_is_known_before_the_first_step() -> None:
    times = StepTimes()
    assert (times.count, times.live_s(), times.timed_ns, times.pauses_ns) == (0, None, [], {})


def test_the_live_time_is_the_mean_of_the_last_steps() -> None:
    assert times_of(10, 20, 30).live_s() == 0.020


def test_a_step_whose_end_is_not_proved_yet_counts_for_the_live_time() -> None:
    assert times_of(10, 20).live_s(pending_ns=60 * MS) == 0.030


def test_the_live_time_looks_back_ten_steps_where_they_last_ten_seconds() -> None:
    assert times_of(*5 * [9_000], *10 * [1_000]).live_s() == 1.0


def test_the_live_time_looks_back_ten_seconds_where_ten_steps_are_shorter() -> None:
    # 40 steps of 100 ms are 4 s; three of 2 s before them make it ten.
    assert times_of(*9 * [2_000], *40 * [100]).live_s() == pytest.approx((40 * 0.1 + 3 * 2.0) / 43)


def test_the_live_time_of_very_short_steps_keeps_no_endless_list() -> None:
    assert times_of(*500 * [9], *MOST_LIVE_STEPS * [1]).live_s() == pytest.approx(0.001)


@pytest.mark.parametrize("phase", [Phase.UNTOUCHED, Phase.COUNTED, Phase.PROFILED])
def test_the_live_time_leaves_out_steps_that_compile_are_counted_or_profiled(phase: Phase) -> None:
    assert times_of(10, 10, times=times_of(500, phase=phase)).live_s() == 0.010


def test_evaluation_and_own_work_are_no_part_of_a_step() -> None:
    times = times_of(100, evaluation=30, own=20)
    assert times.live_s() == 0.050
    assert times.pauses_ns == {"evaluation": 30 * MS, "profiling": 20 * MS}


def test_the_report_takes_no_step_with_evaluation_for_its_median() -> None:
    times = times_of(10, 10, times=times_of(100, evaluation=89))
    assert times.timed_ns == [10 * MS, 10 * MS]
    assert times.plain_ns == [11 * MS, 10 * MS, 10 * MS]


def test_a_step_over_three_medians_holds_a_pause() -> None:
    times = times_of(10, 10, 30, 31, 10)
    assert times.plain_ns == [10 * MS, 10 * MS, 30 * MS, 10 * MS]
    assert times.pauses_ns == {"other": 21 * MS}


def test_the_report_looks_at_the_steps_before_the_profiled_window() -> None:
    times = times_of(10, 12)
    times_of(99, 99, phase=Phase.PREPARED, times=times)
    times_of(14, 14, phase=Phase.REST, times=times)
    assert times.timed_ns == [10 * MS, 12 * MS]
    assert times.plain_ns == [10 * MS, 12 * MS, 14 * MS, 14 * MS]


def test_early_steps_stand_in_without_the_first_where_there_are_others() -> None:
    first = times_of(500, phase=Phase.UNTOUCHED)
    assert first.early_ns == [500 * MS]
    assert times_of(10, 12, phase=Phase.WARMUP, times=first).early_ns == [10 * MS, 12 * MS]


def test_on_an_accelerator_the_host_times_the_live_line_until_the_device_does() -> None:
    times = StepTimes()
    times.has_device_clock = True
    times_of(1, 1, 1, times=times)  # as the host enqueued them
    assert times.live_s(pending_ns=4 * MS) == pytest.approx((3 * 1 + 4) / 4 / 1e3)
    for number in (1, 2):
        times.add_device(number, 95 * MS)
    assert times.timed_ns == [95 * MS, 95 * MS]
    assert times.live_s(pending_ns=4 * MS) == 0.095


def test_the_device_length_of_a_step_before_an_evaluation_or_with_own_work_is_not_kept() -> None:
    times = StepTimes()
    times.has_device_clock = True
    times_of(1, times=times)
    times_of(50, evaluation=49, times=times)  # it began before the device reached the mark of step 2
    times_of(9, own=8, times=times)
    times_of(1, times=times)
    for number in (1, 2, 3, 4):
        times.add_device(number, number * MS)
    assert times.timed_ns == [2 * MS, 4 * MS]
