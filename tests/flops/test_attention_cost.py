"""Attention: two matmuls forward, four and one recomputed backward, over heads x len_q x len_kv scores."""

from __future__ import annotations

import pytest

from mfu_profiler.flops import OpCall, op_cost

from .helpers import call, flop

# batch 2, 3 heads, 5 queries, 7 keys, dims 8 and 16: 2*3*5*7 = 210 scores
BHSD = ([2, 3, 5, 8], [2, 3, 7, 8], [2, 3, 7, 16], [2, 3, 5, 16])
BSHD = ([2, 5, 3, 8], [2, 7, 3, 8], [2, 7, 3, 16], [2, 5, 3, 16])
SCORES = 210
FORWARD = 2 * SCORES * (8 + 16)
BACKWARD = 2 * SCORES * (8 + 8 + 16 + 16)
RECOMPUTED = 2 * SCORES * 8


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("aten::scaled_dot_product_attention", BHSD),
        ("aten::_scaled_dot_product_flash_attention", BHSD),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", BHSD),
        ("aten::_scaled_dot_product_efficient_attention", BHSD),
        ("aten::_scaled_dot_product_cudnn_attention", BHSD),
        ("aten::_scaled_dot_product_fused_attention_overrideable", BHSD),
        ("aten::_cudnn_attention_forward", BHSD),
        ("flex_attention", BHSD),
        ("aten::_flash_attention_forward", BSHD),
        ("aten::_efficient_attention_forward", BSHD),
        ("flash_attn::_flash_attn_forward", BSHD),
        ("flash_attn_3::fwd", BSHD),
        ("xformers_flash::flash_fwd", BSHD),
        ("xformers::efficient_attention_forward_cutlass", BSHD),
        ("aiter::_flash_attn_forward", BSHD),
        ("FlashAttnFunc", BSHD),
    ],
)
def test_every_forward_is_two_matmuls(name: str, layout: tuple[list[int], ...]) -> None:
    assert flop(name, *layout[:3]) == FORWARD


@pytest.mark.parametrize(
    ("name", "layout", "before"),
    [
        ("aten::_scaled_dot_product_flash_attention_backward", BHSD, 0),
        ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", BHSD, 0),
        ("aten::_scaled_dot_product_efficient_attention_backward", BHSD, 0),
        ("aten::_scaled_dot_product_cudnn_attention_backward", BHSD, 0),
        ("aten::_scaled_dot_product_fused_attention_overrideable_backward", BHSD, 0),
        ("aten::_cudnn_attention_backward", BHSD, 0),
        ("aten::_flash_attention_backward", BSHD, 0),
        ("aten::_efficient_attention_backward", BSHD, 0),
        ("flash_attn::_flash_attn_backward", BSHD, 0),
        ("flash_attn_3::bwd", BSHD, 0),
        ("xformers_flash::flash_bwd", BSHD, 1),
    ],
)
def test_every_backward_is_four_matmuls_and_one_recomputed(
    name: str, layout: tuple[list[int], ...], before: int
) -> None:
    query, key, value, gradient = layout
    cost = op_cost(call(name, *[[]] * before, gradient, query, key, value))
    assert cost is not None
    assert (cost.model_flop, cost.recompute_flop) == (BACKWARD, RECOMPUTED)
    assert flop(name, *[[]] * before, query, query, key, value) is None  # no gradient of the output's shape


def test_grouped_queries_cost_as_many_scores_as_there_are_query_heads() -> None:
    name = "aten::_scaled_dot_product_flash_attention"
    assert flop(name, [2, 6, 5, 8], [2, 3, 7, 8], [2, 3, 7, 16]) == 2 * FORWARD
    assert flop(name, [2, 5, 5, 8], [2, 3, 7, 8], [2, 3, 7, 16]) is None


def test_the_composite_takes_three_dimensions() -> None:
    assert flop("aten::scaled_dot_product_attention", [3, 5, 8], [3, 7, 8], [3, 7, 16]) == FORWARD // 2
    assert flop("aten::_flash_attention_forward", [5, 3, 8], [7, 3, 8], [7, 3, 16]) is None


SQUARE = [[2, 3, 8, 4]] * 3


@pytest.mark.parametrize(
    ("name", "concrete"),
    [
        ("aten::scaled_dot_product_attention", {4: "0.", 5: "True"}),
        ("aten::_scaled_dot_product_flash_attention", {3: "0.", 4: "True", 5: "False", 6: "0.5"}),
        ("aten::_scaled_dot_product_flash_attention", {6: "0.", 7: "True", 8: "False", 9: "0.5"}),  # fp8
        ("aten::_scaled_dot_product_efficient_attention", {4: "False", 5: "0.", 6: "True"}),
        ("aten::_scaled_dot_product_cudnn_attention", {4: "False", 5: "0.", 6: "True"}),
    ],
)
def test_a_causal_call_says_its_halved_figure_beside_the_full_one(
    name: str, concrete: dict[int, str]
) -> None:
    cost = op_cost(call(name, *SQUARE, concrete=concrete))
    assert cost is not None
    assert cost.model_flop == 2 * (2 * 3 * 8 * 8) * (4 + 4)
    assert cost.causal_model_flop == cost.model_flop // 2
    silent = op_cost(call(name, *SQUARE, concrete={**concrete, **dict.fromkeys((5, 4, 6, 7), "False")}))
    assert silent is not None
    assert silent.causal_model_flop is None


