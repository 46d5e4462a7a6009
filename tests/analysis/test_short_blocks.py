"""Blocks that ended before their profiled window, and live runs whose device was not recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.analysis import Report
from tests.trace.make import H100, launch, mark, op

from .live import (
    CPU,
    FLOP,
    H100_BF16,
    ceiling_part,
    flop_part,
    live_part,
    live_report,
    marks_only,
)

LACKS = "the block ended after 3 steps, before the profiled window at step 22"


def short(folder: Path, lengths_us: list[int] | None = None, **parts: Any) -> Report:
    step_us = parts.pop("step_us", None)
    live = live_part(step_us, **({"run_lacks": [LACKS], "flop": flop_part()} | parts))
    return live_report(folder, live, marks_only(lengths_us or [9_000, 5_000, 1_000]), [])


def test_a_short_block_has_step_time_flop_and_mfu_and_says_what_it_lacks(tmp_path: Path) -> None:
    """Step 1 warms up and step 2 was counted: step 3 is what there is."""
    found = short(tmp_path)
    assert found.step_time_s == pytest.approx(1e-3) and found.steps.source == "1 unprofiled step"
    assert found.flop.model_per_step == FLOP and found.flop.source == "counted on step 2"
    assert found.mfu == pytest.approx(FLOP / 1e-3 / H100_BF16, rel=1e-3) == found.hfu
    assert (found.device.name, found.device.precision) == (H100["name"], "bf16")
    assert found.partition is None and found.partition_unknown_because == LACKS
    assert found.mfu_unknown_because is None and found.mfu_unknown_hints == ()
    assert found.waterfall == () and found.findings == () and found.windows == ()


def test_timed_steps_win_over_marks(tmp_path: Path) -> None:
    found = short(tmp_path, step_us=[800, 900, 700])
    assert found.step_time_s == pytest.approx(800e-6)
    assert found.steps.source == "median of 3 unprofiled steps"


@pytest.mark.parametrize(
    ("lengths_us", "expected_us"), [([7_000], 7_000), ([7_000, 5_000], 7_000), ([9, 9, 200, 300, 400], 300)]
)
def test_the_undisturbed_steps_that_there_are_make_the_step_time(
    tmp_path: Path, lengths_us: list[int], expected_us: int
) -> None:
    assert short(tmp_path, lengths_us).step_time_s == pytest.approx(expected_us * 1e-6)


def test_a_step_that_did_not_finish_is_none(tmp_path: Path) -> None:
    found = short(tmp_path, [900, 900, 500, 100], run_unfinished_step=4)
    assert found.step_time_s == pytest.approx(500e-6)
    nothing = short(tmp_path, [900], run_unfinished_step=1)
    assert nothing.step_time_s is None and nothing.mfu is None
    assert nothing.mfu_unknown_because == "no whole step was timed, so MFU is unknown."


def test_a_block_that_an_exception_ended_says_in_which_step(tmp_path: Path) -> None:
    found = short(tmp_path, run_lacks=[], run_ended="KeyboardInterrupt in step 12", run_notes=["a note"])
    assert found.partition_unknown_because is not None
    assert "KeyboardInterrupt in step 12" in found.partition_unknown_because
    assert found.notes == ("ended by KeyboardInterrupt in step 12", "a note")


def test_what_is_said_as_the_reason_is_not_said_again(tmp_path: Path) -> None:
    assert short(tmp_path, run_lacks=[LACKS, "no stacks"]).notes == ("no stacks",)


def test_recomputation_counts_for_hfu(tmp_path: Path) -> None:
    found = short(tmp_path, flop=flop_part(recomputed=FLOP // 2))
    assert found.mfu is not None and found.hfu == pytest.approx(1.5 * found.mfu)


def test_a_short_block_without_flop_still_has_its_step_time(tmp_path: Path) -> None:
    found = short(tmp_path, flop=None)
    assert found.mfu is None and found.step_time_s == pytest.approx(3e-3)  # median of 5 and 1 ms
    assert found.mfu_unknown_because == "the FLOP of a step are unknown: no matrix product was seen."


def test_given_flop_and_peak_serve_a_short_block(tmp_path: Path) -> None:
    settings = {"peak_tflops": 1_000.0, "flop_per_step": 1e11}
    found = short(tmp_path, [9_000, 1_000, 1_000], flop=None, settings=settings)
    assert found.mfu == pytest.approx(0.1) and found.hfu is None


def test_a_short_block_on_a_cpu_rests_on_the_measured_peak(tmp_path: Path) -> None:
    """4 MFLOP in 1 ms: 4 GFLOP/s of 20."""
    flop = flop_part(4_000_000, by_precision={"fp32": 4_000_000})
    found = short(tmp_path, device=CPU, ceiling=ceiling_part(20e9), flop=flop)
    assert found.mfu == pytest.approx(0.2) and found.device.peak_source == "measured"
    raised = short(tmp_path, device=CPU, ceiling=ceiling_part(2e9), flop=flop)
    assert raised.mfu == pytest.approx(1) and raised.device.peak_flop_per_s == pytest.approx(4e9)


def test_an_mfu_over_100_percent_is_refused_here_too(tmp_path: Path) -> None:
    found = short(tmp_path, [9, 9, 1])
    assert found.mfu is None and "over 100 %" in (found.mfu_unknown_because or "")
    assert [check.name for check in found.checks if not check.ok] == ["MFU at most 100 %"]


def test_a_gpu_run_whose_kernels_were_not_recorded_has_its_mfu_all_the_same(tmp_path: Path) -> None:
    """CUPTI was not permitted: the trace has ops and calls and no kernel."""
    events = [mark("ProfilerStep#20", 0, 900_000), op("aten::mm", 10_000, 50_000), launch(1, 20_000)]
    found = live_report(tmp_path, live_part([1_000], flop=flop_part()), events)
    assert found.mfu == pytest.approx(FLOP / 1e-3 / H100_BF16, rel=1e-3)
    assert found.partition is None and "missing" in (found.partition_unknown_because or "")
    assert [note for note in found.notes if "CUPTI" in note]
    assert not [line for line in (*found.notes, *found.mfu_unknown_hints) if "record them" in line]
