"""From decoded JSON to a call; dtype names; bytes of ops without formula; and that junk is harmless."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mfu_profiler.flops import (
    OpCall,
    dtype_named,
    formula_names,
    generic_byte,
    has_formula,
    matmul_dtype,
    op_call,
    op_cost,
)

from .helpers import call


def test_an_event_becomes_a_call() -> None:
    made = op_call("aten::cat", [[[2, 3], [4, 3]], []], ["TensorList", "Scalar"], ["", "0"])
    assert made == OpCall("aten::cat", (((2, 3), (4, 3)), ()), ("TensorList", "Scalar"), ("", "0"))
    assert hash(made) == hash(made)


@pytest.mark.parametrize(
    ("name", "dims"),
    [(None, [[2]]), ("aten::mm", None), ("aten::mm", "2x3"), ("aten::mm", [[2, "3"]]), ("aten::mm", [2, 3])],
)
def test_without_a_name_or_shapes_there_is_no_call(name: Any, dims: Any) -> None:
    assert op_call(name, dims) is None


def test_a_trace_of_2020_has_no_dtypes_and_no_concrete_inputs() -> None:
    made = op_call("aten::mm", [[2, 3], [3, 5]], [], None)
    assert made == OpCall("aten::mm", ((2, 3), (3, 5)), (), None)


@pytest.mark.parametrize(
    ("name", "size", "precision"),
    [
        ("float", 4, "fp32"),
        ("c10::BFloat16", 2, "bf16"),
        ("torch.bfloat16", 2, "bf16"),
        ("BFloat16", 2, "bf16"),
        ("c10::Half", 2, "fp16"),
        ("c10::Float8_e4m3fn", 1, "fp8"),
        ("torch.float8_e5m2fnuz", 1, "fp8"),
        ("c10::Float4_e2m1fn_x2", 1, "fp4"),
        ("c10::Float8_e8m0fnu", 1, None),
        ("signed char", 1, "int8"),
        ("long int", 8, None),
        ("c10::complex<float>", 8, "fp32"),
    ],
)
def test_dtype_names(name: str, size: int, precision: str | None) -> None:
    dtype = dtype_named(name)
    assert dtype is not None
    assert (dtype.size_byte, dtype.precision) == (size, precision)


@pytest.mark.parametrize("name", ["", "Scalar", "ScalarList", "TensorList", "GenericList"])
def test_kinds_that_are_no_tensors_are_no_dtypes(name: str) -> None:
    assert dtype_named(name) is None


def test_ops_without_matmul_have_no_formula() -> None:
    for name in ("aten::add", "aten::embedding", "aten::_softmax", "aten::_thnn_fused_lstm_cell"):
        assert not has_formula(name)
        assert op_cost(call(name, [2, 3], [2, 3])) is None


@pytest.mark.parametrize(
    ("name", "shapes", "elements"),
    [
        ("aten::add", [[8, 4], [4]], 32 + 4 + 32),
        ("aten::relu", [[8, 4]], 32 + 32),
        ("aten::native_batch_norm", [[2, 3, 5, 5], [3], [3]], 150 + 3 + 3 + 150),
        ("aten::copy_", [[8, 4], [8, 4]], 32 + 32),
        ("aten::fill_", [[8, 4], []], 32),
        ("aten::sum", [[8, 4]], 32),
        ("aten::embedding", [[1000, 4], [6]], 6 + 2 * 6 * 4),
    ],
)
def test_other_ops_read_their_inputs_and_write_their_output(
    name: str, shapes: list[list[int]], elements: int
) -> None:
    assert generic_byte(call(name, *shapes)) == 4 * elements


def test_bytes_are_unknown_where_dtypes_are() -> None:
    assert generic_byte(OpCall("aten::add", ((8, 4),), ())) is None
    assert generic_byte(OpCall("aten::_foreach_add_", (((8, 4), (3,)),), ("TensorList",))) is None
    assert generic_byte(OpCall("aten::item", ((),), ("float",))) is None


SIZES = st.integers(-3, 9) | st.sampled_from((10**30, True))
SHAPES = st.lists(SIZES, max_size=6).map(tuple)
ARGUMENTS: st.SearchStrategy[Any] = SHAPES | st.lists(SHAPES, max_size=5).map(tuple) | st.just(("x", None))
TEXTS = st.sampled_from(
    ("", "True", "False", "0", "1", "2", "-1", "[1, 1]", "[0]", "[]", "[", "[True, True]")
)


@st.composite
def junk_calls(draw: st.DrawFn) -> OpCall:
    return OpCall(
        name=draw(st.sampled_from((*sorted(formula_names()), "aten::add", "aten::embedding"))),
        shapes=tuple(draw(st.lists(ARGUMENTS, max_size=12))),
        dtypes=tuple(draw(st.lists(st.sampled_from(("float", "c10::Half", "", "x")), max_size=12))),
        concrete=draw(st.none() | st.lists(TEXTS, max_size=26).map(tuple)),
        strides=draw(st.none() | st.lists(ARGUMENTS, max_size=12).map(tuple)),
        paired_shapes=draw(st.none() | st.lists(ARGUMENTS, max_size=5).map(tuple)),
    )


@settings(deadline=None, max_examples=800, derandomize=True)
@example(OpCall("aten::conv2d", ((1, 1, 3, 3), (1, 0, 3, 3))))
@example(OpCall("aten::mm", ((10**30, 2), (2, 2))))
@example(OpCall("aten::add", ((10**30, 2),), ("float",)))
@example(OpCall("aten::_weight_int4pack_mm", ((2, 0), (1,))))
@given(junk_calls())
def test_junk_has_no_cost_or_one_that_fits_an_int64_but_never_raises(junk: OpCall) -> None:
    cost = op_cost(junk)
    if cost is not None:
        counts = (cost.model_flop, cost.recompute_flop, cost.byte or 0, cost.causal_model_flop or 0)
        assert all(0 <= count < 2**63 for count in counts)
    assert 0 <= (generic_byte(junk) or 0) < 2**63
    matmul_dtype(junk)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=12,
)


@settings(deadline=None, max_examples=500, derandomize=True)
@given(JSON, JSON, JSON, JSON)
def test_any_json_makes_a_call_or_none(dims: Any, types: Any, concrete: Any, paired: Any) -> None:
    made = op_call("aten::convolution", dims, types, concrete, strides=types, paired_shapes=paired)
    assert made is None or op_cost(made) is None or made.shapes


def test_the_package_does_not_import_torch() -> None:
    code = "import sys, mfu_profiler.flops; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
