"""Which op runs attention, and where it keeps its arguments.

Layouts (first letters of batch, heads, sequence, dim): torch's ``_scaled_dot_product_*`` ops take BHSD; the
``_flash_attention_*`` and ``_efficient_attention_*`` below them, and the flash-attn package, take BSHD, or
packed sequences together with their cumulative lengths. (torch's ``flop_registry`` reads BSHD as BHSD and so
counts the dense ``aten::_flash_attention_forward`` off by heads / length; it never meets one, because it
counts the op above. A trace holds both: take the innermost.)

``aten::_scaled_dot_product_attention_math`` consists of matmuls with events of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod

from mfu_profiler.flops.arguments import (
    NoCostError,
    dtype_at,
    flag_at,
    has_tensor,
    int_at,
    is_shape,
    require,
    shape_at,
    traffic_byte,
)
from mfu_profiler.flops.attention import (
    Scores,
    attention_backward,
    attention_forward,
    dense_scores,
    packed_scores,
)
from mfu_profiler.flops.call import OpCall, OpCost, Shape
from mfu_profiler.flops.formula import Formula

__all__ = ["ATTENTION_FORMULAS"]


@dataclass(frozen=True, slots=True)
class AttentionArguments:
    """Where an attention op keeps its arguments, as indices into its schema; None: it has no such one."""

    query: int = 0
    """Key and value follow it."""
    grad_output: int | None = None
    """Set for backward ops."""
    output: int | None = None
    """The forward's output, which a backward reads."""
    heads_first: bool = False
    """BHSD instead of BSHD."""
    cumulative: tuple[int, int] | None = None
    """Cumulative lengths of queries and keys, of shape (sequences + 1,); absent: dense tensors."""
    longest: tuple[int, int] | None = None
    """Length of the longest query and key sequence."""
    causal: tuple[int, ...] = ()
    """Candidates for the causal flag (overloads share a name); the first that is a bool counts."""
    mask_type: int | None = None
    """``custom_mask_type`` of the efficient kernels: 1 and 2 are causal."""
    absent: tuple[int, ...] = ()
    """Tensors that make lengths depend on data (used lengths, page tables): with them there is no cost."""


def _attention_cost(call: OpCall, where: AttentionArguments) -> OpCost:
    operands = [where.query, where.query + 1, where.query + 2]
    query, key, value = (shape_at(call, index, 2, 3, 4) for index in operands)
    require(not any(has_tensor(call, index) for index in where.absent), "lengths depend on data")
    scores = _scores(call, where, query, key, value)
    if where.grad_output is None:
        cost = attention_forward(scores)
        reads = operands
        writes = [prod(query[:-1]) * value[-1]]
    else:
        gradient = shape_at(call, where.grad_output, len(query))
        require(gradient == (*query[:-1], value[-1]), "the gradient has not the output's shape")
        cost = attention_backward(scores)
        reads = [where.grad_output, *operands, *([] if where.output is None else [where.output])]
        writes = [prod(query), prod(key), prod(value)]
    dtype = dtype_at(call, where.query)
    return replace(
        cost,
        byte=traffic_byte(call, reads, [(elements, dtype) for elements in writes]),
        causal_model_flop=cost.model_flop // 2 if scores.is_square and _is_causal(call, where) else None,
    )


def _scores(call: OpCall, where: AttentionArguments, query: Shape, key: Shape, value: Shape) -> Scores:
    sequences = _sequences(call, where)
    if sequences is None:
        require(where.heads_first or len(query) == 4, "not four dimensions")
        shapes = (_with_rank_4(query), _with_rank_4(key), _with_rank_4(value))
        return dense_scores(*(shape if where.heads_first else _heads_first(shape) for shape in shapes))
    longest_q, longest_kv = [int_at(call, index) for index in where.longest or ()] or (None, None)
    scores = packed_scores(_packed(query), _packed(key), _packed(value), sequences, longest_q, longest_kv)
    if scores is None:
        raise NoCostError("the lengths of the packed sequences are not recorded")
    return scores


def _sequences(call: OpCall, where: AttentionArguments) -> int | None:
    """How many sequences are packed; None for dense tensors."""
    if where.cumulative is None or not has_tensor(call, where.cumulative[0]):
        return None
    ends = shape_at(call, where.cumulative[0], 1)[0]
    return ends - 1 if ends > 0 else None


