"""Clocks and power of a live run: the row of the waterfall, and what held the clock down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.analysis import Report
from tests.trace.make import H100

from .live import FLOP, H100_BF16, clocks_part, gpu_events, live_part, live_report, rows_of

IDEAL = FLOP / H100_BF16 / 1e-3
"""Share of a step of 1 ms that the FLOP of one take at the peak: 0.3234."""

INSIDE = [1_100, 2_100, 3_100]
"""Times in the averaged windows, in µs."""


def at_clock(tmp_path: Path, hertz: float, **changes: Any) -> Report:
    return live_report(tmp_path, live_part([1_000], clocks=clocks_part([hertz] * 3, INSIDE, **changes)))


def test_a_lower_clock_has_a_row_taken_from_matmul_inefficiency(tmp_path: Path) -> None:
    """At 1.525 of 1.83 GHz the ideal time is a fifth longer."""
    found, usual = at_clock(tmp_path, 1.525e9), live_report(tmp_path, live_part([1_000]))
    rows, plain = rows_of(found), rows_of(usual)
    assert rows["clocks"] == pytest.approx(IDEAL / 5, rel=1e-3)
    assert rows["clocks"] + rows["matmul_inefficiency"] == pytest.approx(plain["matmul_inefficiency"])
    assert found.mfu == usual.mfu
    assert found.device.sampled_clock_hz == pytest.approx(1.525e9)
    assert found.device.datasheet_clock_hz == 1.83e9
    assert found.device.peak_at_clock_flop_per_s == pytest.approx(H100_BF16 / 1.2, rel=1e-3)


def test_a_clock_costs_no_more_than_the_matmuls_lost(tmp_path: Path) -> None:
    rows = rows_of(at_clock(tmp_path, 0.5e9))
    assert rows["clocks"] == pytest.approx(0.5 - IDEAL, rel=1e-3) and "matmul_inefficiency" not in rows


def test_a_higher_clock_is_a_gain(tmp_path: Path) -> None:
    rows = rows_of(at_clock(tmp_path, 1.98e9))
    assert rows["clocks"] == pytest.approx(IDEAL * (1.83 / 1.98 - 1), rel=1e-3) and rows["clocks"] < 0


def test_the_row_says_which_clock_and_what_held_it_down(tmp_path: Path) -> None:
    reasons = ["none", "power cap", "power cap, thermal"]
    found = at_clock(tmp_path, 1.41e9, throttle=reasons)
    (row,) = [row for row in found.waterfall if row.cause == "clocks"]
    assert row.detail == "1.41 of 1.83 GHz: power cap" and found.device.clock_because == "power cap"
    assert found.device.mean_power_w == 300.0


def test_samples_outside_of_the_windows_serve_where_too_few_are_inside(tmp_path: Path) -> None:
    outside = [-5_000_000, -4_900_000, -4_800_000]
    few = clocks_part([1.0e9, 1.2e9, 1.4e9, 1.6e9], [*outside, 2_100])
    assert live_report(tmp_path, live_part([1_000], clocks=few)).device.sampled_clock_hz == pytest.approx(
        1.3e9
    )
    many = clocks_part([1.0e9, 1.6e9, 1.6e9, 1.6e9], [outside[0], *INSIDE])
    assert live_report(tmp_path, live_part([1_000], clocks=many)).device.sampled_clock_hz == pytest.approx(
        1.6e9
    )


@pytest.mark.parametrize("options", [{"peak_tflops": 1_000.0}, {"peak": "estimate"}])
def test_a_peak_that_is_of_no_datasheet_has_no_clocks_row(tmp_path: Path, options: dict[str, Any]) -> None:
    live = live_part([1_000], clocks=clocks_part([1.41e9] * 3, INSIDE))
    found = live_report(tmp_path, live, **options)
    assert "clocks" not in rows_of(found) and found.device.peak_at_clock_flop_per_s is None
    assert found.device.sampled_clock_hz == pytest.approx(1.41e9)


def test_clocks_that_could_not_be_read_say_why(tmp_path: Path) -> None:
    device = {"name": H100["name"], "index": 0, "backend": "cuda", "nvml_because": "the driver is too old"}
    found = live_report(tmp_path, live_part([1_000], device=device))
    assert found.device.nvml_because == "the driver is too old" and found.device.sampled_clock_hz is None


def test_a_lowered_power_limit_is_a_note(tmp_path: Path) -> None:
    device = {"name": H100["name"], "power_limit_w": 500.0, "default_power_limit_w": 700.0}
    found = live_report(tmp_path, live_part([1_000], device=device))
    assert "the device's power limit is 500 W, below its default of 700 W" in found.notes
    usual = live_report(tmp_path, live_part([1_000], device=device | {"power_limit_w": 699.9}))
    assert not [note for note in usual.notes if "power limit" in note]


def test_an_fp32_peak_holds_at_the_clock_of_vectors(tmp_path: Path) -> None:
    """H100: 66.9 TFLOP/s of fp32 at 1.98 GHz, 989.4 of bf16 at 1.83."""
    events = gpu_events()
    for one in events:
        if one["name"] == "aten::mm":
            one["args"] = {"Input Dims": [[1_000, 1_000], [1_000, 1_000]], "Input type": ["float", "float"]}
        if one["name"] == "sm90_gemm_bf16":
            one["name"] = "ampere_sgemm_128x64_nn"
    live = live_part([1_000], clocks=clocks_part([1.41e9] * 3, INSIDE))
    found = live_report(tmp_path, live, events)
    assert (found.device.precision, found.device.datasheet_clock_hz) == ("fp32", 1.98e9)
