"""A live run's report: settings, device and peak, the headline of unprofiled steps, notes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.analysis.report import PARTS
from tests.trace.make import H100

from .live import (
    CPU,
    CPU_FLOP,
    FLOP,
    H100_BF16,
    ceiling_part,
    cpu_report,
    flop_part,
    live_part,
    live_report,
    rows_of,
)

# Headline ------------------------------------------------------------------------------------------


def test_step_time_and_mfu_are_those_of_the_median_unprofiled_step(tmp_path: Path) -> None:
    """800 µs without the profiler, a pause apart; 1,000 with it."""
    found = live_report(tmp_path, live_part([800, 790, 800, 5_000, 810]))
    assert found.step_time_s == pytest.approx(800e-6)
    assert found.mfu == pytest.approx(FLOP / 800e-6 / H100_BF16, rel=1e-3) == found.hfu
    assert found.steps.source == "median of 5 unprofiled steps; breakdown from 4 profiled"
    assert (found.steps.unprofiled_count, found.steps.count) == (5, 4)
    assert found.steps.profiled_step_time_s == pytest.approx(1e-3)
    assert found.steps.profiler_overhead_fraction == pytest.approx(0.25)
    assert found.steps.fastest_s == pytest.approx(790e-6)


def test_steps_that_alternate_have_their_mean(tmp_path: Path) -> None:
    """Three workers that do not keep up: every third step waits for all of them."""
    found = live_report(tmp_path, live_part([200, 200, 2_000] * 4))
    assert found.step_time_s == pytest.approx(800e-6)
    assert found.steps.source == "mean of 12 unprofiled steps; breakdown from 4 profiled"


def test_data_loading_gets_what_only_unprofiled_steps_wait(tmp_path: Path) -> None:
    """Profiled steps of 1,000 µs wait for nothing; the others take 1,600, of which they wait 500."""
    rows = rows_of(live_report(tmp_path, live_part([1_600], run_data_wait_ns=500_000)))
    plain = rows_of(live_report(tmp_path, live_part([1_600])))
    assert "idle_data_loading" not in plain
    assert rows["idle_data_loading"] == pytest.approx(500 / 1600)
    assert rows["profiler"] == pytest.approx(100 / 1600) and plain["profiler"] == pytest.approx(600 / 1600)


def test_a_wait_behind_device_work_is_no_loss(tmp_path: Path) -> None:
    """The host waits 500 µs a step for data, and the steps are no longer for it."""
    found = live_report(tmp_path, live_part([1_000], run_data_wait_ns=500_000))
    assert "idle_data_loading" not in rows_of(found)


def test_the_partition_stays_that_of_the_profiled_windows(tmp_path: Path) -> None:
    plain = live_report(tmp_path, live_part())
    found = live_report(tmp_path, live_part([800]))
    assert found.partition == plain.partition and found.windows == plain.windows
    assert found.partition is not None
    assert sum(getattr(found.partition, part) for part in PARTS) == pytest.approx(1)


def test_the_excess_of_profiled_steps_is_taken_from_host_bound_time(tmp_path: Path) -> None:
    """Of 485 µs host-bound 200 are the profiler's: 285 of 800 are left."""
    rows = rows_of(live_report(tmp_path, live_part([800])))
    assert rows["idle_host"] == pytest.approx(285 / 800)
    assert rows["idle_launch"] == pytest.approx(15 / 800)
    assert rows["mfu"] + rows["matmul_inefficiency"] == pytest.approx(500 / 800)
    assert "profiler" not in rows


def test_what_host_bound_time_cannot_give_is_a_gain_of_its_own(tmp_path: Path) -> None:
    """An excess of 600 µs, of which the host has 485."""
    rows = rows_of(live_report(tmp_path, live_part([400]), peak_tflops=2_000.0))
    assert "idle_host" not in rows and rows["profiler"] == pytest.approx(-115 / 400)


def test_profiled_steps_that_were_faster_are_a_loss_of_its_own(tmp_path: Path) -> None:
    rows = rows_of(live_report(tmp_path, live_part([1_250])))
    assert rows["profiler"] == pytest.approx(250 / 1_250)
    assert rows["idle_host"] == pytest.approx(485 / 1_250)


def test_host_bound_time_by_phase_sums_to_its_row(tmp_path: Path) -> None:
    found = live_report(tmp_path, live_part([800]))
    assert sum(row.fraction for row in found.host_idle) == pytest.approx(rows_of(found)["idle_host"])


