"""MFU and HFU, what they rest on, and when they are refused."""

from __future__ import annotations

from typing import Any

import pytest

from mfu_profiler.analysis.report import PARTS, Report
from mfu_profiler.errors import OptionError, UnknownDeviceError

from .pictures import report, timeline
from .steps import Work, training

H100_BF16 = 989.4e12


def test_mfu_is_model_flop_over_time_and_peak() -> None:
    found = report(training(Work()))
    assert found.mfu == pytest.approx(2e9 / (100e-6 * found.device.peak_flop_per_s or 0), rel=1e-9)
    assert found.device.peak_flop_per_s == pytest.approx(H100_BF16, rel=1e-3)
    assert (found.device.precision, found.device.peak_source) == ("bf16", "datasheet")
    assert found.flop.source == "shapes in the trace"


def assert_the_rest_stands(found: Report) -> None:
    assert found.partition is not None and found.step_time_s == pytest.approx(100e-6)
    assert sum(getattr(found.partition, part) for part in PARTS) == pytest.approx(1)
    assert found.waterfall[-1].cause == "idle_unexplained" and len(found.kernels) > 0
    assert (found.mfu, found.hfu) == (None, None)


def test_an_mfu_over_100_percent_is_refused_and_the_rest_stands() -> None:
    """2 GFLOP in 100 µs are 20 TFLOP/s: no device of 10 TFLOP/s did that."""
    found = report(training(Work()), peak_tflops=10.0)
    assert_the_rest_stands(found)
    assert found.mfu_unknown_because is not None and "200" in found.mfu_unknown_because
    assert "over 100 %" in found.mfu_unknown_because and found.mfu_unknown_hints
    assert [check.name for check in found.checks if not check.ok] == ["MFU at most 100 %"]
    assert found.flop.model_per_step == 2e9


def test_hardware_flop_over_100_percent_are_refused_too() -> None:
    """MFU alone would be 80 %, but what was executed takes 160 % of the step."""
    work = [Work(sequence=1), Work(sequence=501, node=1)]
    found = report(training(*work), peak_tflops=25.0)
    assert_the_rest_stands(found)
    assert report(training(*work), peak_tflops=40.0).mfu == pytest.approx(0.5)


def test_without_shapes_mfu_is_unknown_with_the_way_to_get_them() -> None:
    found = report(training(Work(dims=None)))
    assert_the_rest_stands(found)
    assert found.mfu_unknown_because is not None and "no shapes" in found.mfu_unknown_because
    assert any("record_shapes=True" in hint for hint in found.mfu_unknown_hints)
    assert any("--flop-per-step" in hint for hint in found.mfu_unknown_hints)
    assert found.flop.model_per_step is None and found.flop.source is None


def test_steps_without_matrix_products_have_no_flop() -> None:
    found = report(training(Work("aten::relu", ((9, 9),))))
    assert_the_rest_stands(found)
    assert found.mfu_unknown_because is not None and "no op in the steps" in found.mfu_unknown_because


@pytest.mark.parametrize("name", ["NVIDIA H100 80GB HBM4", None, ""])
def test_an_unknown_device_has_no_mfu_and_no_guessed_peak(name: str | None) -> None:
    found = report(training(Work(), device=name))
    assert_the_rest_stands(found)
    assert found.device.peak_flop_per_s is None
    assert any("--peak-tflops" in hint for hint in found.mfu_unknown_hints)


def test_the_refusal_names_the_nearest_devices() -> None:
    found = report(training(Work(), device="NVIDIA H100 80GB HBM4"))
    assert any("NVIDIA H100 80GB HBM3" in hint for hint in found.mfu_unknown_hints)


def test_a_given_peak_serves_an_unknown_device_and_says_so() -> None:
    found = report(training(Work(), device="Vector Processor 9"), peak_tflops=100.0)
    assert found.mfu == pytest.approx(0.2)
    assert (found.device.peak_source, found.device.peak_flop_per_s) == ("given", 100e12)


def test_a_given_device_replaces_the_traces() -> None:
    found = report(training(Work(), device="NVIDIA H100 80GB HBM4"), device="NVIDIA H100 80GB HBM3")
    assert found.device.peak_flop_per_s == pytest.approx(H100_BF16, rel=1e-3)


def test_a_given_device_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(UnknownDeviceError):
        report(training(Work()), device="NVIDIA H1000")


