"""What must hold of every real trace, and windows of those that teach something."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest

from mfu_profiler.analysis import analyze
from mfu_profiler.analysis.host_steps import host_steps
from mfu_profiler.analysis.report import PARTS

from .real import TRACES, real_report, real_timeline, real_traces

pytestmark = pytest.mark.usefixtures("shared_dir")

MODES = pytest.mark.parametrize("mode", ["device", "host", "span"])


def leaves(value: Any, path: str = "report") -> Iterator[tuple[str, Any]]:
    """(path, value) of everything in a report that is no container; containers must be of plain types."""
    if is_dataclass(value):
        for field in fields(value):
            yield from leaves(getattr(value, field.name), f"{path}.{field.name}")
    elif type(value) is tuple:
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    elif type(value) is dict:
        for key, item in value.items():
            assert type(key) is str
            yield from leaves(item, f"{path}[{key}]")
    else:
        yield path, value


def test_the_report_of_a_timeline_is_what_analyze_gives() -> None:
    name = "tracelens_h100_bert"
    assert analyze(TRACES / f"{name}.json.gz") == real_report(name)


@MODES
@real_traces
def test_a_report_holds_plain_finite_values_only(name: str, mode: str) -> None:
    for path, value in leaves(real_report(name, windows=mode)):
        assert value is None or type(value) in (str, int, float, bool), path
        assert not isinstance(value, float) or math.isfinite(value), path


@MODES
@real_traces
def test_parts_and_waterfall_sum_to_1(name: str, mode: str) -> None:
    report = real_report(name, windows=mode)
    if report.partition is None:
        assert report.partition_unknown_because and report.waterfall == ()
        return
    parts = [getattr(report.partition, part) for part in PARTS]
    assert sum(parts) == pytest.approx(1, abs=1e-9) and min(parts) >= 0
    assert report.waterfall[0].cause == "peak" and report.waterfall[0].fraction == 1
    assert sum(row.fraction for row in report.waterfall[1:]) == pytest.approx(1, abs=1e-9)
    assert (report.waterfall[-1].cause == "mfu") == (report.mfu is not None)
    for window in report.windows:
        assert sum(getattr(window, f"{part}_ns") for part in PARTS) == window.duration_ns
    idle = sum(row.fraction for row in report.host_idle)
    assert idle == pytest.approx(report.partition.idle_host, abs=1e-9)
    assert sum(report.copy_by_direction.values()) == pytest.approx(report.partition.copy, abs=1e-9)


@real_traces
def test_mfu_is_known_or_says_why_and_coverage_stands_beside_it(name: str) -> None:
    report = real_report(name)
    assert (report.mfu is None) == (report.mfu_unknown_because is not None)
    if report.mfu is not None:
        assert report.hfu is not None and 0 < report.mfu <= report.hfu <= 1
        assert report.flop.coverage_fraction is not None and 0 < report.flop.coverage_fraction <= 1


def test_a_trace_that_names_an_accelerator_but_has_no_kernels_lacks_them() -> None:
    """``hta_cpu_only``: rank 34 of a GPU job, recorded without CUDA."""
    report = real_report("hta_cpu_only")
    assert report.partition is None
    assert report.partition_unknown_because is not None


def test_the_v100_that_lags_its_host_takes_95_to_98_ms_a_step_though_marks_say_35_to_95() -> None:
    steps = host_steps(real_timeline("hta_ns_resolution_v100"))
    assert steps is not None
    marked_s = (steps.end_ns - steps.start_ns) / 1e9
    assert 0.030 < marked_s.min() < 0.040 and 0.090 < marked_s.max() < 0.098
    found = real_report("hta_ns_resolution_v100").step_times_s
    assert len(found) == 4
    assert all(0.0955 <= time_s <= 0.0977 for time_s in found)


def test_the_mi300x_takes_19_ms_a_step_though_marks_say_16() -> None:
    drawn = real_timeline("tracelens_mi300x_resnet_checkpoint")
    steps = host_steps(drawn)
    assert steps is not None
    assert (steps.end_ns - steps.start_ns)[1:] / 1e6 == pytest.approx([15.95, 15.89], abs=0.01)
    found = real_report("tracelens_mi300x_resnet_checkpoint").step_times_s
    assert found == pytest.approx((0.01898, 0.01898), abs=0.00001)


def test_every_activity_with_a_launch_record_has_its_step_on_the_default_stream_too() -> None:
    """Stream 0 is ROCm's default stream; a tool that takes it for the host loses 2,978 of 2,995 kernels."""
    drawn = real_timeline("tracelens_mi300x_resnet_checkpoint")
    steps = host_steps(drawn)
    assert steps is not None
    activities = drawn.activities
    assert drawn.streams[int(np.bincount(activities.stream).argmax())] == "0"
    launched = drawn.calls.start_ns[activities.call[activities.has_call]]
    step = np.searchsorted(steps.start_ns, launched, side="right") - 1
    assert len(launched) == 2685 and step.min() == 0
    assert np.all(launched < steps.end_ns[step])


def test_ranks_2_to_7_of_one_job_agree_on_every_window() -> None:
    times = np.array([real_report(f"modded_nanogpt_8xh100/rank{rank}").step_times_s for rank in range(2, 8)])
    spread = (times.max(axis=0) - times.min(axis=0)) / times.mean(axis=0)
    assert spread.shape == (3,) and spread.max() < 0.002


def test_kernels_launched_before_the_trace_are_counted_and_said() -> None:
    report = real_report("tracelens_mi300x_resnet_checkpoint")
    (check,) = (check for check in report.checks if check.name == "launch records")
    assert check.ok and check.detail == "968 of 3,653 activities have none, launched before the trace"
