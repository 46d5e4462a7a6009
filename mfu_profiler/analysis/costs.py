"""FLOP and bytes of the work in a trace, from the shapes that its ops record.

Costs are computed once per signature (op name and argument shapes), of which even a long trace has a
few thousand, and then looked up per op.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.op_roles import is_in_optimizer, is_recomputed
from mfu_profiler.analysis.work import Work
from mfu_profiler.flops import (
    Argument,
    OpCall,
    OpCost,
    generic_byte,
    matmul_dtype,
    op_call,
    op_cost,
)
from mfu_profiler.trace.columns import RawSignature
from mfu_profiler.trace.nesting import Nesting
from mfu_profiler.trace.timeline import Timeline

__all__ = ["OpCosts", "WorkCosts", "op_costs", "work_costs"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]

# Without Concrete Inputs (before torch 2) a convolution alone does not tell its stride and padding.
_NEEDS_PAIR = re.compile(r"conv|FlashAttn", re.IGNORECASE)
_CONVOLUTION_BACKWARD = re.compile(r"convolution.*_backward$")


@dataclass(frozen=True, slots=True)
class OpCosts:
    """Costs of the ops that launched work and have a known cost; one row per op."""

    op: Int64
    """Rows of ``Timeline.ops``, ascending."""
    model_flop: Int64
    """FLOP as a part of the model, whatever the op's role."""
    recompute_flop: Int64
    """FLOP that the op repeats inside itself."""
    causal_flop: Int64
    """``model_flop`` with causal attention counted by half."""
    byte: Float64
    has_byte: Bool
    dtype: tuple[str | None, ...]
    """Arithmetic precision by the op's operands."""
    is_recomputed: Bool
    is_optimizer: Bool
    is_causal: Bool

    @property
    def executed_flop(self) -> Int64:
        """Everything the op executes."""
        return self.model_flop + self.recompute_flop


@dataclass(frozen=True, slots=True)
class WorkCosts:
    """Costs of work items: an op's cost is spread over its items by their time."""

    flop: Float64
    """Executed FLOP."""
    has_flop: Bool
    """Whether the item's op has a known cost."""
    cost: Int64
    """Row of ``OpCosts``."""
    byte: Float64
    has_byte: Bool


class _Signatures:
    """Costs by signature, computed on demand."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._calls: dict[tuple[int, int], OpCall | None] = {}
        self._costs: dict[tuple[int, int], tuple[OpCost | None, str | None]] = {}
        self._generic: dict[int, int | None] = {}

    def cost(self, signature: int, paired: int) -> tuple[OpCost | None, str | None]:
        """Cost and precision of a signature; ``paired`` is the related op's signature, 0 for none."""
        key = (signature, paired)
        if key not in self._costs:
            call = self._call(signature, paired)
            self._costs[key] = (None, None) if call is None else (op_cost(call), matmul_dtype(call))
        return self._costs[key]

    def byte(self, signature: int) -> int | None:
        """Least traffic of an op without formula."""
        if signature not in self._generic:
            call = self._call(signature, 0)
            self._generic[signature] = None if call is None else generic_byte(call)
        return self._generic[signature]

    def _call(self, signature: int, paired: int) -> OpCall | None:
        if signature == 0:
            return None
        raw: RawSignature = self._timeline.signatures[signature]
        return op_call(
            self._timeline.names[raw.name],
            _decoded(raw.dims),
            _decoded(raw.types),
            _decoded(raw.concrete),
            paired_shapes=_decoded(self._timeline.signatures[paired].dims) if paired else None,
        )


def op_costs(timeline: Timeline, nesting: Nesting, work: Work) -> OpCosts:
    """Costs of all ops that work items name as their cost op, where the shapes tell one."""
    ops = timeline.ops
    candidates = np.unique(work.cost_op[work.has_cost_op])
    signatures = _Signatures(timeline)
    pairs = _paired_signatures(timeline, nesting, candidates)
    found = [
        signatures.cost(int(signature), pair)
        for signature, pair in zip(ops.signature[candidates].tolist(), pairs, strict=True)
    ]
    known = np.array([cost is not None for cost, _ in found], np.bool_)
    rows = candidates[known]
    costs = [cost for cost, _ in found if cost is not None]
    causal = [cost.causal_model_flop for cost in costs]
    model = np.array([cost.model_flop for cost in costs], np.int64)
    return OpCosts(
        op=rows,
        model_flop=model,
        recompute_flop=np.array([cost.recompute_flop for cost in costs], np.int64),
        causal_flop=np.array(
            [cost.model_flop if half is None else half for cost, half in zip(costs, causal, strict=True)],
            np.int64,
        ),
        byte=np.array([cost.byte or 0 for cost in costs], np.float64),
        has_byte=np.array([cost.byte is not None for cost in costs], np.bool_),
        dtype=tuple(dtype for (cost, dtype) in found if cost is not None),
        is_recomputed=is_recomputed(timeline, nesting, rows),
        is_optimizer=is_in_optimizer(timeline, nesting, rows),
        is_causal=np.array([half is not None for half in causal], np.bool_),
    )


