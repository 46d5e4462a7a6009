"""Least memory traffic of ops that have no FLOP formula: elementwise, normalization, reductions, lookups.

A bound from below for what the kernels must move, not a measurement: every tensor input is read once, and the
output is written once where its shape is implied. Caches, intermediate results and saved statistics are
not seen.
"""

from __future__ import annotations

from math import prod

from mfu_profiler.flops.arguments import (
    LARGEST_COUNT,
    NoCostError,
    dtype_at,
    is_shape,
    shape_at,
    traffic_byte,
)
from mfu_profiler.flops.call import OpCall, Shape

__all__ = ["generic_byte"]

_OVERWRITTEN = frozenset({"aten::copy_", "aten::fill_", "aten::zero_", "aten::normal_", "aten::uniform_"})
"""The first argument is only written."""

_REDUCTIONS = frozenset(
    {
        "aten::_adaptive_avg_pool2d",
        "aten::adaptive_avg_pool2d",
        "aten::all",
        "aten::amax",
        "aten::amin",
        "aten::aminmax",
        "aten::any",
        "aten::argmax",
        "aten::argmin",
        "aten::avg_pool2d",
        "aten::count_nonzero",
        "aten::linalg_vector_norm",
        "aten::logsumexp",
        "aten::max",
        "aten::max_pool2d",
        "aten::max_pool2d_with_indices",
        "aten::mean",
        "aten::median",
        "aten::min",
        "aten::nll_loss2d_forward",
        "aten::nll_loss_forward",
        "aten::norm",
        "aten::prod",
        "aten::std",
        "aten::std_mean",
        "aten::sum",
        "aten::topk",
        "aten::var",
        "aten::var_mean",
    }
)
"""The output is smaller than the input; it is left out."""

_LOOKUPS = {"aten::embedding": (0, 1), "aten::index_select": (0, 2), "aten::gather": (0, 2)}
"""Ops that read only what they look up: index of the table and of the indices."""


def generic_byte(call: OpCall) -> int | None:
    """Bytes that a call must move at the least.

    The output of an op is taken to have the broadcast shape of its tensors, and the first one's dtype.
    Where the tensors do not broadcast (batch norm), it is taken to have the shape of the first one. The
    output of a reduction is left out; lookups read only the rows they return.

    Returns:
        None where there is no tensor, and where a dtype is unknown (tensors in a list always). Fits an int64.

    """
    try:
        byte = _byte(call)
    except NoCostError:
        return None
    return byte if byte is not None and byte <= LARGEST_COUNT else None


def _byte(call: OpCall) -> int | None:
    tensors = [index for index, shape in enumerate(call.shapes) if is_shape(shape)]
    if not tensors or any(_is_list(argument) for argument in call.shapes):
        return None
    dtype = dtype_at(call, tensors[0])
    if call.name in _OVERWRITTEN and tensors[0] == 0:
        return traffic_byte(call, tensors[1:], [(prod(shape_at(call, 0)), dtype)])
    if call.name in _LOOKUPS:
        return _lookup_byte(call, *_LOOKUPS[call.name])
    if call.name in _REDUCTIONS:
        return traffic_byte(call, tensors[:1], [])
    output = _broadcast_shape([shape_at(call, index) for index in tensors])
    return traffic_byte(call, tensors, [(prod(output), dtype)])


def _is_list(argument: object) -> bool:
    return isinstance(argument, tuple) and any(isinstance(item, tuple) for item in argument)


def _lookup_byte(call: OpCall, table: int, indices: int) -> int | None:
    found = prod(shape_at(call, indices))
    if call.name != "aten::gather":  # whole rows
        shape = shape_at(call, table)
        found *= prod(shape) // shape[0] if shape[0] else 0
    dtype = dtype_at(call, table)
    return traffic_byte(call, [indices], [(found, dtype), (found, dtype)])


def _broadcast_shape(shapes: list[Shape]) -> Shape:
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    output = []
    for sizes in zip(*padded, strict=True):
        wide = {size for size in sizes if size != 1}
        if len(wide) > 1:
            return shapes[0]
        output.append(wide.pop() if wide else 1)
    return tuple(output)
