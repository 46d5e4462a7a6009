"""Options: precisions that the device has and the run does not use, and never among the findings."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfu_profiler.analysis import Report
from mfu_profiler.analysis.report import NumericOption
from tests.analysis.live import CPU, ceiling_part, live_part
from tests.trace.make import H100, JsonObject

from .made import A100, ADD, BF16, GEMM, GEMM_FP32, GEMM_TF32, SQUARE, V100
from .programs import TAIL_US, Work, convolution, filled, on_a_cpu

FP32 = Work(us=1_000, kernel=GEMM_FP32, dims=SQUARE, dtype="float")
TF32 = Work(us=1_000, kernel=GEMM_TF32, dims=SQUARE, dtype="float")
HALF = Work(us=1_000, kernel=GEMM, dims=SQUARE, dtype=BF16)


def report_of(tmp_path: Path, *work: Work, device: JsonObject = A100) -> Report:
    return filled(*work).report(tmp_path, device=device)


def times(report: Report) -> dict[str, float]:
    """Microseconds of the step with each option, without the kernel that no option is about."""
    return {option.code: option.step_time_after_s * 1e6 - TAIL_US for option in report.options}


def test_fp32_products_of_an_a100_may_be_tf32_or_bf16(tmp_path: Path) -> None:
    """19.5 TFLOP/s of 156 and of 312; the quickest option first."""
    found = times(report_of(tmp_path, FP32))
    assert list(found) == ["bf16", "tf32"]
    assert found == {
        "bf16": pytest.approx(1_000 * 19.5 / 312, abs=2),
        "tf32": pytest.approx(1_000 * 19.5 / 156, abs=2),
    }


def test_options_say_what_to_type(tmp_path: Path) -> None:
    said = {option.code: option.advice for option in report_of(tmp_path, FP32).options}
    assert said["tf32"] == 'torch.set_float32_matmul_precision("high")'
    assert said["bf16"] == 'with torch.autocast("cuda", dtype=torch.bfloat16): ...'


def test_tf32_products_may_only_be_bf16(tmp_path: Path) -> None:
    assert times(report_of(tmp_path, TF32)) == {"bf16": pytest.approx(500, abs=2)}


def test_bf16_products_of_an_a100_have_no_option(tmp_path: Path) -> None:
    assert times(report_of(tmp_path, HALF)) == {}


def test_a_v100_has_fp16_only(tmp_path: Path) -> None:
    """15.7 TFLOP/s of 125."""
    report = report_of(tmp_path, FP32, device=V100)
    assert times(report) == {"fp16": pytest.approx(1_000 * 15.7 / 125, abs=2)}
    assert "GradScaler" in report.options[0].advice


def test_bf16_products_of_an_h100_may_be_fp8(tmp_path: Path) -> None:
    """989.4 TFLOP/s of 1,978.9."""
    assert times(report_of(tmp_path, HALF, device=H100)) == {"fp8": pytest.approx(500, abs=2)}


def test_convolutions_have_no_fp8(tmp_path: Path) -> None:
    """Their FLOP are known: 2 x 8 x 56 x 56 x 64 x 64 x 9."""
    report = report_of(tmp_path, convolution(1_000), device=H100)
    assert report.flop.model_per_step == 2 * 8 * 56**2 * 64**2 * 9
    assert times(report) == {}


def test_a_product_bound_by_memory_gets_only_so_much_quicker(tmp_path: Path) -> None:
    """A matrix with a vector: half of 268.5 MB at 2,039 GB/s are 65.8 µs, where 8 times quicker were 25."""
    size = 8192
    thin = Work(us=200, kernel=GEMM_FP32, dims=((size, size), (size, 1)), dtype="float")
    byte = 4 * (size * size + 2 * size)
    assert times(report_of(tmp_path, thin))["tf32"] == pytest.approx(byte / 2 / 2039e9 * 1e6, abs=2)


def test_products_of_small_share_have_no_option(tmp_path: Path) -> None:
    short = Work(us=25, kernel=GEMM_FP32, dims=SQUARE, dtype="float")
    assert report_of(tmp_path, Work("aten::add", 1_000, ADD), short).options == ()


def test_a_cpu_has_no_options(tmp_path: Path) -> None:
    """Not even one whose bf16 was measured to be ten times as quick."""
    made = on_a_cpu(Work(us=1_000, dims=SQUARE, dtype="float"))
    measured = ceiling_part(1e13, flop_per_s={"fp32": 1e13, "bf16": 1e14})
    report = made.report(tmp_path, device=None, live=live_part(device=CPU, ceiling=measured))
    assert report.device.peak_flop_per_s == 1e13 and report.options == ()


def test_an_unknown_device_has_no_options(tmp_path: Path) -> None:
    assert report_of(tmp_path, FP32, device=A100 | {"name": "NVIDIA Z1", "computeMajor": 99}).options == ()


@pytest.mark.parametrize(("work", "device"), [(FP32, A100), (FP32, V100), (HALF, H100)])
def test_options_are_no_findings_and_no_step_of_the_ladder(
    tmp_path: Path, work: Work, device: JsonObject
) -> None:
    report = report_of(tmp_path, work, device=device)
    assert report.options and all(isinstance(option, NumericOption) for option in report.options)
    assert report.findings == () and report.ladder == ()