def _with_rank_4(shape: Shape) -> Shape:
    return (1,) * (4 - len(shape)) + shape


def _heads_first(shape: Shape) -> Shape:
    batch, length, heads, dim = shape
    return (batch, heads, length, dim)


def _packed(shape: Shape) -> Shape:
    """The efficient kernels keep a batch dimension of 1 before the packed one."""
    if len(shape) == 4:
        require(shape[0] == 1, "packed sequences have no batch dimension")
        return shape[1:]
    require(len(shape) == 3, "packed sequences have three dimensions")
    return shape


def _is_causal(call: OpCall, where: AttentionArguments) -> bool:
    if where.mask_type is not None:
        return int_at(call, where.mask_type) in (1, 2)
    flags = (flag_at(call, index) for index in where.causal)
    return next((flag for flag in flags if flag is not None), False)


def _fused_projection_cost(call: OpCall, parts: int) -> OpCost:
    """``FlashAttnQKVPackedFunc``: one tensor BS3HD. ``FlashAttnKVPackedFunc``: a query BSHD and BS2HD."""
    last = shape_at(call, 3 - parts, 5)
    require(last[2] == parts, f"the tensor does not hold {parts} parts")
    key = (*last[:2], *last[3:])
    query = key if parts == 3 else shape_at(call, 0, 4)
    scores = dense_scores(_heads_first(query), _heads_first(key), _heads_first(key))
    reads = (0,) if parts == 3 else (0, 1)
    written = [(prod(query), dtype_at(call, 0))]
    return replace(attention_forward(scores), byte=traffic_byte(call, reads, written))


def _autograd_backward_cost(call: OpCall) -> OpCost:
    """``FlashAttnFuncBackward`` records only the gradient; the forward's inputs must be paired with it."""
    gradient = shape_at(call, 0, 4)
    shapes = [shape for shape in (call.paired_shapes or ())[:3] if is_shape(shape) and len(shape) == 4]
    require(len(shapes) == 3, "the forward's query, key and value are not paired")
    query, key, value = (_heads_first(shape) for shape in shapes)
    require(_heads_first(gradient) == (*query[:-1], value[-1]), "the gradient has not the output's shape")
    return attention_backward(dense_scores(query, key, value))


_SDPA = AttentionArguments(heads_first=True)
_SDPA_BACKWARD = AttentionArguments(grad_output=0, query=1, heads_first=True)
_FLASH = AttentionArguments(cumulative=(3, 4), longest=(5, 6), causal=(8,), absent=(13, 15, 16))
_EFFICIENT = AttentionArguments(cumulative=(4, 5), longest=(6, 7), mask_type=9, absent=(12,))
_FLASH_3_FORWARD = AttentionArguments(
    cumulative=(7, 8), longest=(12, 13), causal=(24,), absent=(3, 10, 11, 14)
)
_VARLEN = AttentionArguments(cumulative=(3, 4), longest=(5, 6), causal=(7,), absent=(11, 12))

