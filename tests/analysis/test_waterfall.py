"""From 100 % of peak down to the MFU: every row, its sign, and the sum."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfu_profiler.analysis.compute_split import ComputeSplit
from mfu_profiler.analysis.report import PARTS, Partition, Report
from mfu_profiler.analysis.waterfall import waterfall

from .pictures import report
from .steps import BF16, FP8, MUON, Work, training

PEAK = 100.0
"""TFLOP/s: 2 GFLOP take 20 µs."""


def rows_of(found: Report) -> dict[str, float]:
    """Fractions by cause, without those that are nothing."""
    return {row.cause: round(row.fraction, 9) for row in found.waterfall if round(row.fraction, 9)}


SHARES = st.lists(st.floats(0, 1), min_size=len(PARTS), max_size=len(PARTS)).filter(lambda v: sum(v) > 0.01)
SIGNED = st.floats(-2, 2)


@given(SHARES, st.none() | st.tuples(SIGNED, SIGNED, SIGNED, SIGNED, SIGNED, SIGNED))
def test_rows_sum_to_1_whatever_compute_is_split_into(
    shares: list[float], split: tuple[float, ...] | None
) -> None:
    partition = Partition(*(share / sum(shares) for share in shares))
    rows = waterfall(partition, None if split is None else ComputeSplit(*split), 0.5, {})
    assert rows[0].cause == "peak" and rows[0].fraction == 1 and rows[0].time_s is None
    assert sum(row.fraction for row in rows[1:]) == pytest.approx(1, abs=1e-9)
    assert all(row.time_s == row.fraction * 0.5 for row in rows[1:])
    assert len({row.cause for row in rows}) == len(rows)


WORK = st.builds(
    Work,
    name=st.sampled_from(["aten::mm", "aten::relu", "custom::op"]),
    dims=st.sampled_from([((1000, 1000), (1000, 1000)), ((64, 64), (64, 64)), None]),
    kernel_us=st.integers(0, 12),
    kernel=st.sampled_from(["sm90_gemm_bf16", "my_kernel", "ncclDevKernel_AllReduce"]),
    dtype=st.sampled_from([BF16, FP8, "float"]),
    node=st.none() | st.integers(1, 9),
    sequence=st.none() | st.integers(10, 19),
    mark=st.none() | st.just(MUON),
)


@settings(deadline=None)
@given(st.lists(WORK, min_size=1, max_size=6), st.none() | st.floats(1, 2000))
def test_the_rows_of_random_steps_sum_to_1_and_end_at_the_mfu(
    work: list[Work], peak_tflops: float | None
) -> None:
    found = report(training(*work), peak_tflops=peak_tflops)
    assert sum(row.fraction for row in found.waterfall[1:]) == pytest.approx(1, abs=1e-9)
    if found.mfu is not None:
        assert found.waterfall[-1].cause == "mfu" and found.waterfall[-1].fraction == found.mfu
        assert found.hfu is not None and 0 <= found.mfu <= found.hfu <= 1
    else:
        assert found.mfu_unknown_because is not None


def test_a_product_at_half_its_peak_loses_its_ideal_time_once_more() -> None:
    """40 of 100 µs for 2 GFLOP, which take 20 µs at 100 TFLOP/s."""
    found = report(training(Work(kernel_us=40)), peak_tflops=PEAK)
    assert rows_of(found) == {
        "peak": 1,
        "matmul_inefficiency": 0.2,
        "idle_host": 0.435,
        "idle_launch": 0.165,
        "mfu": 0.2,
    }
    assert (found.mfu, found.hfu) == (0.2, 0.2)
    assert found.flop.model_per_step == 2e9


def test_a_faster_algorithm_than_its_flop_suggest_is_a_gain() -> None:
    """Winograd: 10 µs where the FLOP would take 20."""
    rows = rows_of(report(training(Work(kernel_us=10)), peak_tflops=PEAK))
    assert rows["matmul_inefficiency"] == -0.1 and rows["mfu"] == 0.2


def test_kernels_without_flop_are_other_kernels() -> None:
    relu = Work("aten::relu", ((1000, 1000),), 30, "void at::native::vectorized_elementwise_kernel<4>(int)")
    rows = rows_of(report(training(Work(), relu), peak_tflops=PEAK))
    assert rows["other_kernels"] == 0.3 and rows["mfu"] == 0.2 and "matmul_inefficiency" not in rows


def test_kernels_of_unknown_flop_are_a_row_of_their_own_and_lower_the_coverage() -> None:
    found = report(training(Work(), Work("custom::op", None, 60, "fancy_kernel")), peak_tflops=PEAK)
    assert rows_of(found)["uncounted_kernels"] == 0.6
    assert found.flop.coverage_fraction == pytest.approx(0.25)
    assert [(row.name, row.fraction) for row in found.flop.uncounted] == [("fancy_kernel", 0.75)]


def scaled_mm() -> Work:
    return Work("aten::_scaled_mm", ((1000, 1000), (1000, 1000)), 10, "sm90_fp8_gemm", FP8)


def test_fp8_beside_bf16_is_judged_at_its_own_peak_and_is_a_gain() -> None:
    """On an H100 fp8 has twice the bf16 peak: 2 GFLOP take 2.02 µs at bf16's and half that at its own."""
    found = report(training(Work(), Work(), scaled_mm()))
    assert found.device.precision == "bf16"
    ideal_us = 2e9 / 989.4e12 * 1e6
    rows = rows_of(found)
    assert rows["precision"] == pytest.approx(-ideal_us / 2 / 100, rel=1e-3)
    assert rows["mfu"] == pytest.approx(3 * ideal_us / 100, rel=1e-3)
    own = {row.precision: row for row in found.kernels}
    assert own["fp8"].peak_fraction == pytest.approx(ideal_us / 2 / 10, rel=1e-3)
    assert own["bf16"].peak_fraction == pytest.approx(ideal_us / 20, rel=1e-3)


