"""Forward convolutions, plain and transposed, of one to three dimensions.

A convolution multiplies every weight once at every position of every sample, so with
``positions`` = batch x spatial size of the *output* (of the *input* where it is transposed)::

    FLOP = 2 * positions * elements of the weight

The weight has shape (out, in / groups, *kernel), transposed (in, out / groups, *kernel): its elements
already account for groups and dilation. Padding is counted as if it were data, as torch does.

Source: ``conv_flop_count`` in torch/utils/flop_counter.py; PyTorch's documentation of ``Conv2d`` and
``ConvTranspose2d`` for the output sizes.
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
    int_at,
    ints_at,
    is_shape,
    require,
    shape_at,
    traffic_byte,
)
from mfu_profiler.flops.call import OpCall, OpCost, Shape
from mfu_profiler.flops.formula import Formula

__all__ = ["CONVOLUTION_FORMULAS", "is_plain", "is_transposed", "unmatched_shape"]


@dataclass(frozen=True, slots=True)
class ConvolutionArguments:
    """Where a forward op keeps its arguments after (input, weight), as indices into its schema.

    None: the op has no such argument, its default holds.
    """

    stride: int
    padding: int
    dilation: int | None = None
    output_padding: int | None = None
    groups: int | None = None
    transposed: int | bool = False
    """Index of the flag, or what the op's name says."""
    others: tuple[int, ...] = (2,)
    """Other tensors that it reads: a bias, what is added."""


def is_plain(given: Shape, weight: Shape, output: Shape) -> bool:
    """Whether these may be the tensors of a convolution that is not transposed."""
    return weight[0] == output[1] and weight[1] > 0 and given[1] % weight[1] == 0


def is_transposed(given: Shape, weight: Shape, output: Shape) -> bool:
    """Whether the shapes are those of a transposed convolution, where nothing else says so.

    Channels decide; where they fit both kinds, an output larger than its input is transposed.
    (Equal sizes cost the same either way.)
    """
    fits = weight[0] == given[1] and weight[1] > 0 and output[1] % weight[1] == 0
    if not is_plain(given, weight, output):
        require(fits, "channels fit no convolution")
        return True
    return fits and prod(output[2:]) > prod(given[2:])


def unmatched_shape(call: OpCall, *known: Shape) -> Shape | None:
    """The one tensor of a convolution among ``paired_shapes`` that is not among the known ones."""
    shapes = [item for item in call.paired_shapes or () if is_shape(item) and len(item) >= 3]
    if len(shapes) > 1:
        for shape in known:
            if shape in shapes:
                shapes.remove(shape)
    return shapes[0] if len(shapes) == 1 else None


def _convolution_cost(call: OpCall, where: ConvolutionArguments) -> OpCost:
    given, weight = shape_at(call, 0, 2, 3, 4, 5), shape_at(call, 1, 3, 4, 5)
    if len(given) == len(weight) - 1:
        given = (1, *given)
    require(len(given) == len(weight), "input and weight have different ranks")
    paired = unmatched_shape(call, given, weight)
    if paired is not None:
        require(len(paired) == len(given) and paired[0] == given[0], "the paired gradient does not fit")
    transposed = _says_transposed(call, where, given, weight, paired)
    output = _output_shape(call, where, given, weight, transposed) or paired
    _require_channels(given, weight, output, transposed)
    positions = given if transposed else output
    if positions is None:
        raise NoCostError("neither stride and padding nor the output's shape are known")
    written = [(prod(output), dtype_at(call, 0))] if output else []
    return OpCost(
        model_flop=2 * positions[0] * prod(positions[2:]) * prod(weight),
        byte=traffic_byte(call, (0, 1, *where.others), written) if output else None,
    )


def _says_transposed(
    call: OpCall, where: ConvolutionArguments, given: Shape, weight: Shape, output: Shape | None
) -> bool:
    if isinstance(where.transposed, bool):
        return where.transposed
    flag = flag_at(call, where.transposed)
    if flag is not None:
        return flag
    if output is None:
        raise NoCostError("the call does not say whether it is transposed")
    return is_transposed(given, weight, output)


def _require_channels(given: Shape, weight: Shape, output: Shape | None, transposed: bool) -> None:
    if transposed:
        require(weight[0] == given[1], "channels of input and weight differ")
    else:
        require(weight[1] > 0 and given[1] % weight[1] == 0, "channels of input and weight differ")
        require(output is None or output[1] == weight[0], "channels of output and weight differ")


def _output_shape(
    call: OpCall, where: ConvolutionArguments, given: Shape, weight: Shape, transposed: bool
) -> Shape | None:
    """Shape of the output by stride, padding and dilation; None where they are not recorded."""
    count = len(given) - 2
    stride = _sizes(call, where.stride, count, default=None)
    padding = _sizes(call, where.padding, count, default=None)
    dilation = _sizes(call, where.dilation, count, default=1)
    extra = _sizes(call, where.output_padding, count, default=0)
    groups = 1 if where.groups is None else int_at(call, where.groups)
    if stride is None or padding is None or dilation is None or groups is None:
        return None
    require(min(stride) > 0 and min(dilation) > 0 and groups > 0, "stride, dilation or groups below 1")
    reach = [d * (kernel - 1) for d, kernel in zip(dilation, weight[2:], strict=True)]
    if transposed:
        spatial = tuple(
            (size - 1) * s - 2 * p + r + e + 1
            for size, s, p, r, e in zip(given[2:], stride, padding, reach, extra or [0] * count, strict=True)
        )
        channels = weight[1] * groups
    else:
        spatial = tuple(
            (size + 2 * p - r - 1) // s + 1
            for size, s, p, r in zip(given[2:], stride, padding, reach, strict=True)
        )
        channels = weight[0]
        require(given[1] == weight[1] * groups, "channels, weight and groups contradict each other")
    require(all(size >= 0 for size in spatial), "the kernel is larger than the padded input")
    return (given[0], channels, *spatial)


