"""Waits for data: only where the device has nothing to do in them, with the change that fits the loader."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfu_profiler.trace.host_calls import DATA_MARK
from tests.analysis.live import live_part

from .made import GEMM, IN_MAIN, IN_WORKERS, SQUARE, Training, advice, codes, evidence, found
from .programs import Work, filled, on_a_cpu

MM = Work(us=1_000, dims=SQUARE)


def waiting(mark: str | None, wait_us: int = 400) -> Training:
    """The step of 1 ms begins with a wait; the kernel runs in all of the rest but 15 µs."""
    made = Training()
    if mark is not None:
        made.mark(mark, 0, wait_us)
    made.op("aten::mm", wait_us + 2, wait_us + 10, SQUARE)
    made.runs(GEMM, wait_us + 5, wait_us + 10, 995)
    return made


def test_a_loader_in_the_main_process_is_advised_workers(tmp_path: Path) -> None:
    report = waiting(IN_MAIN).report(tmp_path)
    finding = found(report, "data_loading")
    assert finding.share_fraction == pytest.approx(0.4)
    assert finding.recovered_s == pytest.approx(400e-6) and finding.confidence == "high"
    assert finding.advice == ("DataLoader(..., num_workers=4, pin_memory=True, persistent_workers=True)",)
    assert finding.evidence == ("1 next() a step, 400 µs each, in the main process (num_workers=0)",)


def test_no_more_workers_than_cores_are_advised(tmp_path: Path) -> None:
    report = waiting(IN_MAIN).report(tmp_path, live=live_part(run_cores=2))
    assert "num_workers=2," in advice(report, "data_loading")


def test_workers_that_do_not_keep_up_are_not_advised_the_first_ones(tmp_path: Path) -> None:
    report = waiting(IN_WORKERS).report(tmp_path)
    assert "more workers" in advice(report, "data_loading")
    assert "persistent_workers" not in advice(report, "data_loading")
    assert "num_workers=0" not in evidence(report, "data_loading")


def test_data_of_the_users_own_is_advised_no_loader(tmp_path: Path) -> None:
    report = waiting(DATA_MARK).report(tmp_path)
    assert evidence(report, "data_loading") == "1 run.data() a step, 400 µs each"
    assert "prepare the next batch" in advice(report, "data_loading")
    assert "DataLoader" not in advice(report, "data_loading")


def test_the_same_wait_without_a_loader_is_no_wait_for_data(tmp_path: Path) -> None:
    assert "data_loading" not in codes(waiting(None).report(tmp_path))


def test_a_short_wait_is_no_finding(tmp_path: Path) -> None:
    """4 % of the step, and 6 %."""
    assert "data_loading" not in codes(waiting(IN_MAIN, 40).report(tmp_path / "short"))
    assert "data_loading" in codes(waiting(IN_MAIN, 60).report(tmp_path / "long"))


def test_a_loader_that_works_while_the_device_does_is_no_finding(tmp_path: Path) -> None:
    made = filled(MM, MM)
    made.mark(IN_MAIN, 300, 900)
    assert codes(made.report(tmp_path)) == set()


def test_nothing_is_pinned_for_a_cpu(tmp_path: Path) -> None:
    """400 of 1,002 µs."""
    made = on_a_cpu(Work(us=600, dims=SQUARE, dtype="float"), gap_us=400)
    made.mark(IN_MAIN, 602, 1_002)
    finding = found(made.report(tmp_path, device=None), "data_loading")
    assert finding.advice == ("DataLoader(..., num_workers=4, persistent_workers=True)",)
    assert finding.share_fraction == pytest.approx(400 / 1_002)
    assert finding.recovered_s == pytest.approx(400e-6)


def test_a_cpu_whose_loader_takes_no_time_is_no_finding(tmp_path: Path) -> None:
    made = on_a_cpu(Work(us=600, dims=SQUARE, dtype="float"), gap_us=400)
    made.mark(IN_MAIN, 602, 612)
    assert "data_loading" not in codes(made.report(tmp_path, device=None))