def test_fp32_beside_bf16_is_a_loss() -> None:
    rows = rows_of(report(training(Work(), Work(), Work(dtype="float", kernel="ampere_sgemm_128x64_nn"))))
    assert rows["precision"] > 0.2


def test_recomputation_is_hardware_flop_but_not_model_flop() -> None:
    forward = Work(sequence=1)
    again, backward = Work(sequence=501, node=1), Work(node=1)
    found = report(training(forward, again, backward), peak_tflops=PEAK)
    assert rows_of(found)["recomputation"] == 0.2
    assert (found.mfu, found.hfu) == (pytest.approx(0.4), pytest.approx(0.6))
    assert found.flop.recomputed_per_step == 2e9 and found.flop.hardware_per_step == 6e9


def test_products_of_the_optimizer_are_hardware_flop_with_a_row_of_their_own() -> None:
    """Muon orthogonalizes with matrix products."""
    found = report(training(Work(), Work(mark=MUON), Work(mark=MUON)), peak_tflops=PEAK)
    assert rows_of(found)["optimizer_matmul"] == 0.4
    assert (found.mfu, found.hfu) == (pytest.approx(0.2), pytest.approx(0.6))
    assert found.flop.optimizer_per_step == 4e9 and found.flop.model_per_step == 2e9


def attention(name: str, tensors: int, concrete: dict[int, str]) -> Work:
    """Attention of 2 x 4 heads over 1,000 tokens of dim 64: 2 matmuls of 1.024 GFLOP."""
    return Work(
        name,
        [[2, 4, 1000, 64]] * tensors,
        20,
        "flash_kernel",
        concrete=[concrete.get(index, "") for index in range(10)],
    )


MATMUL = 2 * (2 * 4 * 1000 * 1000) * 64


def test_the_fifth_matmul_of_flash_backward_is_recomputation() -> None:
    work = attention("aten::_scaled_dot_product_flash_attention_backward", 5, {})
    found = report(training(work), peak_tflops=PEAK)
    assert found.flop.model_per_step == 4 * MATMUL
    assert found.flop.recomputed_per_step == MATMUL
    assert found.hfu is not None and found.mfu is not None
    assert found.hfu / found.mfu == pytest.approx(5 / 4)


def test_causal_attention_counts_the_full_square_and_the_halved_figure_stands_beside() -> None:
    name = "aten::_scaled_dot_product_flash_attention"
    found = report(training(attention(name, 3, {3: "0.", 4: "True", 5: "False"})), peak_tflops=PEAK)
    assert found.flop.model_per_step == 2 * MATMUL
    assert found.flop.causal_model_per_step == MATMUL
    assert any("halve causal attention" in line for line in found.conventions)
    plain = report(training(attention(name, 3, {3: "0.", 4: "False", 5: "False"})), peak_tflops=PEAK)
    assert plain.flop.model_per_step == 2 * MATMUL and plain.flop.causal_model_per_step is None


def test_the_flop_of_all_micro_batches_belong_to_the_step() -> None:
    """Gradient accumulation: two backward passes, one optimizer step."""
    one = [Work(sequence=1), Work(node=1)]
    found = report(
        training(*one, *one, Work(mark=MUON, name="aten::add", dims=((9,), (9,)))), peak_tflops=500.0
    )
    assert found.flop.model_per_step == 4 * 2e9


def test_one_ops_flop_are_spread_over_its_kernels_by_time() -> None:
    """Split-K: a product and its reduction."""
    drawn = training(Work(kernel_us=30))
    two = training(Work(kernel_us=10), Work(kernel_us=20))
    whole: Any = [row.flop for row in report(drawn, peak_tflops=PEAK).kernels]
    assert whole == [2e9]
    assert sum(row.flop or 0 for row in report(two, peak_tflops=PEAK).kernels) == 4e9
