"""Gradients of convolutions, whole and in the parts that older traces record.

Each gradient multiplies as often as the forward did: every weight once at every position. So::

    FLOP = 2 * positions * elements of the weight      for the input's gradient, and again
                                                       for the weight's gradient

with positions = batch x spatial size of the gradient of the output (of the input where the convolution is
transposed). Stride, padding and dilation are not needed. The bias' gradient is a sum and counts 0.

Source: the derivation in ``conv_backward_flop``, torch/utils/flop_counter.py. One difference: for grouped
convolutions torch 2.13 takes the weight's gradient as if it had no groups, and counts it ``groups`` times.
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
    ints_at,
    require,
    shape_at,
    traffic_byte,
)
from mfu_profiler.flops.call import OpCall, OpCost, Shape
from mfu_profiler.flops.convolution import is_plain, is_transposed, unmatched_shape
from mfu_profiler.flops.formula import Formula

__all__ = ["CONVOLUTION_BACKWARD_FORMULAS"]


@dataclass(frozen=True, slots=True)
class BackwardArguments:
    """Where a backward op keeps its arguments, as indices into its schema. None: it has no such argument."""

    grad_output: int
    given: int | None
    """The forward's input."""
    weight: int | None
    transposed: int | bool = False
    """Index of the flag, or what the op's name says."""
    output_mask: int | None = -1
    """Which of the gradients of (input, weight, bias) are wanted; -1 is the last argument."""
    wanted: tuple[bool, bool] = (True, True)
    """Gradients of (input, weight), where no mask says otherwise.

    Traces without ``Concrete Inputs`` hold no mask. Then both are taken to be wanted, which is too much by
    one gradient for a network's first convolution and exact for all others.
    """
    weight_size: int | None = None
    """Index of the weight's sizes, given as a list of numbers."""


@dataclass(frozen=True, slots=True)
class _Tensors:
    """Shapes of one convolution as its backward sees them; None where they are not known."""

    grad_output: Shape
    given: Shape | None
    weight: Shape | None


def _backward_cost(call: OpCall, where: BackwardArguments) -> OpCost:
    tensors = _tensors(call, where)
    for_input, for_weight = _wanted(call, where)
    weight = tensors.weight
    if weight is None:
        raise NoCostError("the weight's shape is not recorded")
    require(len(weight) == len(tensors.grad_output), "gradient and weight have different ranks")
    transposed = _says_transposed(call, where, tensors)
    if transposed:
        if tensors.given is None:
            raise NoCostError("the input's shape is not recorded")
        positions = tensors.given
        require(weight[0] == positions[1], "channels of input and weight differ")
    else:
        positions = tensors.grad_output
        require(weight[0] == positions[1], "channels of gradient and weight differ")
    flop = 2 * positions[0] * prod(positions[2:]) * prod(weight)
    byte = _byte(call, where, tensors, for_input, for_weight)
    return OpCost(model_flop=flop * (for_input + for_weight), byte=byte)


def _tensors(call: OpCall, where: BackwardArguments) -> _Tensors:
    """The shapes that the call records, completed by what ``paired_shapes`` adds."""
    grad_output = shape_at(call, where.grad_output, 3, 4, 5)
    given = None if where.given is None else shape_at(call, where.given, len(grad_output))
    weight = None if where.weight is None else shape_at(call, where.weight, len(grad_output))
    if given is not None:
        require(given[0] == grad_output[0], "batch sizes of gradient and input differ")
    if weight is None and given is not None:
        sizes = None if where.weight_size is None else ints_at(call, where.weight_size)
        weight = sizes or unmatched_shape(call, grad_output, given)
        if weight is not None:
            require(min(weight) >= 0, "a negative size")
    elif weight is not None and given is None:
        candidate = unmatched_shape(call, grad_output, weight)
        if candidate is not None and (len(candidate), candidate[0]) == (len(weight), grad_output[0]):
            given = candidate
    return _Tensors(grad_output, given, weight)


def _wanted(call: OpCall, where: BackwardArguments) -> tuple[bool, bool]:
    mask = None if where.output_mask is None else flags_at(call, where.output_mask)
    return where.wanted if mask is None or len(mask) < 2 else (mask[0], mask[1])


def _says_transposed(call: OpCall, where: BackwardArguments, tensors: _Tensors) -> bool:
    given, weight, grad_output = tensors.given, tensors.weight, tensors.grad_output
    if isinstance(where.transposed, bool):
        transposed = where.transposed
    else:
        flag = flag_at(call, where.transposed)
        if flag is None and given is not None and weight is not None:
            return is_transposed(given, weight, grad_output)
        transposed = bool(flag)
    if given is not None and weight is not None:
        fits = is_plain(grad_output, weight, given) if transposed else is_plain(given, weight, grad_output)
        require(fits, "channels of input, weight and gradient contradict each other")
    return transposed