_ARGUMENTS: Mapping[str, AttentionArguments] = {
    # torch
    "aten::scaled_dot_product_attention": replace(_SDPA, causal=(5,)),
    "aten::_scaled_dot_product_flash_attention": replace(_SDPA, causal=(4, 7)),  # 7: the fp8 overload
    "aten::_scaled_dot_product_flash_attention_backward": replace(_SDPA_BACKWARD, output=4, causal=(11,)),
    "aten::_scaled_dot_product_flash_attention_for_cpu": replace(_SDPA, causal=(4,)),
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": replace(
        _SDPA_BACKWARD, output=4, causal=(7,)
    ),
    "aten::_scaled_dot_product_efficient_attention": replace(_SDPA, causal=(6,)),
    "aten::_scaled_dot_product_efficient_attention_backward": replace(_SDPA_BACKWARD, output=5, causal=(11,)),
    "aten::_scaled_dot_product_cudnn_attention": replace(_SDPA, causal=(6,)),
    "aten::_scaled_dot_product_cudnn_attention_backward": replace(_SDPA_BACKWARD, output=4, causal=(14,)),
    "aten::_scaled_dot_product_fused_attention_overrideable": replace(_SDPA, causal=(5,)),
    "aten::_scaled_dot_product_fused_attention_overrideable_backward": replace(
        _SDPA_BACKWARD, output=6, causal=(13,)
    ),
    "aten::_flash_attention_forward": _FLASH,
    "aten::_flash_attention_forward_no_dropout_inplace": AttentionArguments(
        query=1, cumulative=(4, 5), longest=(6, 7), causal=(9,), absent=(14, 16)
    ),
    "aten::_flash_attention_backward": AttentionArguments(
        grad_output=0, query=1, output=4, cumulative=(6, 7), longest=(8, 9), causal=(11,)
    ),
    "aten::_efficient_attention_forward": _EFFICIENT,
    "aten::_efficient_attention_backward": AttentionArguments(
        grad_output=0, query=1, output=5, cumulative=(6, 7), longest=(8, 9), mask_type=14
    ),
    "aten::_cudnn_attention_forward": AttentionArguments(
        heads_first=True, cumulative=(4, 5), longest=(6, 7), causal=(10,)
    ),
    "aten::_cudnn_attention_backward": AttentionArguments(
        grad_output=0, query=1, output=4, heads_first=True, cumulative=(9, 10), longest=(11, 12), causal=(14,)
    ),
    "torch_attn::_varlen_attn": _VARLEN,
    "torch_attn::_varlen_attn_out": AttentionArguments(
        query=1, cumulative=(4, 5), longest=(6, 7), causal=(8,), absent=(12, 13)
    ),
    "torch_attn::_varlen_attn_backward": AttentionArguments(
        grad_output=0, query=1, output=4, cumulative=(6, 7), longest=(8, 9), causal=(10,)
    ),
    "flex_attention": _SDPA,
    "flex_attention_backward": AttentionArguments(grad_output=5, query=0, output=3, heads_first=True),
    # flash-attn 2 (flash_attn/flash_attn_interface.py) and its ROCm kin (aiter/ops/mha.py)
    "flash_attn::_flash_attn_forward": AttentionArguments(causal=(5,)),
    "flash_attn::_flash_attn_backward": AttentionArguments(grad_output=0, query=1, output=4, causal=(11,)),
    "flash_attn::_flash_attn_varlen_forward": AttentionArguments(
        cumulative=(3, 4), longest=(5, 6), causal=(9,), absent=(15, 16, 17)
    ),
    "flash_attn::_flash_attn_varlen_backward": AttentionArguments(
        grad_output=0, query=1, output=4, cumulative=(9, 10), longest=(11, 12), causal=(15,)
    ),
    "aiter::_flash_attn_forward": AttentionArguments(causal=(5,)),
    "aiter::_flash_attn_backward": AttentionArguments(grad_output=0, query=1, output=4, causal=(11, 12)),
    "FlashAttnFunc": AttentionArguments(),
    # flash-attn 3 (hopper/flash_attn_interface.py, hopper/flash_api.cpp)
    "flash_attn_3::fwd": _FLASH_3_FORWARD,
    "flash_attn_3::_flash_attn_forward": _FLASH_3_FORWARD,
    "flash_attn_3::bwd": AttentionArguments(
        grad_output=0, query=1, output=4, cumulative=(9, 10), longest=(13, 14), causal=(16,), absent=(11, 12)
    ),
    "flash_attn_3::_flash_attn_backward": AttentionArguments(
        grad_output=0, query=1, output=4, cumulative=(6, 7), longest=(10, 11), causal=(13,), absent=(8, 9)
    ),
    # xformers (xformers/csrc/attention/attention.cpp, xformers/ops/fmha/flash.py)
    "xformers::efficient_attention_forward_cutlass": _EFFICIENT,
    "xformers_flash::flash_fwd": AttentionArguments(
        cumulative=(3, 4), longest=(6, 7), causal=(10,), absent=(5, 14)
    ),
    "xformers_flash::flash_bwd": AttentionArguments(
        grad_output=1, query=2, output=5, cumulative=(7, 8), longest=(9, 10), causal=(13,)
    ),
}


def _formula(where: AttentionArguments) -> Formula:
    return Formula(partial(_attention_cost, where=where), operands=(where.query, where.query + 1))


ATTENTION_FORMULAS: Mapping[str, Formula] = {
    **{name: _formula(where) for name, where in _ARGUMENTS.items()},
    "FlashAttnQKVPackedFunc": Formula(partial(_fused_projection_cost, parts=3), operands=(0,)),
    "FlashAttnKVPackedFunc": Formula(partial(_fused_projection_cost, parts=2), operands=(0, 1)),
    "FlashAttnFuncBackward": Formula(_autograd_backward_cost, operands=(0,)),
}
"""By op name."""
