"""Matrix products, by numbers small enough to check by eye. (2, 3) @ (3, 5) is 2*2*3*5 = 60 FLOP."""

from __future__ import annotations

import pytest

from mfu_profiler.flops import OpCall, OpCost, matmul_dtype, op_call, op_cost

from .helpers import call, flop


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("aten::mm", [[2, 3], [3, 5]]),
        ("aten::mm", [[2, 3], [3, 5], [2, 5]]),  # out=
        ("aten::addmm", [[5], [2, 3], [3, 5], [], []]),
        ("aten::addmm_", [[2, 5], [2, 3], [3, 5], [], []]),
        ("aten::_addmm_activation", [[5], [2, 3], [3, 5], [], [], []]),
        ("aten::matmul", [[2, 3], [3, 5]]),
        ("aten::linear", [[2, 3], [5, 3], [5]]),
        ("aten::linear", [[1, 2, 3], [5, 3], []]),
        ("aten::mkldnn_linear_backward_input", [[], [2, 3], [3, 5]]),
        ("aten::mkldnn_linear_backward_weights", [[2, 3], [2, 5], [3, 5], []]),
        ("aten::_int_mm", [[2, 3], [3, 5]]),
        ("aten::_scaled_mm", [[2, 3], [3, 5], [], [], [], [], [], []]),
        ("aten::_scaled_mm_v2", [[2, 3], [3, 5], [[]], [], [], [[]], [], [], [], [], [], []]),
        ("fbgemm::f8f8bf16_rowwise", [[2, 3], [5, 3], [2], [5]]),
    ],
)
def test_two_by_three_times_three_by_five_is_60_flop_and_a_bias_is_free(
    name: str, shapes: list[list[int]]
) -> None:
    assert flop(name, *shapes) == 60


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("aten::bmm", [[7, 2, 3], [7, 3, 5]]),
        ("aten::baddbmm", [[7, 2, 5], [7, 2, 3], [7, 3, 5], [], []]),
        ("aten::addbmm", [[2, 5], [7, 2, 3], [7, 3, 5], [], []]),
        ("aten::matmul", [[7, 2, 3], [3, 5]]),
        ("aten::matmul", [[2, 3], [7, 3, 5]]),
        ("aten::matmul", [[7, 1, 2, 3], [1, 3, 5]]),
        ("aten::linear", [[7, 2, 3], [5, 3], [5]]),
        ("aten::_grouped_mm", [[7, 2, 3], [7, 3, 5], [], [], []]),
    ],
)
def test_a_batch_of_seven_is_seven_times_as_much(name: str, shapes: list[list[int]]) -> None:
    assert flop(name, *shapes) == 7 * 60


@pytest.mark.parametrize(
    ("name", "shapes", "expected"),
    [
        ("aten::dot", [[9], [9]], 18),
        ("aten::vdot", [[9], [9]], 18),
        ("aten::mv", [[4, 9], [9]], 72),
        ("aten::addmv", [[4], [4, 9], [9], [], []], 72),
        ("aten::matmul", [[9], [9]], 18),
        ("aten::matmul", [[4, 9], [9]], 72),
        ("aten::matmul", [[9], [9, 4]], 72),
        ("aten::outer", [[4], [9]], 72),
        ("aten::addr", [[4, 9], [4], [9], [], []], 72),
    ],
)
def test_vectors_are_matrices_with_a_size_of_one(name: str, shapes: list[list[int]], expected: int) -> None:
    assert flop(name, *shapes) == expected


@pytest.mark.parametrize(
    ("left", "right", "why"),
    [
        ([2, 3], [4, 5], "inner dimensions differ"),
        ([2, 3, 4], [4, 5], "a rank that mm does not take"),
        ([2], [2], "vectors"),
        ([], [3, 5], "an operand is missing"),
    ],
)
def test_operands_that_do_not_fit_have_no_cost(left: list[int], right: list[int], why: str) -> None:
    assert flop("aten::mm", left, right) is None, why


def test_an_empty_product_costs_nothing() -> None:
    assert op_cost(call("aten::mm", [0, 3], [3, 5])) == OpCost(0, byte=3 * 5 * 4)


@pytest.mark.parametrize(
    ("left", "right", "offsets", "expected"),
    [
        ([12, 3], [4, 3, 5], [4], 2 * 12 * 3 * 5),  # 12 tokens over 4 experts
        ([4, 2, 3], [3, 20], [4], 2 * 2 * 3 * 20),  # columns cut into 4
        ([2, 12], [12, 5], [4], 2 * 2 * 12 * 5),  # weight gradient: 12 tokens cut into 4
    ],
)
def test_grouped_products_multiply_each_token_with_one_expert(
    left: list[int], right: list[int], offsets: list[int], expected: int
) -> None:
    assert flop("aten::_grouped_mm", left, right, offsets, [], []) == expected
    scaled = [left, right, left[:1], right[:1], offsets, [], [], [], []]
    assert flop("aten::_scaled_grouped_mm", *scaled) == expected


def test_a_weight_gradient_writes_one_matrix_per_expert() -> None:
    cost = op_cost(call("aten::_grouped_mm", [2, 12], [12, 5], [4], [], [], dtype="c10::BFloat16"))
    assert cost is not None
    assert cost.byte == 2 * (2 * 12 + 12 * 5 + 4 * 2 * 5)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("aten::_weight_int8pack_mm", [[6, 64], [32, 64], [32]]),
        ("aten::_weight_int4pack_mm_for_cpu", [[6, 64], [32, 32], [], [2, 32, 2]]),
        # (n / 8, k / (inner * 16), 32, inner / 2) items of int32, inner = 2
        ("aten::_weight_int4pack_mm", [[6, 64], [4, 2, 32, 1], [], [2, 32, 2]]),
        ("aten::_weight_int4pack_mm_with_scales_and_zeros", [[6, 64], [32, 8], [], [2, 32], [2, 32]]),
    ],
)
def test_a_quantized_weight_counts_like_the_weight_it_stands_for(name: str, shapes: list[list[int]]) -> None:
    assert flop(name, *shapes) == 2 * 6 * 64 * 32