def test_efficient_attention_says_causal_by_its_mask_type() -> None:
    for mask_type, halved in (("0", False), ("1", True), ("2", True)):
        cost = op_cost(call("aten::_efficient_attention_forward", *SQUARE, concrete={9: mask_type}))
        assert cost is not None
        assert (cost.causal_model_flop is not None) is halved


def test_a_causal_mask_over_unequal_lengths_does_not_halve() -> None:
    """One new token against a cache of 100 sees all of it."""
    name = "aten::_scaled_dot_product_flash_attention"
    cost = op_cost(call(name, [1, 2, 1, 4], [1, 2, 100, 4], [1, 2, 100, 4], concrete={4: "True"}))
    assert cost is not None
    assert cost.causal_model_flop is None


def _packed(total: int, ends: int, longest: int) -> int | None:
    """FLOP of ``_flash_attention_forward`` over packed tokens with 2 heads of dim 4: 32 per pair."""
    shape = [total, 2, 4]
    return flop(
        "aten::_flash_attention_forward", shape, shape, shape, [ends], [ends],
        concrete={5: str(longest), 6: str(longest), 8: "True"},
    )  # fmt: skip


def test_packed_sequences_cost_what_their_lengths_imply() -> None:
    per_pair = 2 * 2 * (4 + 4)
    assert _packed(total=30, ends=4, longest=10) == per_pair * 3 * 10 * 10  # three full sequences
    assert _packed(total=30, ends=2, longest=64) == per_pair * 30 * 30  # a single one


def test_packed_sequences_of_unknown_lengths_have_no_cost() -> None:
    """30 tokens in 4 sequences of at most 10: (10, 10, 10, 0) or (10, 10, 5, 5)?"""
    assert _packed(total=30, ends=5, longest=10) is None


def test_a_full_query_side_is_enough() -> None:
    """Two queries of one token each against caches of 3 and 6: 9 pairs whatever the split."""
    concrete = {5: "1", 6: "6", 9: "True"}
    name = "flash_attn::_flash_attn_varlen_forward"
    cost = flop(name, [2, 2, 4], [9, 2, 4], [9, 2, 4], [3], [3], concrete=concrete)
    assert cost == 2 * 2 * (4 + 4) * 9


def test_a_paged_cache_has_no_cost() -> None:
    """A page table or used lengths say, in data, how much of the cache is read."""
    shapes = [[2, 1, 3, 8], [2, 64, 3, 8], [2, 64, 3, 8]]
    used = [*shapes, *[[]] * 8, [2]]  # flash-attn 3's seqused_k is argument 11
    assert flop("flash_attn_3::fwd", *shapes) is not None
    assert flop("flash_attn_3::fwd", *used) is None


def test_autograd_names_of_flash_attention_cost_the_same() -> None:
    """They record tensors only; the backward only its gradient, and so needs the forward's inputs."""
    assert flop("FlashAttnQKVPackedFunc", [2, 8, 3, 6, 4]) == 4 * (2 * 6 * 8 * 8) * 4
    assert flop("FlashAttnKVPackedFunc", [2, 5, 6, 4], [2, 8, 2, 3, 4]) == 4 * (2 * 6 * 5 * 8) * 4
    query, key, value, gradient = (tuple(shape) for shape in BSHD)
    backward = OpCall("FlashAttnFuncBackward", (gradient,), paired_shapes=(query, key, value))
    cost = op_cost(backward)
    assert cost is not None
    assert (cost.model_flop, cost.recompute_flop) == (BACKWARD, RECOMPUTED)
    assert op_cost(OpCall("FlashAttnFuncBackward", (gradient,))) is None


def test_bytes_are_what_flash_attention_must_move() -> None:
    query, key, value, out = 2 * 3 * 5 * 8, 2 * 3 * 7 * 8, 2 * 3 * 7 * 16, 2 * 3 * 5 * 16
    name = "aten::_scaled_dot_product_flash_attention"
    forward = op_cost(call(name, *BHSD[:3], dtype="c10::BFloat16"))
    assert forward is not None
    assert forward.byte == 2 * (query + key + value + out)
    tensors = (BHSD[3], *BHSD[:3], BHSD[3])
    backward = op_cost(call(f"{name}_backward", *tensors, dtype="c10::BFloat16"))
    assert backward is not None
    assert backward.byte == 2 * (2 * out + 2 * (query + key + value))
