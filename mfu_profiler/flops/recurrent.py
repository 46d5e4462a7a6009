"""RNN, GRU and LSTM layers that run as one op.

Every weight matrix, whatever the cell (input, recurrent, projection; all gates stacked), multiplies each
token once, so a forward is::

    FLOP = 2 * tokens * elements of all weight matrices

with tokens = length x batch (the rows of a packed sequence). Biases and gates count 0. The backward has one
product per matrix for the data's gradient and one for the weight's. torch's ``flop_registry`` knows none of
these ops: FlopCounterMode counts a fused layer as 0.

Source: the equations in PyTorch's documentation of ``torch.nn.LSTM``, ``GRU`` and ``RNN``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import prod

from mfu_profiler.flops.arguments import (
    NoCostError,
    dtype_at,
    flag_at,
    flags_at,
    has_tensor,
    int_at,
    is_shape,
    require,
    shape_at,
    shape_list_at,
)
from mfu_profiler.flops.call import OpCall, OpCost, Shape
from mfu_profiler.flops.dtypes import dtype_named
from mfu_profiler.flops.formula import Formula

__all__ = ["RECURRENT_FORMULAS"]


@dataclass(frozen=True, slots=True)
class RecurrentArguments:
    """Where an op keeps its arguments after the input, as indices into its schema."""

    weights: int | tuple[int, ...]
    """Index of the list of weights; or of each weight. The first two are input and recurrent weights."""
    layers: int | None = None
    """Index of the number of layers; None: one, as mkldnn calls each layer and direction apart."""
    bidirectional: int | None = None
    output: int | None = None
    """The forward's output; set for backward ops."""
    output_mask: int | None = None
    """Which gradients of (input, hx, cx, weights) are wanted; None: all are computed."""


def _weights(call: OpCall, where: RecurrentArguments) -> tuple[Shape, ...]:
    if isinstance(where.weights, int):
        return shape_list_at(call, where.weights)
    return tuple(shape_at(call, index) for index in where.weights if has_tensor(call, index))


def _matrix_elements(weights: tuple[Shape, ...]) -> int:
    return sum(prod(shape) for shape in weights if len(shape) == 2)


def _forward_cost(call: OpCall, where: RecurrentArguments) -> OpCost:
    given, weights = _checked(call, where)
    tokens = prod(given[:-1])
    return OpCost(2 * tokens * _matrix_elements(weights), byte=_forward_byte(call, where, given, weights))


def _backward_cost(call: OpCall, where: RecurrentArguments) -> OpCost:
    given, weights = _checked(call, where)
    mask = None if where.output_mask is None else flags_at(call, where.output_mask)
    for_input, for_weights = (mask[0], mask[3]) if mask is not None and len(mask) == 4 else (True, True)
    elements = _matrix_elements(weights)
    for_data = elements if for_input else elements - _input_weight_elements(call, where, weights)
    flop = 2 * prod(given[:-1]) * (for_data + elements * for_weights)
    return OpCost(flop, byte=_backward_byte(call, where, given, weights, for_input))


def _checked(call: OpCall, where: RecurrentArguments) -> tuple[Shape, tuple[Shape, ...]]:
    """Shapes of the input and of the weights, if they belong together."""
    given, weights = shape_at(call, 0, 2, 3), _weights(call, where)
    matrices = [shape for shape in weights if len(shape) == 2]
    require(len(matrices) >= 2, "fewer than two weight matrices")
    require(matrices[0][1] == given[-1], "the first weight does not fit the input")
    return given, weights


def _input_weight_elements(call: OpCall, where: RecurrentArguments, weights: tuple[Shape, ...]) -> int:
    """Elements of the weights that multiply the input itself: the first of each direction of layer 0."""
    layers = 1 if where.layers is None else int_at(call, where.layers)
    directions = _directions(call, where)
    if layers is None or directions is None or len(weights) % max(layers * directions, 1):
        raise NoCostError("layers and directions do not fit the list of weights")
    require(layers * directions > 0, "no layers")
    per_direction = len(weights) // (layers * directions)
    return sum(prod(weights[direction * per_direction]) for direction in range(directions))


