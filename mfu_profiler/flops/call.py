"""One call of an operator as a trace records it, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Argument", "OpCall", "OpCost", "Shape", "op_call"]

Shape = tuple[int, ...]
"""Sizes of one tensor."""

Argument = Shape | tuple[Shape, ...]
"""A TensorList argument is a tuple of shapes."""


@dataclass(frozen=True, slots=True)
class OpCall:
    """What a ``cpu_op`` event says about one call. Hashable, so that costs can be cached by call."""

    name: str
    """For example ``aten::addmm``; the trace does not tell overloads apart."""
    shapes: tuple[Argument, ...]
    """From ``Input Dims``, one per argument of the op's schema; ``()`` for scalars and what is absent."""
    dtypes: tuple[str, ...] = ()
    """From ``Input type``; may be shorter than ``shapes``, or empty where the trace lacks it."""
    concrete: tuple[str, ...] | None = None
    """From ``Concrete Inputs``: scalars as text, else ``""``; None where there are none (before torch 2)."""
    strides: tuple[Argument, ...] | None = None
    """From ``Input Strides``; an expanded dimension (stride 0) is stored once and so read once."""
    paired_shapes: tuple[Argument, ...] | None = None
    """``Input Dims`` of the related op, for calls that do not say enough alone (traces without ``concrete``).

    For a forward convolution: of its backward op, whose gradient has the shape of the forward's output
    (``CudnnConvolutionBackward``, ``ConvolutionBackward0`` or the ``aten::*convolution_backward`` below it).
    For ``aten::cudnn_convolution_backward_weight`` and its kin: of the ``*_convolution_backward`` around it.
    For ``FlashAttnFuncBackward``: of the forward ``FlashAttnFunc``.
    """


@dataclass(frozen=True, slots=True)
class OpCost:
    """What one call costs at the least. One multiply-add is 2 FLOP."""

    model_flop: int
    """FLOP that the model needs."""
    recompute_flop: int = 0
    """FLOP that the op executes a second time inside itself (scores in flash attention's backward)."""
    byte: int | None = None
    """Inputs read once and outputs written once; None where a dtype or shape is unknown."""
    causal_model_flop: int | None = None
    """``model_flop`` with a causal mask counted by half; None unless the call says causal."""


def op_call(
    name: object,
    dims: object,
    types: object = None,
    concrete: object = None,
    *,
    strides: object = None,
    paired_shapes: object = None,
) -> OpCall | None:
    """An ``OpCall`` from the decoded JSON values of an event's ``args``.

    Returns None where ``name`` is no string, or ``dims`` no list of shapes and lists of shapes (an
    event without ``Input Dims``): such a call has no known cost. A malformed ``types``, ``concrete``,
    ``strides`` or ``paired_shapes`` counts as absent. Sizes are not judged here; ``op_cost`` does that.
    """
    shapes = _arguments(dims)
    if not isinstance(name, str) or shapes is None:
        return None
    return OpCall(
        name=name,
        shapes=shapes,
        dtypes=_texts(types) or (),
        concrete=_texts(concrete),
        strides=_arguments(strides),
        paired_shapes=_arguments(paired_shapes),
    )


def _texts(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list | tuple):
        return None
    return tuple(item if isinstance(item, str) else "" for item in value)


def _arguments(value: object) -> tuple[Argument, ...] | None:
    if not isinstance(value, list | tuple):
        return None
    arguments = [_argument(item) for item in value]
    return None if None in arguments else tuple(item for item in arguments if item is not None)


def _argument(value: object) -> Argument | None:
    if not isinstance(value, list | tuple):
        return None
    if any(isinstance(item, list | tuple) for item in value):
        return _shapes(value)
    return _sizes(value)


def _shapes(values: Sequence[object]) -> tuple[Shape, ...] | None:
    shapes = [_sizes(item) if isinstance(item, list | tuple) else None for item in values]
    return None if None in shapes else tuple(shape for shape in shapes if shape is not None)


def _sizes(values: Sequence[object]) -> Shape | None:
    sizes = tuple(item for item in values if isinstance(item, int) and not isinstance(item, bool))
    return sizes if len(sizes) == len(values) else None
