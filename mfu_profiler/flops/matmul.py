"""Dense matrix products: mm, addmm, bmm, linear, matmul, mv, dot and their kin.

A product of (m, k) and (k, n) is 2*m*n*k FLOP, as in torch's ``flop_registry``:

- a bias or an accumulator that is added is not counted (TraceLens adds m*n);
- the last multiply-add counts 2 like the others (not 2k - 1);
- a complex multiply-add counts 2 as well, where a real machine needs 8;
- ``aten::dot``, ``mv`` and outer products, which torch does not count, are products with n, m or k of 1.

``matmul`` and ``linear`` usually contain ``mm`` or ``addmm``: whoever sums must take the innermost op.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import prod

from mfu_profiler.flops.arguments import (
    dtype_at,
    flags_at,
    int_at,
    require,
    shape_at,
    shape_list_at,
    traffic_byte,
)
from mfu_profiler.flops.call import OpCall, OpCost, Shape
from mfu_profiler.flops.dtypes import dtype_named, scalar_type_name
from mfu_profiler.flops.formula import Formula

__all__ = ["MATMUL_FORMULAS", "product_shape", "result_dtype"]


@dataclass(frozen=True, slots=True)
class MatmulArguments:
    """Where an op of this family keeps its arguments, as indices into its schema."""

    left: int = 0
    right: int = 1
    ranks: tuple[int, int] | None = None
    """Ranks of the operands; None: as ``torch.matmul`` allows."""
    right_is_transposed: bool = False
    """The right operand is a weight of shape (n, k), as in ``linear``."""
    is_outer: bool = False
    """Vectors m and n give a matrix m x n: k is 1."""
    sums_batch: bool = False
    """The products of a batch are added up into one matrix."""
    added: int | None = None
    """The accumulator or bias."""
    beta: int | None = None
    """Its factor; 0 means that it is not read."""
    scales: tuple[int, ...] = ()
    """Scale tensors of quantized operands, which are read too."""
    out_dtype: int | None = None
    """The ``ScalarType`` of the result, where the op has that argument."""
    result: str | None = None
    """The dtype of the result, where the op fixes it."""


def product_shape(left: Shape, right: Shape) -> tuple[Shape, int]:
    """Shape of ``torch.matmul(left, right)`` and the length k of the dimension that it sums over.

    Vectors act as a row (left) or column (right) and vanish from the result; leading dimensions
    broadcast. Raises ``NoCostError`` where the shapes do not fit.
    """
    k = left[-1]
    right_k = right[-2] if len(right) > 1 else right[0]
    require(k == right_k, f"inner dimensions {k} and {right_k} differ")
    batch = _broadcast(left[:-2], right[:-2])
    rows = left[-2:-1]
    columns = right[-1:] if len(right) > 1 else ()
    return (*batch, *rows, *columns), k


def result_dtype(call: OpCall, operand: int, out_dtype: int | None, shape: Shape) -> str | None:
    """Dtype of the result: an ``out=`` tensor's, or the one asked for, or else the operand's."""
    trailing = len(call.shapes) - 1
    if trailing > 1 and call.shapes[trailing] == shape and dtype_at(call, trailing):
        return dtype_at(call, trailing)
    number = int_at(call, out_dtype) if out_dtype is not None else None
    return dtype_at(call, operand) if number is None else scalar_type_name(number)


def _broadcast(left: Shape, right: Shape) -> Shape:
    length = max(len(left), len(right))
    padded_left = (1,) * (length - len(left)) + left
    padded_right = (1,) * (length - len(right)) + right
    sizes = list(zip(padded_left, padded_right, strict=True))
    require(all(a == b or 1 in (a, b) for a, b in sizes), f"batches {left} and {right} do not broadcast")
    return tuple(b if a == 1 else a for a, b in sizes)


def _operands(call: OpCall, where: MatmulArguments) -> tuple[Shape, Shape]:
    ranks = where.ranks
    left = shape_at(call, where.left, *(ranks[:1] if ranks else ()))
    right = shape_at(call, where.right, *(ranks[1:] if ranks else ()))
    if where.right_is_transposed:
        require(len(right) <= 2, "a weight has one or two dimensions")
        return left, right[::-1]
    if where.is_outer:
        return (*left, 1), (1, *right)
    if len(left) == 3 == len(right) and ranks:
        require(left[0] == right[0], "batch sizes differ")
    return left, right


def _packed_values(call: OpCall, where: MatmulArguments) -> int:
    """Values per stored item along k: two where both operands are float4_e2m1fn_x2.

    torch's registry takes the stored size for k, and so counts an fp4 product by half.
    """
    dtypes = [dtype_named(dtype_at(call, index) or "") for index in (where.left, where.right)]
    return min(dtype.packed if dtype else 1 for dtype in dtypes)


def _matmul_cost(call: OpCall, where: MatmulArguments) -> OpCost:
    shape, k = product_shape(*_operands(call, where))
    stored_shape = shape[1:] if where.sums_batch else shape
    reads = [where.left, where.right, *where.scales]
    if where.added is not None and not (where.beta is not None and _is_zero(call, where.beta)):
        reads.append(where.added)
    dtype = where.result or result_dtype(call, where.left, where.out_dtype, stored_shape)
    return OpCost(
        model_flop=2 * prod(shape) * k * _packed_values(call, where),
        byte=traffic_byte(call, reads, [(prod(stored_shape), dtype)]),
    )


def _is_zero(call: OpCall, index: int) -> bool:
    if call.concrete is None or index >= len(call.concrete):
        return False
    return call.concrete[index] in ("0", "0.", "0.0", "-0.")


def _two_products_cost(call: OpCall) -> OpCost:
    """``inductor::_mm_plus_mm``: a @ b + c @ d."""
    shape, k = product_shape(shape_at(call, 0, 2), shape_at(call, 1, 2))
    other_shape, other_k = product_shape(shape_at(call, 2, 2), shape_at(call, 3, 2))
    require(shape == other_shape, "the two products have different shapes")
    written = [(prod(shape), dtype_at(call, 0))]
    return OpCost(2 * prod(shape) * (k + other_k), byte=traffic_byte(call, (0, 1, 2, 3), written))


def _product_list_cost(call: OpCall) -> OpCost:
    """``aten::_foreach_mm``: one product per pair. A trace names no dtypes inside a list: no bytes."""
    lefts, rights = shape_list_at(call, 0), shape_list_at(call, 1)
    require(len(lefts) == len(rights), "lists of different lengths")
    products = [product_shape(left, right) for left, right in zip(lefts, rights, strict=True)]
    return OpCost(2 * sum(prod(shape) * k for shape, k in products))


def _linear_gradients_cost(call: OpCall) -> OpCost:
    """``linear_backward(input, grad_output, weight, output_mask)``: each gradient is one product."""
    given, gradient = shape_at(call, 0), shape_at(call, 1)
    require(given[:-1] == gradient[:-1], "input and gradient have different rows")
    wanted = flags_at(call, 3) or (True, True)
    reads = [1, *[2] * wanted[0], *[0] * wanted[1]]
    writes = [prod(given)] * wanted[0] + [given[-1] * gradient[-1]] * wanted[1]
    return OpCost(
        model_flop=2 * sum(wanted[:2]) * prod(gradient) * given[-1],
        byte=traffic_byte(call, reads, [(elements, dtype_at(call, 0)) for elements in writes]),
    )


def _linear_input_gradient_cost(call: OpCall) -> OpCost:
    """``mkldnn_linear_backward_input(input_size, grad_output, weight)``."""
    shape, k = product_shape(shape_at(call, 1), shape_at(call, 2, 2))
    return OpCost(2 * prod(shape) * k, byte=traffic_byte(call, (1, 2), [(prod(shape), dtype_at(call, 1))]))


def _linear_weight_gradient_cost(call: OpCall) -> OpCost:
    """``mkldnn_linear_backward_weights(grad_output, input, weight, bias_defined)``."""
    gradient, given = shape_at(call, 0), shape_at(call, 1)
    require(given[:-1] == gradient[:-1], "input and gradient have different rows")
    written = [(gradient[-1] * given[-1], dtype_at(call, 0))]
    return OpCost(2 * prod(gradient) * given[-1], byte=traffic_byte(call, (0, 1), written))


_MM = MatmulArguments(ranks=(2, 2), out_dtype=2)
_ADDMM = MatmulArguments(left=1, right=2, ranks=(2, 2), added=0, beta=3)
_BADDBMM = MatmulArguments(left=1, right=2, ranks=(3, 3), added=0, beta=3)
_ADDBMM = MatmulArguments(left=1, right=2, ranks=(3, 3), added=0, beta=3, sums_batch=True)
_LINEAR = MatmulArguments(right_is_transposed=True, added=2)
_OUTER = MatmulArguments(ranks=(1, 1), is_outer=True)
_SCALED = MatmulArguments(ranks=(2, 2), added=4, scales=(2, 3), out_dtype=6)
_FBGEMM = MatmulArguments(right_is_transposed=True, scales=(2, 3), added=4, result="BFloat16")

_ARGUMENTS: Mapping[str, MatmulArguments] = {
    "aten::mm": _MM,
    "aten::addmm": _ADDMM,
    "aten::addmm_": _ADDMM,
    "aten::_addmm_activation": _ADDMM,
    "aten::bmm": MatmulArguments(ranks=(3, 3), out_dtype=2),
    "aten::baddbmm": _BADDBMM,
    "aten::baddbmm_": _BADDBMM,
    "aten::addbmm": _ADDBMM,
    "aten::addbmm_": _ADDBMM,
    "aten::matmul": MatmulArguments(),
    "aten::linalg_matmul": MatmulArguments(),
    "aten::linear": _LINEAR,
    "aten::mkldnn_linear": _LINEAR,
    "aten::mv": MatmulArguments(ranks=(2, 1)),
    "aten::addmv": MatmulArguments(left=1, right=2, ranks=(2, 1), added=0, beta=3),
    "aten::addmv_": MatmulArguments(left=1, right=2, ranks=(2, 1), added=0, beta=3),
    "aten::dot": MatmulArguments(ranks=(1, 1)),
    "aten::vdot": MatmulArguments(ranks=(1, 1)),
    "aten::outer": _OUTER,
    "aten::ger": _OUTER,
    "aten::addr": MatmulArguments(left=1, right=2, ranks=(1, 1), is_outer=True, added=0, beta=3),
    "aten::addr_": MatmulArguments(left=1, right=2, ranks=(1, 1), is_outer=True, added=0, beta=3),
    "aten::_int_mm": MatmulArguments(ranks=(2, 2), result="Int"),
    "aten::_scaled_mm": _SCALED,
    # Its scales are lists, whose dtypes a trace does not name: they are left out of the bytes.
    "aten::_scaled_mm_v2": MatmulArguments(ranks=(2, 2), added=8, out_dtype=9),
    "symm_mem::_async_input_mm": MatmulArguments(ranks=(2, 2)),
    "fbgemm::f8f8bf16_rowwise": _FBGEMM,
    "fbgemm::f8f8bf16_tensorwise": MatmulArguments(right_is_transposed=True, result="BFloat16"),
}

MATMUL_FORMULAS: Mapping[str, Formula] = {
    **{
        name: Formula(partial(_matmul_cost, where=where), operands=(where.left, where.right))
        for name, where in _ARGUMENTS.items()
    },
    "inductor::_mm_plus_mm": Formula(_two_products_cost, operands=(0, 1, 2, 3)),
    "aten::_foreach_mm": Formula(_product_list_cost, operands=(0, 1)),
    "aten::linear_backward": Formula(_linear_gradients_cost, operands=(0, 1)),
    "aten::mkldnn_linear_backward": Formula(_linear_gradients_cost, operands=(0, 1)),
    "aten::mkldnn_linear_backward_input": Formula(_linear_input_gradient_cost, operands=(1, 2)),
    "aten::mkldnn_linear_backward_weights": Formula(_linear_weight_gradient_cost, operands=(0, 1)),
}
"""By op name."""