def test_of_a_2_to_4_sparse_weight_only_what_is_stored_counts() -> None:
    assert flop("aten::_sparse_semi_structured_mm", [8, 32], [8, 4], [64, 16], []) == 2 * 8 * 32 * 16
    assert flop("aten::_sparse_semi_structured_addmm", [8], [8, 32], [8, 4], [64, 16]) == 2 * 8 * 32 * 16
    assert flop("aten::_sparse_semi_structured_linear", [16, 64], [8, 32], [8, 4], []) == 2 * 8 * 32 * 16


def test_two_products_in_one_op_add_up() -> None:
    assert flop("inductor::_mm_plus_mm", [2, 3], [3, 5], [2, 4], [4, 5], [2, 5]) == 60 + 80
    listed = op_call("aten::_foreach_mm", [[[2, 3], [4, 3]], [[3, 5], [3, 5]]], ["TensorList"] * 2)
    assert listed is not None
    assert op_cost(listed) == OpCost(60 + 120)


def test_a_linear_backward_costs_one_product_per_gradient_that_is_wanted() -> None:
    shapes = ([2, 3], [2, 5], [5, 3])
    for mask, expected in (("[True, True, True]", 120), ("[False, True, False]", 60)):
        assert flop("aten::linear_backward", *shapes, concrete={3: mask}) == expected


# --- bytes -----------------------------------------------------------------------------------------


def test_bytes_are_operands_read_and_result_written() -> None:
    cost = op_cost(call("aten::mm", [2, 3], [3, 5], dtype="c10::BFloat16"))
    assert cost is not None
    assert cost.byte == 2 * (2 * 3 + 3 * 5 + 2 * 5)


def test_an_out_tensor_is_written_and_not_read() -> None:
    made = OpCall("aten::mm", ((2, 3), (3, 5), (2, 5)), ("c10::BFloat16", "c10::BFloat16", "float"))
    cost = op_cost(made)
    assert cost is not None
    assert cost.byte == 2 * (2 * 3 + 3 * 5) + 4 * (2 * 5)


def test_a_bias_is_read_unless_its_factor_is_zero() -> None:
    shapes = ([2, 5], [2, 3], [3, 5])
    read, ignored = (op_cost(call("aten::addmm", *shapes, concrete={3: beta, 4: "1"})) for beta in "10")
    assert read is not None
    assert ignored is not None
    assert (read.byte, ignored.byte) == (4 * (6 + 15 + 10 + 10), 4 * (6 + 15 + 10))


def test_an_expanded_bias_is_read_once() -> None:
    made = op_call(
        "aten::addmm", [[200, 5], [200, 3], [3, 5]], ["float"] * 3, strides=[[0, 1], [3, 1], [5, 1]]
    )
    assert made is not None
    cost = op_cost(made)
    assert cost is not None
    assert cost.byte == 4 * (5 + 200 * 3 + 3 * 5 + 200 * 5)


def test_scaled_mm_writes_the_dtype_that_it_is_asked_for() -> None:
    """The event of modded-nanogpt: e5m2 times e4m3, ``out_dtype`` 15 is bfloat16."""
    made = OpCall(
        "aten::_scaled_mm",
        ((16, 32), (32, 64), (), (), (), (), (), ()),
        ("c10::Float8_e5m2", "c10::Float8_e4m3fn", "float", "float", "", "", "Scalar", "Scalar"),
        ("", "", "", "", "", "", "15", "False"),
    )
    cost = op_cost(made)
    assert cost is not None
    assert cost.byte == 16 * 32 + 32 * 64 + 2 * 16 * 64
    assert matmul_dtype(made) == "fp8"


def test_without_dtypes_there_are_flop_but_no_bytes() -> None:
    assert op_cost(OpCall("aten::mm", ((2, 3), (3, 5)))) == OpCost(60)


# --- precision ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dtypes", "precision"),
    [
        ("aten::mm", ("float", "float"), "fp32"),
        ("aten::mm", ("c10::Half", "c10::Half"), "fp16"),
        ("aten::addmm", ("float", "c10::BFloat16", "c10::BFloat16"), "bf16"),
        ("aten::_scaled_mm", ("c10::Float8_e5m2", "c10::Float8_e4m3fn"), "fp8"),
        ("aten::_scaled_mm", ("c10::Float4_e2m1fn_x2", "c10::Float4_e2m1fn_x2"), "fp4"),
        ("aten::_int_mm", ("signed char", "signed char"), "int8"),
        ("aten::_weight_int4pack_mm", ("c10::BFloat16", "int", "Scalar", "c10::BFloat16"), "bf16"),
        ("aten::mm", ("c10::complex<float>", "c10::complex<float>"), "fp32"),
        ("aten::mm", ("double", "double"), "fp64"),
        ("aten::mm", ("long int", "long int"), None),
        ("aten::mm", (), None),
        ("aten::add", ("float", "float"), None),
    ],
)
def test_the_operands_decide_the_precision(name: str, dtypes: tuple[str, ...], precision: str | None) -> None:
    assert matmul_dtype(OpCall(name, (), dtypes)) == precision