def _sizes(call: OpCall, index: int | None, count: int, default: int | None) -> tuple[int, ...] | None:
    """A setting per spatial dimension; torch lets one number stand for all."""
    if index is None:
        return None if default is None else (default,) * count
    values = ints_at(call, index)
    if values is not None and len(values) == 1:
        return values * count
    return values if values is not None and len(values) == count else None


_CONVOLUTION = ConvolutionArguments(stride=3, padding=4, dilation=5, transposed=6, output_padding=7, groups=8)
_SIMPLE = ConvolutionArguments(stride=3, padding=4, dilation=5, groups=6)
_SIMPLE_TRANSPOSE = ConvolutionArguments(
    stride=3, padding=4, output_padding=5, groups=6, dilation=7, transposed=True
)
_CUDNN = ConvolutionArguments(padding=2, stride=3, dilation=4, groups=5, others=())
_CUDNN_TRANSPOSE = ConvolutionArguments(
    padding=2, output_padding=3, stride=4, dilation=5, groups=6, transposed=True, others=()
)
_ADD_RELU = ConvolutionArguments(stride=5, padding=6, dilation=7, groups=8, others=(2, 4))
_PADDING_FIRST = ConvolutionArguments(padding=3, stride=4, dilation=5, groups=6)
_WITH_KERNEL_SIZE = ConvolutionArguments(stride=4, padding=5, others=(3,))
_DILATED = ConvolutionArguments(stride=4, padding=5, dilation=6, others=(3,))
_SLOW_TRANSPOSE = ConvolutionArguments(
    stride=4, padding=5, output_padding=6, dilation=7, transposed=True, others=(3,)
)

_ARGUMENTS: Mapping[str, ConvolutionArguments] = {
    "aten::convolution": _CONVOLUTION,
    "aten::_convolution": _CONVOLUTION,
    "aten::convolution_overrideable": _CONVOLUTION,
    "aten::conv1d": _SIMPLE,
    "aten::conv2d": _SIMPLE,
    "aten::conv3d": _SIMPLE,
    "aten::_convolution_mode": _SIMPLE,  # padding="same" is not recorded; the convolution inside it is
    "aten::conv_transpose1d": _SIMPLE_TRANSPOSE,
    "aten::conv_transpose2d": _SIMPLE_TRANSPOSE,
    "aten::conv_transpose3d": _SIMPLE_TRANSPOSE,
    "aten::cudnn_convolution": _CUDNN,
    "aten::cudnn_convolution_relu": _SIMPLE,
    "aten::cudnn_convolution_add_relu": _ADD_RELU,
    "aten::cudnn_convolution_transpose": _CUDNN_TRANSPOSE,
    "aten::miopen_convolution": _PADDING_FIRST,
    "aten::miopen_depthwise_convolution": _PADDING_FIRST,
    "aten::miopen_convolution_relu": _SIMPLE,
    "aten::miopen_convolution_add_relu": _ADD_RELU,
    "aten::miopen_convolution_transpose": ConvolutionArguments(
        padding=3, output_padding=4, stride=5, dilation=6, groups=7, transposed=True
    ),
    "aten::mkldnn_convolution": _PADDING_FIRST,
    "aten::_mps_convolution": _PADDING_FIRST,
    "aten::_mps_convolution_transpose": _CUDNN_TRANSPOSE,
    "aten::_nnpack_spatial_convolution": ConvolutionArguments(padding=3, stride=4),
    "aten::thnn_conv2d": _WITH_KERNEL_SIZE,
    "aten::thnn_conv2d_forward": _WITH_KERNEL_SIZE,
    "aten::_slow_conv2d_forward": _WITH_KERNEL_SIZE,
    "aten::slow_conv3d": _WITH_KERNEL_SIZE,
    "aten::slow_conv3d_forward": _WITH_KERNEL_SIZE,
    "aten::slow_conv_dilated2d": _DILATED,
    "aten::slow_conv_dilated3d": _DILATED,
    "aten::slow_conv_transpose2d": _SLOW_TRANSPOSE,
    "aten::slow_conv_transpose3d": _SLOW_TRANSPOSE,
    "aten::thnn_conv_depthwise2d": _DILATED,
    "aten::thnn_conv_depthwise2d_forward": _DILATED,
    "aten::_conv_depthwise2d": _DILATED,
    "aten::conv_depthwise3d": _DILATED,
}

CONVOLUTION_FORMULAS: Mapping[str, Formula] = {
    name: Formula(partial(_convolution_cost, where=where), operands=(0, 1))
    for name, where in _ARGUMENTS.items()
}
"""By op name."""
