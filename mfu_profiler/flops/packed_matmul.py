"""Matrix products whose operands are grouped, quantized into packed weights, or 2:4 sparse.

What is counted is the work the model needs: an int4 weight counts like the bf16 weight it stands for;
of a 2:4 sparse weight only the half that is stored counts, so that the dense peak stays the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import prod

from mfu_profiler.flops.arguments import (
    NoCostError,
    dtype_at,
    int_at,
    require,
    shape_at,
    traffic_byte,
)
from mfu_profiler.flops.call import OpCall, OpCost, Shape
from mfu_profiler.flops.dtypes import dtype_named, scalar_type_name
from mfu_profiler.flops.formula import Formula
from mfu_profiler.flops.matmul import product_shape

__all__ = ["PACKED_MATMUL_FORMULAS"]


@dataclass(frozen=True, slots=True)
class GroupedArguments:
    """Where a grouped product keeps its arguments after ``self`` and ``mat2``."""

    offsets: int
    """End of each group along the dimension that is cut into groups; shape (groups,)."""
    out_dtype: int
    scales: tuple[int, ...] = ()


def grouped_product_shape(left: Shape, right: Shape, groups: int | None) -> tuple[Shape, int]:
    """Shape of a grouped product, and the product of all sizes that one multiply-add is needed for.

    ========= ============= ============ ======================= =================
    left      right         result       cut into groups         multiply-adds
    ========= ============= ============ ======================= =================
    (m, k)    (g, k, n)     (m, n)       m: tokens per expert    m*k*n
    (g, m, k) (k, n)        (m, n)       n                       m*k*n
    (m, k)    (k, n)        (g, m, n)    k: weight gradients     m*k*n
    (g, m, k) (g, k, n)     (g, m, n)    nothing: bmm            g*m*k*n
    ========= ============= ============ ======================= =================

    Every row (column, k) is taken to belong to some group: the offsets are data, which no trace holds.
    Rows behind the last offset (padding) are counted, so that a padded call is an upper bound.

    Source: the docstring of ``torch.nn.functional.grouped_mm``, and its meta function
    ``_meta_grouped_mm_common`` in torch/_meta_registrations.py.
    """
    require(left[-1] == right[-2], "inner dimensions differ")
    m, k, n = left[-2], left[-1], right[-1]
    if len(left) == 3 and len(right) == 3:
        require(left[0] == right[0], "numbers of groups differ")
        return (left[0], m, n), left[0] * m * k * n
    if len(left) == 2 and len(right) == 2:
        return (groups or 0, m, n), m * k * n
    return (m, n), m * k * n


def _grouped_cost(call: OpCall, where: GroupedArguments) -> OpCost:
    left, right = shape_at(call, 0, 2, 3), shape_at(call, 1, 2, 3)
    is_cut = len(left) == 2 or len(right) == 2
    groups = shape_at(call, where.offsets, 1)[0] if is_cut else None
    shape, multiply_adds = grouped_product_shape(left, right, groups)
    dtypes = [dtype_named(dtype_at(call, index) or "") for index in (0, 1)]
    packed = min(dtype.packed if dtype else 1 for dtype in dtypes)
    number = int_at(call, where.out_dtype)
    result = dtype_at(call, 0) if number is None else scalar_type_name(number)
    return OpCost(
        model_flop=2 * multiply_adds * packed,
        byte=traffic_byte(call, (0, 1, *where.scales), [(prod(shape), result)]),
    )


def _packed_weight_cost(call: OpCall, values_per_item: int, scales: tuple[int, ...]) -> OpCost:
    """Activations (m, k) times a weight that packs n*k small integers into fewer items, in any layout."""
    activations, weight = shape_at(call, 0, 2), shape_at(call, 1)
    k = activations[1]
    require(k > 0 and prod(weight) * values_per_item % k == 0, "the weight holds no whole rows")
    n = prod(weight) * values_per_item // k
    written = [(activations[0] * n, dtype_at(call, 0))]
    return OpCost(2 * activations[0] * k * n, byte=traffic_byte(call, (0, 1, *scales), written))


def _dynamic_int4_cost(call: OpCall) -> OpCost:
    """``aten::_dyn_quant_matmul_4bit(inp, packed_weights, block_size, in_features, out_features)``."""
    activations, k, n = shape_at(call, 0), int_at(call, 3), int_at(call, 4)
    if k is None or n is None:
        raise NoCostError("the sizes of the weight are not recorded")
    require(activations[-1] == k and n >= 0, "inner dimensions differ")
    rows = prod(activations[:-1])
    return OpCost(2 * rows * k * n, byte=traffic_byte(call, (0, 1), [(rows * n, dtype_at(call, 0))]))


def _sparse_product_cost(call: OpCall, sparse: int, dense: int, reads: tuple[int, ...]) -> OpCost:
    """2:4 sparse (m, k), stored as (m, k/2), times dense (k, n): k/2 multiply-adds per result."""
    stored, other = shape_at(call, sparse, 2), shape_at(call, dense, 2)
    require(2 * stored[1] == other[0], "inner dimensions differ")
    written = [(stored[0] * other[1], dtype_at(call, sparse))]
    return OpCost(2 * prod(stored) * other[1], byte=traffic_byte(call, reads, written))


def _sparse_linear_cost(call: OpCall) -> OpCost:
    """``_sparse_semi_structured_linear(input (..., k), weight (n, k/2), meta, bias)``."""
    given, stored = shape_at(call, 0), shape_at(call, 1, 2)
    require(2 * stored[1] == given[-1], "inner dimensions differ")
    rows = prod(given[:-1])
    written = [(rows * stored[0], dtype_at(call, 0))]
    return OpCost(2 * rows * prod(stored), byte=traffic_byte(call, (0, 1, 2, 3), written))


def _int8_weight_cost(call: OpCall) -> OpCost:
    """``aten::_weight_int8pack_mm(self (m, k), mat2 (n, k), scales (n,))``."""
    shape, k = product_shape(shape_at(call, 0, 2), shape_at(call, 1, 2)[::-1])
    written = [(prod(shape), dtype_at(call, 0))]
    return OpCost(2 * prod(shape) * k, byte=traffic_byte(call, (0, 1, 2), written))


_GROUPED: Mapping[str, GroupedArguments] = {
    "aten::_grouped_mm": GroupedArguments(offsets=2, out_dtype=4),
    "aten::_scaled_grouped_mm": GroupedArguments(offsets=4, out_dtype=7, scales=(2, 3)),
    "aten::_scaled_grouped_mm_v2": GroupedArguments(offsets=8, out_dtype=10),
}

# int32 items hold 8 int4 values, uint8 items 2. The arithmetic runs in the activations' dtype.
_INT4: Mapping[str, tuple[int, tuple[int, ...]]] = {
    "aten::_weight_int4pack_mm": (8, (3,)),
    "aten::_weight_int4pack_mm_with_scales_and_zeros": (8, (3, 4)),
    "aten::_weight_int4pack_mm_for_cpu": (2, (3,)),
}

PACKED_MATMUL_FORMULAS: Mapping[str, Formula] = {
    **{
        name: Formula(partial(_grouped_cost, where=where), operands=(0, 1))
        for name, where in _GROUPED.items()
    },
    **{
        name: Formula(partial(_packed_weight_cost, values_per_item=values, scales=scales), operands=(0,))
        for name, (values, scales) in _INT4.items()
    },
    "aten::_weight_int8pack_mm": Formula(_int8_weight_cost, operands=(0,)),
    "aten::_dyn_quant_matmul_4bit": Formula(_dynamic_int4_cost, operands=(0,)),
    "aten::_sparse_semi_structured_mm": Formula(
        partial(_sparse_product_cost, sparse=0, dense=2, reads=(0, 1, 2)), operands=(0, 2)
    ),
    "aten::_sparse_semi_structured_addmm": Formula(
        partial(_sparse_product_cost, sparse=1, dense=3, reads=(0, 1, 2, 3)), operands=(1, 3)
    ),
    "aten::_sparse_semi_structured_linear": Formula(_sparse_linear_cost, operands=(0, 1)),
}
"""By op name. Unstructured sparse products have no formula: a trace does not say how full they are."""
