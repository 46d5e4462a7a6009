"""What runs on the device: chains to fuse, layouts, repetition, short products, and sizes that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trace.make import H100

from .made import (
    A100,
    ADAMW,
    ADD,
    BF16,
    GEMM,
    GEMM_FP32,
    SQUARE,
    TRITON,
    Training,
    advice,
    codes,
    found,
)
from .programs import TAIL_US, Work, convolution, filled

COMPILE = "torch.compile(model) fuses elementwise kernels and normalizations"
CHANNELS_LAST = "model.to(memory_format=torch.channels_last)"
MM, LONG = Work(us=500, dims=SQUARE), Work(us=2_000, dims=SQUARE)


def add(us: float = 60, kernel: str = ADD) -> Work:
    return Work("aten::add", us, kernel)


# Kernels without matrix products ------------------------------------------------------------------


def test_a_chain_of_elementwise_kernels_is_advised_compilation(tmp_path: Path) -> None:
    """Two chains of 60, 80 and 60 µs become one kernel of 80 each: 240 of 1,440 µs."""
    chain = (add(60), add(80), add(60))
    report = filled(MM, *chain, MM, *chain).report(tmp_path)
    finding = found(report, "other_kernels")
    assert finding.recovered_s == pytest.approx(240e-6)
    assert finding.share_fraction == pytest.approx(440 / 1_440)
    assert finding.advice == (COMPILE,)
    assert finding.evidence[0].startswith("6 ") and "400 µs (27.8 %)" in finding.evidence[0]


def test_single_kernels_between_products_are_no_chain(tmp_path: Path) -> None:
    report = filled(MM, add(200), MM, add(200)).report(tmp_path)
    assert "other_kernels" not in codes(report)


def test_no_chain_runs_through_an_optimizer(tmp_path: Path) -> None:
    """Of the chain 400 µs go; 140 kernels of 10 µs that follow are the optimizer's finding."""
    adam = ("lerp_", "mul_", "addcmul_", "sqrt", "div_", "add_", "addcdiv_")
    updates = [Work(f"aten::{one}", 10, ADD, mark=ADAMW) for _ in range(20) for one in adam]
    report = filled(MM, add(200), add(200), add(200), *updates).report(tmp_path)
    finding = found(report, "other_kernels")
    assert finding.recovered_s == pytest.approx(400e-6)
    assert finding.share_fraction == pytest.approx((3 * 200 + TAIL_US) / (500 + 600 + 1_400 + TAIL_US))
    assert "optimizer" in codes(report)


def test_few_of_them_are_no_finding(tmp_path: Path) -> None:
    """200 of 2,240 µs."""

    assert "other_kernels" not in codes(filled(LONG, add(100), add(100)).report(tmp_path))


def test_a_compiled_model_is_not_advised_compilation(tmp_path: Path) -> None:
    made = filled(MM, add(kernel=TRITON), *[add()] * 4)
    assert COMPILE not in advice(made.report(tmp_path / "kernels"), "other_kernels")
    marked = filled(MM, *[add()] * 5)
    assert COMPILE in advice(marked.report(tmp_path / "eager"), "other_kernels")
    marked.mark("Torch-Compiled Region: 0/0", 1, 300)
    assert COMPILE not in advice(marked.report(tmp_path / "marked"), "other_kernels")


def test_a_torch_without_compile_is_not_advised_it(tmp_path: Path) -> None:
    made = filled(MM, *[add()] * 5)
    assert "compile" not in advice(made.report(tmp_path / "old", torch="1.13.1"), "other_kernels")
    assert "(since torch 2.0)" in advice(made.report(tmp_path / "unknown", torch=None), "other_kernels")


# Memory formats -----------------------------------------------------------------------------------


def converting(kernel: str, us: float = 100) -> Training:
    return filled(convolution(400), convolution(us, kernel))


def test_kernels_that_convert_layouts_are_advised_channels_last(tmp_path: Path) -> None:
    """100 of 540 µs."""
    report = converting("void cudnn::ops::nchwToNhwcKernel<__half, __half, float>(int)").report(tmp_path)
    finding = found(report, "layout")
    assert finding.share_fraction == pytest.approx(100 / 540)
    assert finding.recovered_s == pytest.approx(100e-6)
    assert CHANNELS_LAST in advice(report, "layout")


def test_kernels_of_convolutions_that_convert_nothing_are_no_finding(tmp_path: Path) -> None:
    assert "layout" not in codes(converting("cudnn::winogradForwardData4x4").report(tmp_path))


def test_few_conversions_are_no_finding(tmp_path: Path) -> None:
    """10 of 450 µs."""
    assert "layout" not in codes(converting("nchwToNhwcKernel", 10).report(tmp_path))


# Recomputation ------------------------------------------------------------------------------------


def checkpointed(*, again: bool) -> Training:
    """Forward (sequence 40); its node in backward, in which a product of a number of its own repeats it."""
    repeated = Work(us=300, dims=SQUARE, node=40, sequence=2_001 if again else None)
    return filled(Work(us=300, dims=SQUARE, sequence=40), repeated, Work(us=600, dims=SQUARE, node=39))


