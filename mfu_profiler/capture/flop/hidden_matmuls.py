"""Ops that run whole and hide matmuls from a dispatch mode.

While autograd is on, composite ops fall apart above a dispatch mode, which then sees ``aten::addmm`` and its
kin. In inference mode they arrive whole. Those with a formula are counted by it; the others that hide matmuls
are run part by part, by the same C++ code that would run them: the same kernels in the same order.

The fused layers of ``nn.TransformerEncoderLayer`` and ``nn.MultiheadAttention`` (evaluation without
gradients) have no parts to be seen. They get formulas here; in a trace their parts have events of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from mfu_profiler.flops.arguments import shape_at
from mfu_profiler.flops.call import OpCall, OpCost, Shape
from mfu_profiler.flops.formula import Formula

__all__ = ["FUSED_LAYER_FORMULAS", "HIDING_MATMULS"]

HIDING_MATMULS = frozenset(
    {
        "aten::_convolution",
        "aten::_convolution_mode",
        "aten::_scaled_dot_product_attention_math",
        "aten::chain_matmul",
        "aten::conv1d",
        "aten::conv2d",
        "aten::conv3d",
        "aten::conv_transpose1d",
        "aten::conv_transpose2d",
        "aten::conv_transpose3d",
        "aten::corrcoef",
        "aten::cov",
        "aten::einsum",
        "aten::ger",
        "aten::gru",
        "aten::gru_cell",
        "aten::inner",
        "aten::linalg_matmul",
        "aten::linalg_matrix_power",
        "aten::linalg_multi_dot",
        "aten::linalg_vecdot",
        "aten::linear",
        "aten::lstm",
        "aten::lstm_cell",
        "aten::matmul",
        "aten::matrix_exp",
        "aten::matrix_power",
        "aten::outer",
        "aten::rnn_relu",
        "aten::rnn_relu_cell",
        "aten::rnn_tanh",
        "aten::rnn_tanh_cell",
        "aten::scaled_dot_product_attention",
        "aten::slow_conv3d",
        "aten::tensordot",
        "aten::thnn_conv2d",
    }
)
"""Composite ops of torch 2.13 that consist of matmuls or convolutions."""


def _projections(tokens: int, *weights: Shape) -> int:
    return sum(2 * tokens * prod(weight) for weight in weights)


def _attention(batch: int, length_q: int, length_kv: int, width: int) -> int:
    """Q @ K^T and weighting V: a multiply-add each for every score and dim of its head."""
    return 4 * batch * length_q * length_kv * width


def _attention_layer_cost(call: OpCall) -> OpCost:
    """``_native_multi_head_attention(query, key, value, width, heads, qkv_weight, _, proj_weight, ...)``.

    Query, key and value have shape (batch, length, width); a weight of (3*width, width) projects them.
    """
    batch, length, width = shape_at(call, 0, 3)
    keys = shape_at(call, 1, 3)[1]
    packed, output = shape_at(call, 5, 2), shape_at(call, 7, 2)
    third = (packed[0] // 3, packed[1])
    projections = _projections(batch * length, third, output) + _projections(batch * keys, third, third)
    return OpCost(projections + _attention(batch, length, keys, width))


def _encoder_layer_cost(call: OpCall) -> OpCost:
    """``_transformer_encoder_layer_fwd``: attention of ``src`` to itself, then two linear layers."""
    batch, length, width = shape_at(call, 0, 3)
    weights = (shape_at(call, index, 2) for index in (3, 5, 14, 16))
    return OpCost(_projections(batch * length, *weights) + _attention(batch, length, length, width))


FUSED_LAYER_FORMULAS: Mapping[str, Formula] = {
    "aten::_native_multi_head_attention": Formula(_attention_layer_cost, operands=(0, 5)),
    "aten::_transformer_encoder_layer_fwd": Formula(_encoder_layer_cost, operands=(0, 3)),
}
"""By op name. Nested tensors (padding left out) have no cost."""
