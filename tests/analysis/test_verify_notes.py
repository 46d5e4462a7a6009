"""What must be known beside a verification: swapped runs, another device, precision or clock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mfu_profiler.analysis.report import NumericOption
from mfu_profiler.analysis.verifying.verify import verification
from tests.analysis.test_verify import AFTER, BEFORE, run, with_flop
from tests.render.sample import SAMPLES


def test_swapped_runs_are_suspected() -> None:
    before, after = run(100, {"data_loading": 40}), run(64, {"data_loading": 4})
    assert any("verify AFTER BEFORE" in note for note in verification(after, before).notes)
    assert not any("verify AFTER BEFORE" in note for note in verification(before, after).notes)


@pytest.mark.parametrize(
    ("device", "because"),
    [
        (
            {"name": "NVIDIA A100"},
            "AFTER ran on another device (NVIDIA A100, BEFORE on Tesla V100-DGXS-32GB)",
        ),
        ({"backend": "rocm"}, "AFTER ran on another kind of device (rocm, BEFORE on cuda)"),
        ({"sm_count": 40}, "AFTER ran on 40 multiprocessors, BEFORE on 80"),
    ],
)
def test_on_another_device_there_is_no_error(device: dict[str, Any], because: str) -> None:
    found = verification(BEFORE, replace(AFTER, device=replace(AFTER.device, **device)))
    assert found.error_unknown_because == because
    assert found.error_fraction is None and found.error_of_reported_fraction is None


@pytest.mark.parametrize(
    ("device", "word"),
    [
        ({"name": None}, "a device has no name"),
        ({"precision": "bf16"}, "most FLOP ran in bf16, before in fp32"),
        ({"peak_flop_per_s": 30e12}, "MFU is of another peak: 30.0 TFLOP/s, before 15.7 TFLOP/s"),
    ],
)
def test_what_else_differs_of_the_device_is_a_note(device: dict[str, Any], word: str) -> None:
    found = verification(BEFORE, replace(AFTER, device=replace(AFTER.device, **device)))
    assert found.error_fraction == pytest.approx(0) and word in found.notes[0]


def test_the_prediction_of_another_precision_is_a_note() -> None:
    before = replace(BEFORE, options=(NumericOption("bf16", 0.05, ""), NumericOption("tf32", 0.07, "")))
    after = replace(AFTER, device=replace(AFTER.device, precision="bf16"))
    assert verification(before, after).notes[1] == (
        "with bf16 alone BEFORE predicted a step of 50.0 ms at best"
    )


def test_another_clock_is_a_note() -> None:
    slow, fast = (replace(one, device=replace(one.device, sampled_clock_hz=hertz))
                  for one, hertz in ((BEFORE, 1.28e9), (AFTER, 1.41e9)))  # fmt: skip
    assert "clock was 1.41 GHz, before 1.28 GHz" in verification(slow, fast).notes[0]


def test_where_many_flop_are_unknown_the_work_is_not_said_to_have_changed() -> None:
    """As after torch.compile, whose kernels have no shapes."""
    found = verification(BEFORE, with_flop(AFTER, 4e11, coverage_fraction=0.5))
    assert found.work_ratio is None and found.error_fraction == pytest.approx(0)
    assert "whether the work changed cannot be told" in found.notes[0]
    assert any("the MFU of AFTER is a lower bound" in note for note in found.notes)
    counted = with_flop(AFTER, 4e11, coverage_fraction=0.5, basis="counted")
    assert verification(BEFORE, counted).work_ratio == pytest.approx(4 / 7.776)


def test_unknown_flop_are_said() -> None:
    found = verification(BEFORE, with_flop(AFTER, None))
    assert found.work_ratio is None and "FLOP of a step are unknown in AFTER" in found.notes[0]


def test_a_failed_check_is_a_note() -> None:
    found = verification(BEFORE, replace(AFTER, checks=SAMPLES["low coverage"][0].checks))
    assert found.notes == ("check failed in AFTER: kernels do not overlap",)