def test_activations_computed_twice_are_found(tmp_path: Path) -> None:
    """300 of 1,240 µs."""
    report = checkpointed(again=True).report(tmp_path)
    finding = found(report, "recomputation")
    assert finding.share_fraction == pytest.approx(300 / 1_240)
    assert finding.recovered_s == pytest.approx(300e-6)
    assert "checkpoint fewer layers" in advice(report, "recomputation")


def test_products_of_an_ordinary_backward_pass_repeat_nothing(tmp_path: Path) -> None:
    assert "recomputation" not in codes(checkpointed(again=False).report(tmp_path))


# Short products -----------------------------------------------------------------------------------


def test_products_that_are_short_and_slow_are_advised_larger_ones(tmp_path: Path) -> None:
    """2 MFLOP in 40 µs."""
    small = Work(us=40, dims=((128, 64), (64, 128)))
    report = filled(*[small] * 10).report(tmp_path)
    finding = found(report, "matmul")
    assert finding.share_fraction == pytest.approx(400 / 440, rel=0.001)
    assert "a larger batch or wider layers" in advice(report, "matmul")
    assert finding.recovered_s is None


def test_products_that_are_long_and_slow_have_no_reason_to_show(tmp_path: Path) -> None:
    assert "matmul" not in codes(filled(*[Work(us=60, dims=((128, 64), (64, 128)))] * 10).report(tmp_path))


def test_products_that_are_short_and_quick_are_no_finding(tmp_path: Path) -> None:
    """17.2 GFLOP in 40 µs are 430 of 989.4 TFLOP/s."""
    quick = Work(us=40, dims=((2048, 2048), (2048, 2048)))
    assert "matmul" not in codes(filled(*[quick] * 10).report(tmp_path))


# Sizes --------------------------------------------------------------------------------------------

TOKENS, WIDTH, VOCABULARY = 1024, 768, 50257


def head(
    tokens: int = TOKENS,
    width: int = WIDTH,
    vocabulary: int = VOCABULARY,
    dtype: str = BF16,
    kernel: str = GEMM,
) -> Training:
    """Activations times weights, then a product that fits."""
    weights = Work(us=400, dims=((tokens, width), (width, vocabulary)), dtype=dtype, kernel=kernel)
    return filled(weights, Work(us=600, dims=SQUARE, dtype=dtype, kernel=kernel))


def test_an_odd_vocabulary_is_advised_padding(tmp_path: Path) -> None:
    """400 of 1,040 µs."""
    report = head().report(tmp_path, device=H100)
    finding = found(report, "alignment")
    assert finding.share_fraction == pytest.approx(400 / 1_040)
    assert finding.advice == ("pad the vocabulary: 50257 → 50304",)
    assert finding.evidence == (
        "50257 is no multiple of 8: aten::mm [1024,768] x [768,50257], 38.5 % of the step with such",
    )
    assert finding.recovered_s is None


def test_an_odd_width_is_padded_to_eight(tmp_path: Path) -> None:
    report = head(width=1001, vocabulary=4096).report(tmp_path)
    assert found(report, "alignment").advice == ("pad it: 1001 → 1008",)


def test_sizes_that_fit_are_no_finding(tmp_path: Path) -> None:
    assert "alignment" not in codes(head(vocabulary=50304).report(tmp_path))


def test_the_number_of_tokens_is_not_to_be_padded(tmp_path: Path) -> None:
    """788 = 4 x 197, as vision transformers have."""
    assert "alignment" not in codes(head(tokens=788, vocabulary=4096).report(tmp_path))


def test_products_in_fp32_have_no_such_pieces(tmp_path: Path) -> None:
    assert "alignment" not in codes(head(dtype="float", kernel=GEMM_FP32).report(tmp_path, device=A100))


def test_sizes_of_products_in_backward_alone_are_not_those_of_weights(tmp_path: Path) -> None:
    """The gradient of weights multiplies two activations."""
    gradient = Work(us=400, dims=((WIDTH, 788), (788, 1001)), node=40)
    assert "alignment" not in codes(filled(gradient, Work(us=600, dims=SQUARE)).report(tmp_path))


def test_the_weights_in_backward_count_to_the_share(tmp_path: Path) -> None:
    """400 µs forward and 300 backward of 1,340."""
    forward = Work(us=400, dims=((TOKENS, WIDTH), (WIDTH, VOCABULARY)))
    backward = Work(us=300, dims=((TOKENS, VOCABULARY), (VOCABULARY, WIDTH)), node=40)
    report = filled(forward, backward, Work(us=600, dims=SQUARE)).report(tmp_path)
    assert found(report, "alignment").share_fraction == pytest.approx(700 / 1_340)


def test_small_shares_of_such_products_are_no_finding(tmp_path: Path) -> None:
    """40 of 1,080 µs."""
    small = Work(us=40, dims=((TOKENS, WIDTH), (WIDTH, VOCABULARY)))
    report = filled(Work(us=1_000, dims=SQUARE), small).report(tmp_path)
    assert "alignment" not in codes(report)