def _directions(call: OpCall, where: RecurrentArguments) -> int | None:
    if where.bidirectional is None:
        return 1
    flag = flag_at(call, where.bidirectional)
    return None if flag is None else 1 + flag


def _forward_byte(
    call: OpCall, where: RecurrentArguments, given: Shape, weights: tuple[Shape, ...]
) -> int | None:
    """Input and weights read, output (recurrent weight's last size per direction) written."""
    dtype, directions = dtype_named(dtype_at(call, 0) or ""), _directions(call, where)
    if dtype is None or directions is None:
        return None
    output = prod(given[:-1]) * [shape for shape in weights if len(shape) == 2][1][1] * directions
    return dtype.size_byte * (prod(given) + sum(prod(shape) for shape in weights) + output)


def _backward_byte(
    call: OpCall, where: RecurrentArguments, given: Shape, weights: tuple[Shape, ...], for_input: bool
) -> int | None:
    """Input, weights, output and its gradient read; gradients of weights and input written."""
    dtype = dtype_named(dtype_at(call, 0) or "")
    if dtype is None or where.output is None or not has_tensor(call, where.output):
        return None
    stored = sum(prod(shape) for shape in weights)
    elements = (1 + for_input) * prod(given) + 2 * stored + 2 * prod(shape_at(call, where.output))
    return dtype.size_byte * elements


_CUDNN = RecurrentArguments(weights=1, layers=9, bidirectional=13)
_CUDNN_BACKWARD = RecurrentArguments(weights=1, layers=13, bidirectional=17, output=6, output_mask=21)
_MIOPEN = RecurrentArguments(weights=1, layers=7, bidirectional=11)
_MIOPEN_BACKWARD = RecurrentArguments(weights=1, layers=12, bidirectional=16, output=6, output_mask=20)
_MKLDNN = RecurrentArguments(weights=(1, 2, 3, 4))
_MKLDNN_BACKWARD = RecurrentArguments(weights=(1, 2, 3, 4), output=7)
# (input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)
_COMPOSITE = RecurrentArguments(weights=2, layers=4, bidirectional=7)
# The overload for packed sequences: (data, batch_sizes, hx, params, ...)
_COMPOSITE_PACKED = RecurrentArguments(weights=3, layers=5, bidirectional=8)


def _composite_cost(call: OpCall) -> OpCost:
    is_packed = len(call.shapes) > 3 and is_shape(call.shapes[1]) and len(call.shapes[1]) == 1
    return _forward_cost(call, _COMPOSITE_PACKED if is_packed else _COMPOSITE)


def _forward(where: RecurrentArguments) -> Formula:
    return Formula(partial(_forward_cost, where=where), operands=(0,))


def _backward(where: RecurrentArguments) -> Formula:
    return Formula(partial(_backward_cost, where=where), operands=(0,))


RECURRENT_FORMULAS: Mapping[str, Formula] = {
    "aten::_cudnn_rnn": _forward(_CUDNN),
    "aten::_cudnn_rnn_backward": _backward(_CUDNN_BACKWARD),
    "aten::miopen_rnn": _forward(_MIOPEN),
    "aten::miopen_rnn_backward": _backward(_MIOPEN_BACKWARD),
    "aten::mkldnn_rnn_layer": _forward(_MKLDNN),
    "aten::mkldnn_rnn_layer_backward": _backward(_MKLDNN_BACKWARD),
    "aten::lstm": Formula(_composite_cost, operands=(0,)),
    "aten::gru": Formula(_composite_cost, operands=(0,)),
    "aten::rnn_tanh": Formula(_composite_cost, operands=(0,)),
    "aten::rnn_relu": Formula(_composite_cost, operands=(0,)),
}
"""By op name."""
