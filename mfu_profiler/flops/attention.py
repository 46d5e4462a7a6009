"""Scaled-dot-product attention: softmax(Q @ K^T) @ V, and its backward.

Conventions, as in PaLM's appendix B and torch's ``flop_registry``: the full square of scores counts whatever
the mask (causal, sliding window, bias) leaves of it; softmax, scaling and dropout count 0. Grouped-query
attention costs as many scores as there are *query* heads.
"""

from __future__ import annotations

from dataclasses import dataclass

from mfu_profiler.flops.arguments import require
from mfu_profiler.flops.call import OpCost, Shape

__all__ = ["Scores", "attention_backward", "attention_forward", "dense_scores", "packed_scores"]


@dataclass(frozen=True, slots=True)
class Scores:
    """The score matrices of one attention call."""

    count: int
    """Scores: the sum of len_q x len_kv over batch and query heads."""
    dim_qk: int
    """Length of a query and of a key."""
    dim_v: int
    """Length of a value."""
    is_square: bool
    """Whether queries and keys are equally many, so that a causal mask leaves half."""


def dense_scores(query: Shape, key: Shape, value: Shape) -> Scores:
    """Scores of dense tensors.

    Args:
        query: shape ``(batch, heads, len_q, dim_qk)``.
        key: shape ``(batch, heads_kv, len_kv, dim_qk)``; ``heads_kv`` divides ``heads``.
        value: shape ``(batch, heads_kv, len_kv, dim_v)``.

    """
    batch, heads, len_q, dim_qk = query
    require(batch == key[0], "batch sizes of query and key differ")
    require(key[:3] == value[:3], "batch, heads or lengths of key and value differ")
    _require_heads(heads, key[1], dim_qk, key[3])
    return Scores(batch * heads * len_q * key[2], dim_qk, value[3], is_square=len_q == key[2])


def packed_scores(
    query: Shape, key: Shape, value: Shape, sequences: int, longest_q: int | None, longest_kv: int | None
) -> Scores | None:
    """Scores of sequences of different lengths that lie behind each other in one tensor.

    The lengths are data, which no trace holds. The sum of len_q x len_kv is known nevertheless where all
    queries (or all keys) are as long as the longest, and where there is only one sequence. Elsewhere None:
    it lies anywhere between total_q * total_kv / sequences and total_q * longest_kv.

    Args:
        query: shape ``(total_q, heads, dim_qk)``.
        key: shape ``(total_kv, heads_kv, dim_qk)``.
        value: shape ``(total_kv, heads_kv, dim_v)``.
        sequences: how many there are.
        longest_q: length of the longest query sequence; None where unknown.
        longest_kv: length of the longest key sequence; None where unknown.

    """
    total_q, heads, dim_qk = query
    total_kv = key[0]
    require(key[:2] == value[:2], "lengths or heads of key and value differ")
    _require_heads(heads, key[1], dim_qk, key[2])
    if longest_q is not None and total_q == sequences * longest_q:
        pairs = longest_q * total_kv
    elif longest_kv is not None and total_kv == sequences * longest_kv:
        pairs = longest_kv * total_q
    elif sequences == 1:
        pairs = total_q * total_kv
    else:
        return None
    return Scores(heads * pairs, dim_qk, value[2], is_square=total_q == total_kv)


def attention_forward(scores: Scores) -> OpCost:
    """Cost of softmax(Q @ K^T) @ V: two matmuls.

    Q @ K^T is 2 * dim_qk FLOP per score, weighting V is 2 * dim_v.

    Source: PaLM (arXiv:2204.02311), appendix B: 2 * 2 * L*H*Q*T of its 12*L*H*Q*T per token are the forward.
    """
    return OpCost(model_flop=2 * scores.count * (scores.dim_qk + scores.dim_v))


def attention_backward(scores: Scores) -> OpCost:
    """Cost of the backward pass of softmax(Q @ K^T) @ V.

    Returns:
        Four matmuls as ``model_flop``: dV and dScores with 2 * dim_v FLOP per score each, dQ and dK with
        2 * dim_qk each. The scores that fused kernels compute a second time, because the forward does not
        keep them, as ``recompute_flop``: 2 * dim_qk per score. Together they are what torch counts.

    Source:
        PaLM (arXiv:2204.02311), appendix B; FlashAttention-2 (arXiv:2307.08691), section 4.1: two matmuls in
        the forward pass, five in the backward pass due to recomputation.

    """
    return OpCost(
        model_flop=2 * scores.count * (2 * scores.dim_qk + 2 * scores.dim_v),
        recompute_flop=2 * scores.count * scores.dim_qk,
    )


def _require_heads(heads: int, heads_kv: int, dim_q: int, dim_k: int) -> None:
    require(dim_q == dim_k, "queries and keys have different lengths")
    require(heads_kv > 0 and heads % heads_kv == 0, "key heads do not divide query heads")