def test_shares_of_findings_and_kernels_are_of_the_unprofiled_step(tmp_path: Path) -> None:
    found = live_report(tmp_path, live_part([800]))
    (finding,) = [finding for finding in found.findings if finding.code == "host_bound"]
    assert finding.share_fraction == pytest.approx(285 / 800)
    assert found.kernels[0].time_fraction == pytest.approx(500 / 800)
    assert not [one for one in live_report(tmp_path, live_part([520])).findings if one.code == "host_bound"]


def test_without_timed_steps_the_profiled_ones_are_the_headline(tmp_path: Path) -> None:
    found = live_report(tmp_path, live_part())
    assert found.step_time_s == pytest.approx(1e-3) and found.steps.source == "device windows of ProfilerStep"
    assert found.steps.unprofiled_count is None and found.steps.profiler_overhead_fraction is None


def test_the_whole_span_is_no_step_and_keeps_its_own_time(tmp_path: Path) -> None:
    found = live_report(tmp_path, live_part([800], flop=flop_part()), windows="span")
    assert found.step_time_s == pytest.approx(4.5e-3) and found.steps.unprofiled_count is None
    assert found.flop.model_per_step == 5 * FLOP and found.flop.source == "shapes in the trace"


# Settings ------------------------------------------------------------------------------------------

SETTINGS = {"device": None, "peak_tflops": 1_500.0, "precision": "bf16", "flop_per_step": None}


def test_the_runs_settings_are_the_reports_options(tmp_path: Path) -> None:
    set_in_run = live_report(tmp_path, live_part([800], settings=SETTINGS | {"flop_per_step": 1e11}))
    given = live_report(tmp_path, live_part([800]), peak_tflops=1_500.0, flop_per_step=1e11)
    assert set_in_run == given
    assert (given.device.peak_source, given.flop.source) == ("given", "given")


def test_the_callers_options_win(tmp_path: Path) -> None:
    found = live_report(tmp_path, live_part([800], settings=SETTINGS), peak_tflops=2_000.0)
    assert found.device.peak_flop_per_s == 2e15