def test_the_precision_is_that_of_most_flop_unless_given() -> None:
    fp32 = Work(dtype="float", kernel="sm80_xmma_gemm_f32f32_f32f32_f32_tn_n", kernel_us=60)
    found = report(training(Work(), Work(), fp32))
    assert found.device.precision == "bf16"
    given = report(training(Work(), Work(), fp32), precision="fp32")
    assert given.device.precision == "fp32" and (given.device.peak_flop_per_s or 0) < 1e14


def test_fp32_products_run_in_tf32_only_where_the_kernel_says_so() -> None:
    plain = report(training(Work(dtype="float", kernel="ampere_sgemm_128x64_nn")))
    allowed = report(training(Work(dtype="float", kernel="sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n")))
    assert plain.device.precision == "fp32"
    assert allowed.device.precision == "tf32"
    assert (allowed.device.peak_flop_per_s or 0) > 5 * (plain.device.peak_flop_per_s or 0)


def test_a_precision_without_peak_is_refused_by_its_name() -> None:
    found = report(training(Work(), device="Tesla V100-SXM2-32GB"))
    assert found.mfu is None
    assert found.mfu_unknown_because is not None and "no bf16 peak is known" in found.mfu_unknown_because


def test_given_flop_replace_the_count() -> None:
    found = report(training(Work()), peak_tflops=100.0, flop_per_step=4e9)
    assert found.mfu == pytest.approx(0.4)
    assert (found.flop.model_per_step, found.flop.source) == (4e9, "given")
    assert any("as given" in note for note in found.notes)


def test_given_flop_serve_a_trace_without_shapes_and_hfu_stays_unknown() -> None:
    found = report(training(Work(dims=None)), peak_tflops=100.0, flop_per_step=4e9)
    assert found.mfu == pytest.approx(0.4) and found.hfu is None
    assert found.waterfall[-1].cause == "mfu"


@pytest.mark.parametrize(
    "options",
    [
        {"peak_tflops": 0.0},
        {"peak_tflops": -1.0},
        {"peak_tflops": float("inf")},
        {"peak_tflops": float("nan")},
        {"flop_per_step": 0.0},
        {"flop_per_step": float("nan")},
        {"precision": "bfloat16"},
        {"windows": "kernel"},
        {"peak": "guess"},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        report(training(Work()), **options)


def test_coverage_counts_kernels_whose_name_says_that_they_multiply_nothing() -> None:
    norm = Work("custom::norm", None, 20, "void at::native::vectorized_layer_norm_kernel<float>(int)")
    assert report(training(Work(), norm)).flop.coverage_fraction == 1.0


def test_kernels_of_a_replayed_graph_have_no_shapes_and_are_not_taken_for_zero() -> None:
    """The launch lies in no op; many kernels share its correlation id."""
    drawn = timeline(
        graph="  g",
        compute="...gggg.gggg.gg",
        names={"g": "sm90_xmma_gemm_bf16bf16_bf16f32"},
        device="NVIDIA H100 80GB HBM3",
    )
    found = report(drawn, windows="span")
    assert found.flop.coverage_fraction == 0 and found.mfu is None
    assert [row.fraction for row in found.flop.uncounted] == [1.0]


def test_where_nothing_computes_there_is_nothing_to_cover() -> None:
    found = report(training(Work("nccl:all_reduce", None, 20, "ncclDevKernel_AllReduce")), windows="span")
    assert found.flop.coverage_fraction is None and found.mfu is None


@pytest.mark.parametrize(
    ("compute", "is_ok", "detail"),
    [
        ("##..aa..bb.", True, "1 of 3 activities have none, launched before the trace"),
        ("aa..##..bb.", False, "1 of 3 activities have none, 1 of them in the midst of others"),
        ("aa......bb.", True, "every activity has one"),
    ],
)
def test_launch_records_may_lack_only_at_the_start_of_a_stream(
    compute: str, is_ok: bool, detail: str
) -> None:
    found = report(timeline(compute=compute, launch="a...b......", step="00000000000"))
    (check,) = (check for check in found.checks if check.name == "launch records")
    assert (check.ok, check.detail) == (is_ok, detail)


def test_every_step_with_other_flop_is_said() -> None:
    found = report(training(Work()))
    assert all(check.ok for check in found.checks)
    assert {check.name for check in found.checks} >= {
        "parts sum to the step",
        "MFU at most 100 %",
        "trace read whole",
        "launch records",
        "FLOP of the steps",
    }