def work_costs(timeline: Timeline, work: Work, costs: OpCosts) -> WorkCosts:
    """Spread the costs of ops over their work items."""
    count = len(work)
    place = np.searchsorted(costs.op, work.cost_op)
    place = np.minimum(place, max(0, len(costs.op) - 1))
    has_flop = work.has_cost_op & (len(costs.op) > 0)
    if len(costs.op):
        has_flop &= costs.op[place] == work.cost_op
    cost = np.where(has_flop, place, 0)
    weight = _weights(cost, work.time_ns, has_flop)
    flop = np.zeros(count)
    byte, has_byte = _generic_bytes(timeline, work, ~has_flop)
    if len(costs.op):
        flop[has_flop] = costs.executed_flop[cost[has_flop]] * weight[has_flop]
        byte[has_flop] = costs.byte[cost[has_flop]] * weight[has_flop]
        has_byte[has_flop] = costs.has_byte[cost[has_flop]]
    return WorkCosts(flop, has_flop, cost, byte, has_byte)


def _weights(group: Int64, time_ns: Int64, mask: Bool) -> Float64:
    """Each item's share of its group's time; equal shares where the group has no time."""
    weight = np.zeros(len(group))
    rows = np.flatnonzero(mask)
    if len(rows):
        time = np.maximum(time_ns[rows], 0).astype(np.float64) + 1e-9
        weight[rows] = time / np.bincount(group[rows], weights=time)[group[rows]]
    return weight


def _generic_bytes(timeline: Timeline, work: Work, mask: Bool) -> tuple[Float64, Bool]:
    """Least traffic of items by their innermost op's shapes, spread over the op's items."""
    signatures = _Signatures(timeline)
    signature = (
        np.where(work.has_op & mask, timeline.ops.signature[work.op], 0)
        if len(timeline.ops)
        else (np.zeros(len(work), np.int32))
    )
    table = np.zeros(len(timeline.signatures))
    known = np.zeros(len(timeline.signatures), np.bool_)
    for index in np.unique(signature).tolist():
        byte = signatures.byte(index)
        table[index], known[index] = byte or 0, byte is not None
    has_byte = known[signature] & mask
    return table[signature] * _weights(work.op, work.time_ns, has_byte), has_byte


def _paired_signatures(timeline: Timeline, nesting: Nesting, rows: Int64) -> list[int]:
    """The signature of each op's related op where the op alone does not say enough; 0 elsewhere.

    The convolution backward that encloses it, else the op with the same autograd sequence number on
    the other side: forward and backward of one node share it.
    """
    ops = timeline.ops
    needs = timeline.by_name(ops.name, lambda name: bool(_NEEDS_PAIR.search(name)), np.bool_)[rows]
    lacks = np.array(
        [not timeline.signatures[index].concrete for index in ops.signature[rows].tolist()], np.bool_
    )
    result = [0] * len(rows)
    asking = np.flatnonzero(needs & lacks)
    if not len(asking):
        return result
    enclosing = timeline.by_name(ops.name, lambda name: bool(_CONVOLUTION_BACKWARD.search(name)), np.bool_)
    above, has_above = nesting.parent_among(rows[asking], enclosing)
    partners = _nodes_by_sequence(timeline)
    by_tensors = _backward_by_tensors(timeline, enclosing)
    for index, parent, is_inside in zip(asking.tolist(), above.tolist(), has_above.tolist(), strict=True):
        row = int(rows[index])
        if is_inside:
            result[index] = int(ops.signature[parent])
        elif ops.has_sequence[row]:
            result[index] = partners.get(int(ops.sequence[row]), {}).get(
                "Backward" not in timeline.names[ops.name[row]], 0
            )
        else:
            result[index] = by_tensors.get(_tensors(timeline, int(ops.signature[row])), 0)
    return result


def _backward_by_tensors(timeline: Timeline, is_backward: Bool) -> dict[frozenset[Argument], int]:
    """Signatures of convolution backward ops by input and weight, where these tell the gradient's shape.

    For the 2020 format, which has no sequence numbers. Two strides on one input and weight cannot be told
    apart; such convolutions stay unknown.
    """
    rows = np.unique(timeline.ops.signature[is_backward])
    result: dict[frozenset[Argument], int] = {}
    for signature in rows[rows > 0].tolist():
        raw = timeline.signatures[signature]
        call = op_call(timeline.names[raw.name], _decoded(raw.dims))
        if call is None or len(call.shapes) < 3:
            continue
        key = frozenset((call.shapes[0], call.shapes[2]))  # (input, grad_output, weight)
        result[key] = signature if key not in result else 0
    return result


def _tensors(timeline: Timeline, signature: int) -> frozenset[Argument]:
    """Input and weight of a forward convolution."""
    raw = timeline.signatures[signature]
    call = op_call(timeline.names[raw.name], _decoded(raw.dims))
    return frozenset(call.shapes[:2]) if call is not None else frozenset()


def _nodes_by_sequence(timeline: Timeline) -> dict[int, dict[bool, int]]:
    """Per sequence number the signatures of its backward node (True) and outermost forward op (False)."""
    ops = timeline.ops
    backward = timeline.by_name(ops.name, lambda name: "Backward" in name, np.bool_)
    relevant = timeline.by_name(ops.name, lambda name: bool(_NEEDS_PAIR.search(name)), np.bool_)
    rows = np.flatnonzero(relevant & ops.has_sequence & (ops.signature > 0))
    result: dict[int, dict[bool, int]] = {}
    for sequence, is_backward, signature in zip(
        ops.sequence[rows].tolist(), backward[rows].tolist(), ops.signature[rows].tolist(), strict=True
    ):
        result.setdefault(sequence, {}).setdefault(is_backward, signature)
    return result


def _decoded(text: bytes) -> Any:
    """JSON of a signature; None where it is absent or broken (then the shapes are not known)."""
    try:
        return msgspec.json.decode(text) if text else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
