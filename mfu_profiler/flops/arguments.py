"""Reading one argument of a call. Formulas use these, so that no formula repeats a check.

What a formula needs and does not find is a ``NoCostError``; ``op_cost`` turns it into None. What a
formula can do without is None.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from typing import TypeGuard, TypeVar

from mfu_profiler.flops.call import OpCall, Shape
from mfu_profiler.flops.dtypes import dtype_named

__all__ = [
    "LARGEST_COUNT",
    "NoCostError",
    "dtype_at",
    "flag_at",
    "flags_at",
    "has_tensor",
    "int_at",
    "ints_at",
    "is_shape",
    "require",
    "shape_at",
    "shape_list_at",
    "traffic_byte",
]

LARGEST_COUNT = 2**62
"""Counts beyond it are nonsense in the trace: over an hour of any GPU in one op, and no longer an int64."""

_Item = TypeVar("_Item")

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
_FLAGS = {"True": True, "False": False}


class NoCostError(ValueError):
    """The call has no computable cost: an argument is missing, or shapes contradict each other."""


def require(condition: bool, reason: str) -> None:
    """Raise ``NoCostError`` unless the condition holds."""
    if not condition:
        raise NoCostError(reason)


def is_shape(value: object) -> TypeGuard[Shape]:
    """Whether this is the shape of a tensor with at least one dimension."""
    if not isinstance(value, tuple) or not value:
        return False
    return all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in value)


def shape_at(call: OpCall, index: int, *ranks: int) -> Shape:
    """Shape of a tensor argument, of one of these ranks (any rank from 1 on where none is named)."""
    shape = _item(call.shapes, index)
    if not is_shape(shape) or (ranks and len(shape) not in ranks):
        raise NoCostError(f"argument {index} of {call.name} is no tensor of rank {ranks or 'one or more'}")
    return shape


def shape_list_at(call: OpCall, index: int) -> tuple[Shape, ...]:
    """Shapes of a TensorList argument, without its zero-dimensional tensors."""
    value = _item(call.shapes, index)
    require(isinstance(value, tuple), f"argument {index} of {call.name} is missing")
    shapes = [item for item in value or () if item != ()]
    tensors = tuple(item for item in shapes if is_shape(item))
    require(len(tensors) == len(shapes) > 0, f"argument {index} of {call.name} is no list of tensors")
    return tensors


def has_tensor(call: OpCall, index: int) -> bool:
    """Whether an optional tensor argument is given (with one dimension or more)."""
    return is_shape(_item(call.shapes, index))


def dtype_at(call: OpCall, index: int) -> str | None:
    """Dtype name of a tensor argument; None where the trace does not say."""
    name = _item(call.dtypes, index)
    return name if isinstance(name, str) and dtype_named(name) else None


def int_at(call: OpCall, index: int) -> int | None:
    """A whole number among the concrete inputs."""
    text = _text(call, index)
    return int(text) if text is not None and _WHOLE_NUMBER.fullmatch(text) else None


def flag_at(call: OpCall, index: int) -> bool | None:
    """A bool among the concrete inputs."""
    return _FLAGS.get(_text(call, index) or "")


def ints_at(call: OpCall, index: int) -> tuple[int, ...] | None:
    """A list such as ``"[2, 2]"`` among the concrete inputs."""
    items = _items(call, index)
    if items is None or not all(_WHOLE_NUMBER.fullmatch(item) for item in items):
        return None
    return tuple(int(item) for item in items)


def flags_at(call: OpCall, index: int) -> tuple[bool, ...] | None:
    """A list such as ``"[True, True, False]"`` among the concrete inputs."""
    items = _items(call, index)
    if items is None or not all(item in _FLAGS for item in items):
        return None
    return tuple(_FLAGS[item] for item in items)


def traffic_byte(call: OpCall, reads: Sequence[int], writes: Sequence[tuple[int, str | None]]) -> int | None:
    """Bytes of the tensors at the indices ``reads`` and of outputs given as (elements, dtype name).

    Each tensor moves once. An expanded dimension (stride 0) is read once. None where a dtype is unknown.
    """
    total = 0
    for index in reads:
        if not has_tensor(call, index):
            continue
        dtype = dtype_named(dtype_at(call, index) or "")
        if dtype is None:
            return None
        total += dtype.size_byte * _stored_elements(call, index)
    for elements, name in writes:
        dtype = dtype_named(name or "")
        if dtype is None:
            return None
        total += dtype.size_byte * elements
    return total


def _stored_elements(call: OpCall, index: int) -> int:
    shape = shape_at(call, index)
    strides = _item(call.strides or (), index)
    if not is_shape(strides) or len(strides) != len(shape):
        return prod(shape)
    return prod(size for size, stride in zip(shape, strides, strict=True) if stride != 0 or size == 0)


def _item(items: Sequence[_Item], index: int) -> _Item | None:
    """The item at an index; negative counts from the end. None where there is none."""
    return items[index] if -len(items) <= index < len(items) else None


def _text(call: OpCall, index: int) -> str | None:
    text = _item(call.concrete or (), index)
    return text if isinstance(text, str) else None


def _items(call: OpCall, index: int) -> list[str] | None:
    text = _text(call, index)
    if text is None or not (text.startswith("[") and text.endswith("]")):
        return None
    return [item.strip() for item in text[1:-1].split(",")] if len(text) > 2 else []
