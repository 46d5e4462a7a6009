"""What fixes give back on a CPU: shares of a profiled step, in the terms of an unprofiled one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfu_profiler.analysis.report import Finding, Report
from tests.trace.make import mark, op

from .live import CPU, FIRST_PROFILED, STEP_US, Json, cpu_report, live_part

LOADER = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"


def events(*, load_us: int = 0, step_us: int = STEP_US) -> list[Json]:
    """Steps: loading, a product for 300 µs, 400 µs of an optimizer with 200 ops of 1 µs, and nothing."""
    found = []
    for step in range(3):
        start = step * step_us * 1000
        found.append(mark(f"ProfilerStep#{FIRST_PROFILED + step}", start, step_us * 1000))
        if load_us:
            found.append(mark(LOADER, start, load_us * 1000))
        start += load_us * 1000
        dims = {"Input Dims": [[100, 100], [100, 100]], "Input type": ["float", "float"]}
        found.append(op("aten::mm", start, 300_000, **dims))
        found.append(mark("Optimizer.step#AdamW.step", start + 300_000, 400_000))
        found += [op("aten::sqrt", start + 300_000 + 2_000 * place, 1_000) for place in range(200)]
    return found


def finding(report: Report, code: str) -> Finding:
    (one,) = [one for one in report.findings if one.code == code]
    return one


def test_a_fused_optimizer_takes_no_time_between_its_ops_and_less_in_them(tmp_path: Path) -> None:
    """200 µs between ops go; of 200 µs in ops, that move two tensors where fused seven are, nothing does."""
    found = finding(cpu_report(tmp_path, live_part([], device=CPU), events()), "optimizer")
    assert found.share_fraction == pytest.approx(0.4)
    assert found.recovered_s == pytest.approx(200e-6) and found.step_time_after_s == pytest.approx(800e-6)
    assert found.confidence == "medium"
    assert found.advice == ("AdamW(..., fused=True)  (since torch 2.4)",)


def test_the_profiler_slows_all_parts_alike(tmp_path: Path) -> None:
    """Unprofiled steps of half the length: the share is the same, the time is half."""
    found = finding(cpu_report(tmp_path, live_part([500, 500, 500], device=CPU), events()), "optimizer")
    assert found.share_fraction == pytest.approx(0.4)
    assert found.recovered_s == pytest.approx(100e-6) and found.step_time_after_s == pytest.approx(400e-6)


def test_but_not_the_wait_for_data(tmp_path: Path) -> None:
    """Nor are stretches without an op, 301 µs before each wait for data (not the last 299: they are short).

    Of 2,000 µs 1,000 wait, 201 are such on average, 799 work; of an unprofiled step of 1,500 then 299 work.
    """
    live = live_part([1_500] * 3, run_data_wait_ns=1_000_000, device=CPU)
    report = cpu_report(tmp_path, live, events(load_us=1_000, step_us=2_000))
    data, optimizer = finding(report, "data_loading"), finding(report, "optimizer")
    assert data.step_time_after_s == pytest.approx(500e-6) and data.confidence == "high"
    assert optimizer.step_time_after_s == pytest.approx(1_500e-6 - 200e-6 * 299.3 / 799.3, abs=1e-7)
    assert optimizer.share_fraction == pytest.approx(400 * 299.3 / 799.3 / 1_500, abs=1e-4)


def test_the_ladder_adds_what_each_gives_back(tmp_path: Path) -> None:
    live = live_part([1_500] * 3, run_data_wait_ns=1_000_000, device=CPU)
    report = cpu_report(tmp_path, live, events(load_us=1_000, step_us=2_000))
    times = {rung.code: rung.step_time_after_s for rung in report.ladder}
    assert report.ladder[0].code == "data_loading" and times["data_loading"] == pytest.approx(500e-6)
    assert min(times.values()) < times["data_loading"]
    assert report.options == () and report.replay is None