@pytest.mark.parametrize("options", [{"device": "NVIDIA H100 80GB HBM3"}, {"peak": "estimate"}])
def test_who_names_another_source_of_the_peak_does_not_mean_the_runs(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    found = live_report(tmp_path, live_part([800], settings=SETTINGS), **options)
    assert found.device.peak_source == ("estimate" if "peak" in options else "datasheet")


@pytest.mark.parametrize(
    "settings", [{"device": "Vector Processor 9"}, {"precision": "bf17"}, {"peak_tflops": -1}]
)
def test_settings_that_make_no_sense_are_passed_over(tmp_path: Path, settings: dict[str, Any]) -> None:
    found = live_report(tmp_path, live_part([800], settings=settings))
    assert found == live_report(tmp_path, live_part([800], settings={}))


# Device and peak -----------------------------------------------------------------------------------


def test_the_live_reading_names_a_device_that_the_trace_does_not(tmp_path: Path) -> None:
    found = live_report(tmp_path, live_part([800]), devices=[])
    assert (found.device.name, found.device.sm_count) == (H100["name"], 132)
    assert found.mfu is not None


def test_a_slice_of_a_device_is_known_by_its_live_sm_count(tmp_path: Path) -> None:
    device = {"name": H100["name"], "index": 0, "backend": "cuda", "sm_count": 66}
    found = live_report(tmp_path, live_part([800], device=device), devices=[])
    assert found.device.peak_flop_per_s == pytest.approx(H100_BF16 / 2, rel=1e-3)


def test_a_nameless_instinct_is_known_by_its_gfx_and_units(tmp_path: Path) -> None:
    device = {"name": None, "index": 0, "backend": "rocm", "sm_count": 304, "gfx": "gfx942:sramecc+"}
    found = live_report(tmp_path, live_part([800], device=device), devices=[])
    assert found.device.backend == "rocm" and found.device.peak_flop_per_s == pytest.approx(1307.4e12)


def cpu_live(step_us: list[int] | None = None, **parts: Any) -> dict[str, Any]:
    return live_part(step_us, device=CPU, **parts)


def test_a_cpus_peak_is_the_measured_ceiling_of_its_model(tmp_path: Path) -> None:
    ceiling = ceiling_part(20e9, notes=["bf16 has no native support on this CPU"])
    found = cpu_report(tmp_path, cpu_live([1_000], ceiling=ceiling))
    assert (found.device.name, found.device.backend) == ("AMD EPYC 7B13", "cpu")
    assert (found.device.peak_source, found.device.peak_detail) == ("measured", "2 threads, matmul 2048")
    assert found.mfu == pytest.approx(CPU_FLOP / 1e-3 / 20e9)
    assert "bf16 has no native support on this CPU" in found.notes


def test_a_given_peak_wins_over_the_measured_one(tmp_path: Path) -> None:
    found = cpu_report(tmp_path, cpu_live([1_000], ceiling=ceiling_part(20e9)), peak_tflops=0.1)
    assert (found.device.peak_source, found.device.peak_flop_per_s) == ("given", 1e11)


def test_a_cpu_that_was_not_measured_has_no_mfu(tmp_path: Path) -> None:
    found = cpu_report(tmp_path, cpu_live([1_000]))
    assert found.mfu is None and "not measured" in (found.mfu_unknown_because or "")


def test_a_measured_peak_that_a_step_exceeds_is_raised_to_its_rate(tmp_path: Path) -> None:
    """2 MFLOP in 500 µs are 4 GFLOP/s, in ops of 500 µs: above the measured 3."""
    found = cpu_report(tmp_path, cpu_live([500], ceiling=ceiling_part(3e9)))
    assert found.device.peak_flop_per_s == pytest.approx(4e9)
    assert found.mfu == pytest.approx(1) and found.mfu <= 1
    assert "raised from 3.00 GFLOP/s, which this run exceeded" in (found.device.peak_detail or "")
    assert not [check for check in found.checks if not check.ok]


def test_a_measured_peak_that_only_the_ops_exceed_is_raised_to_theirs(tmp_path: Path) -> None:
    """The ops reach 4 GFLOP/s of the measured 3, the step of 2,000 µs only 1."""
    found = cpu_report(tmp_path, cpu_live([2_000], ceiling=ceiling_part(3e9)))
    assert found.device.peak_flop_per_s == pytest.approx(4e9) and found.mfu == pytest.approx(0.25)
    assert abs(rows_of(found).get("matmul_inefficiency", 0)) < 1e-6


def test_a_datasheet_is_never_raised(tmp_path: Path) -> None:
    found = live_report(tmp_path, live_part([300]))
    assert found.mfu is None and found.device.peak_flop_per_s == pytest.approx(H100_BF16, rel=1e-3)
    assert "over 100 %" in (found.mfu_unknown_because or "")


def test_a_cpu_run_on_a_machine_with_a_gpu_is_a_cpu_run(tmp_path: Path) -> None:
    from .live import cpu_events

    found = live_report(tmp_path, cpu_live([1_000], ceiling=ceiling_part(20e9)), cpu_events(), [H100])
    assert found.device.backend == "cpu" and found.partition is not None


# Notes ---------------------------------------------------------------------------------------------


def test_pauses_of_the_run_stand_with_their_share_of_its_wall_time(tmp_path: Path) -> None:
    pauses = {"evaluation": 3 * 10**7, "other": 10}
    found = live_report(tmp_path, live_part([800], run_pauses_ns=pauses))
    assert "pauses, share of the run's wall time: evaluation 30.0 ms (3.0 %)" in found.notes


def test_the_runs_own_sentences_and_its_end_are_notes(tmp_path: Path) -> None:
    live = live_part([800], run_ended="SystemExit in step 24", run_notes=["x"], run_lacks=["y"])
    notes = live_report(tmp_path, live).notes
    assert notes[:2] == ("ended by SystemExit in step 24", "y") and "x" in notes


def test_notes_of_profiled_steps_do_not_stand_beside_unprofiled_ones(tmp_path: Path) -> None:
    assert not [note for note in live_report(tmp_path, live_part([800])).notes if "were profiled" in note]
    assert [note for note in live_report(tmp_path, live_part()).notes if "were profiled" in note]


def test_a_step_that_the_run_did_not_finish_is_no_window(tmp_path: Path) -> None:
    live = cpu_live(run_unfinished_step=22)
    assert [window.label for window in cpu_report(tmp_path, live).windows] == [
        "ProfilerStep#20",
        "ProfilerStep#21",
    ]