def _byte(
    call: OpCall, where: BackwardArguments, tensors: _Tensors, for_input: bool, for_weight: bool
) -> int | None:
    """The gradient is read once, and each of input and weight where the other's gradient is wanted."""
    reads = [where.grad_output]
    writes = []
    dtype = dtype_at(call, where.grad_output)
    if for_input:
        reads += [] if where.weight is None else [where.weight]
        if tensors.given is None:
            return None
        writes.append((prod(tensors.given), dtype))
    if for_weight:
        reads += [] if where.given is None else [where.given]
        if tensors.weight is None:
            return None
        writes.append((prod(tensors.weight), dtype))
    return traffic_byte(call, reads, writes)


# (grad_output, input, weight, ..., output_mask)
_GRADIENT_FIRST = BackwardArguments(grad_output=0, given=1, weight=2)
# (input, grad_output, weight, ..., output_mask)
_INPUT_FIRST = BackwardArguments(grad_output=1, given=0, weight=2)
_INPUT_FIRST_TRANSPOSED = BackwardArguments(grad_output=1, given=0, weight=2, transposed=True)
# (input_size, grad_output, weight, ...)
_OF_INPUT = BackwardArguments(grad_output=1, given=None, weight=2, output_mask=None, wanted=(True, False))
# (grad_output, weight, ...): the gradient of a transposed convolution's input is a plain convolution
_OF_TRANSPOSED_INPUT = BackwardArguments(
    grad_output=0, given=None, weight=1, transposed=True, output_mask=None, wanted=(True, False)
)
# (weight_size, grad_output, input, ...)
_OF_WEIGHT = BackwardArguments(
    grad_output=1, given=2, weight=None, output_mask=None, wanted=(False, True), weight_size=0
)
_OF_TRANSPOSED_WEIGHT = BackwardArguments(
    grad_output=1,
    given=2,
    weight=None,
    transposed=True,
    output_mask=None,
    wanted=(False, True),
    weight_size=0,
)

_ARGUMENTS: Mapping[str, BackwardArguments] = {
    # since torch 1.11
    "aten::convolution_backward": BackwardArguments(grad_output=0, given=1, weight=2, transposed=7),
    "aten::convolution_backward_overrideable": BackwardArguments(
        grad_output=0, given=1, weight=2, transposed=6
    ),
    "aten::_slow_conv2d_backward": _GRADIENT_FIRST,
    "aten::mps_convolution_backward": _INPUT_FIRST,
    "aten::mps_convolution_transpose_backward": _INPUT_FIRST_TRANSPOSED,
    # up to torch 1.10
    "aten::cudnn_convolution_backward": _INPUT_FIRST,
    "aten::cudnn_convolution_backward_input": _OF_INPUT,
    "aten::cudnn_convolution_backward_weight": _OF_WEIGHT,
    "aten::cudnn_convolution_transpose_backward": _INPUT_FIRST_TRANSPOSED,
    "aten::cudnn_convolution_transpose_backward_input": _OF_TRANSPOSED_INPUT,
    "aten::cudnn_convolution_transpose_backward_weight": _OF_TRANSPOSED_WEIGHT,
    "aten::miopen_convolution_backward": _INPUT_FIRST,
    "aten::miopen_convolution_backward_input": _OF_INPUT,
    "aten::miopen_convolution_backward_weight": _OF_WEIGHT,
    "aten::miopen_convolution_transpose_backward": _INPUT_FIRST_TRANSPOSED,
    "aten::miopen_convolution_transpose_backward_input": _OF_TRANSPOSED_INPUT,
    "aten::miopen_convolution_transpose_backward_weight": _OF_TRANSPOSED_WEIGHT,
    "aten::miopen_depthwise_convolution_backward": _INPUT_FIRST,
    "aten::miopen_depthwise_convolution_backward_input": _OF_INPUT,
    "aten::miopen_depthwise_convolution_backward_weight": _OF_WEIGHT,
    "aten::mkldnn_convolution_backward": _INPUT_FIRST,
    "aten::mkldnn_convolution_backward_input": _OF_INPUT,
    "aten::mkldnn_convolution_backward_weights": _OF_WEIGHT,
    "aten::thnn_conv2d_backward": _GRADIENT_FIRST,
    "aten::thnn_conv_depthwise2d_backward": _GRADIENT_FIRST,
    "aten::_conv_depthwise2d_backward": _GRADIENT_FIRST,
    "aten::conv_depthwise3d_backward": _GRADIENT_FIRST,
    "aten::slow_conv3d_backward": _GRADIENT_FIRST,
    "aten::slow_conv_dilated2d_backward": _GRADIENT_FIRST,
    "aten::slow_conv_dilated3d_backward": _GRADIENT_FIRST,
    "aten::slow_conv_transpose2d_backward": BackwardArguments(0, 1, 2, transposed=True),
    "aten::slow_conv_transpose3d_backward": BackwardArguments(0, 1, 2, transposed=True),
}


def _formula(where: BackwardArguments) -> Formula:
    indices = (where.grad_output, where.given, where.weight)
    operands = tuple(index for index in indices if index is not None)
    return Formula(partial(_backward_cost, where=where), operands)


CONVOLUTION_BACKWARD_FORMULAS: Mapping[str, Formula] = {
    name: _formula(where) for name, where in _ARGUMENTS.items()
}
"""By op name."""
