"""Attention spelled out: a softmax between two batched products of its own size, and no other softmax."""

from __future__ import annotations

from pathlib import Path

import pytest

from .made import ADD, GEMM, SOFTMAX, SQUARE, Dims, Training, advice, codes, evidence, found
from .programs import Work, filled

HEADS, LENGTH, WIDTH = 8, 128, 64
SCORES = (HEADS, LENGTH, LENGTH)
QUERY, KEYS = (HEADS, LENGTH, WIDTH), (HEADS, WIDTH, LENGTH)
SDPA = "torch.nn.functional.scaled_dot_product_attention"
BMM_BACKWARD = "autograd::engine::evaluate_function: BmmBackward0"


def bmm(dims: Dims, sequence: int | None = None, node: int | None = None) -> Work:
    return Work("aten::bmm", 50, GEMM, dims, sequence=sequence, node=node)


def softmax(shape: tuple[int, ...] = SCORES, sequence: int | None = None) -> Work:
    return Work("aten::_softmax", 100, SOFTMAX, (shape, (), ()), sequence=sequence)


def scale(sequence: int | None = None, node: int | None = None) -> Work:
    return Work("aten::mul", 100, ADD, (SCORES, ()), sequence=sequence, node=node)


MM = Work(us=500, dims=SQUARE)
FIRST, SECOND = bmm((QUERY, KEYS), 40), bmm((SCORES, QUERY), 43)
BACKWARD = (
    bmm((SCORES, QUERY), node=43),
    scale(node=42),
    scale(node=41),
    bmm((SCORES, QUERY), node=40),
)
"""Of the products and of what lies between them."""


def spelled_out(*backward: Work) -> Training:
    return filled(MM, FIRST, scale(41), softmax(sequence=42), SECOND, *backward)


def test_a_softmax_between_its_products_is_advised_one_kernel(tmp_path: Path) -> None:
    """Forward 100 and 100 µs lie between products, backward as many: 400 of 1,140."""
    report = spelled_out(*BACKWARD).report(tmp_path)
    finding = found(report, "attention")
    assert finding.share_fraction == pytest.approx(400 / 1_140)
    assert finding.recovered_s == pytest.approx(400e-6)
    assert finding.advice == (f"{SDPA}(q, k, v, is_causal=...)",)
    assert evidence(report, "attention").startswith("1 softmax a step between two batched products")


def test_attention_without_a_backward_pass_is_found_as_well(tmp_path: Path) -> None:
    assert found(spelled_out().report(tmp_path), "attention").share_fraction == pytest.approx(200 / 840)


def test_a_host_that_is_a_step_ahead_hides_nothing(tmp_path: Path) -> None:
    made = filled(MM, FIRST, scale(41), softmax(sequence=42), SECOND, *BACKWARD, ahead=1)
    report = made.report(tmp_path)
    assert found(report, "attention").share_fraction == pytest.approx(400 / 1_140)
    assert evidence(report, "attention").startswith("1 softmax a step between two batched products")


def test_a_torch_without_the_kernel_is_advised_nothing(tmp_path: Path) -> None:
    report = spelled_out(*BACKWARD).report(tmp_path / "old", torch="1.13.1")
    assert advice(report, "attention") == ""
    unknown = spelled_out(*BACKWARD).report(tmp_path / "unknown", torch=None)
    assert advice(unknown, "attention").endswith("(since torch 2.0)")


def test_a_softmax_of_a_loss_is_no_attention(tmp_path: Path) -> None:
    """Behind the last product: nothing reads it as a batch."""
    loss = softmax((HEADS * LENGTH, LENGTH))
    assert "attention" not in codes(filled(MM, FIRST, scale(), SECOND, loss, loss).report(tmp_path))


def test_a_softmax_without_batched_products_is_no_attention(tmp_path: Path) -> None:
    assert "attention" not in codes(filled(MM, scale(), softmax(), MM).report(tmp_path))


def test_a_softmax_before_the_first_product_is_no_attention(tmp_path: Path) -> None:
    assert "attention" not in codes(filled(MM, softmax(), FIRST, SECOND).report(tmp_path))


@pytest.mark.parametrize(
    ("before", "between", "after"),
    [
        (FIRST, softmax((HEADS, LENGTH, 2 * LENGTH)), SECOND),
        (bmm((QUERY, (HEADS, WIDTH, 2 * LENGTH))), softmax(), SECOND),
        (FIRST, softmax(), bmm(((HEADS, LENGTH, 2 * LENGTH), QUERY))),
    ],
)
def test_products_of_another_size_are_no_attention(
    tmp_path: Path, before: Work, between: Work, after: Work
) -> None:
    assert "attention" not in codes(filled(MM, before, scale(), between, after).report(tmp_path))


def test_products_far_away_are_no_attention(tmp_path: Path) -> None:
    """70 ops between the first product and the softmax; then 50."""
    far = filled(MM, FIRST, *[scale()] * 70, softmax(), SECOND).report(tmp_path / "far")
    near = filled(MM, FIRST, *[scale()] * 50, softmax(), SECOND).report(tmp_path / "near")
    assert "attention" not in codes(far) and "attention" in codes(near)


def test_attention_in_one_kernel_is_no_finding(tmp_path: Path) -> None:
    name = "aten::_scaled_dot_product_flash_attention"
    fused = Work(name, 400, "pytorch_flash::flash_fwd_kernel", ((1, 8, 128, 64),) * 3)
    assert "attention" not in codes(filled(MM, fused, MM).report(tmp_path))


def test_little_time_between_the_products_is_no_finding(tmp_path: Path) -> None:
    """200 of 5,340 µs."""
    wide = Work(us=5_000, dims=SQUARE)
    report = filled(wide, FIRST, scale(41), softmax(sequence=42), SECOND).report(tmp_path)
    assert "attention" not in codes(report)
