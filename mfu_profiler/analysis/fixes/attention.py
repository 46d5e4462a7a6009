"""Attention spelled out: a softmax between two batched matrix products of its own size.

::

    forward     bmm (sequence 40)   div   mask   softmax   dropout   bmm (sequence 45)
    backward    nodes 45, then 44 ... 41, then 40
                          └ in one kernel of scaled_dot_product_attention none of these goes to memory ┘
"""

from __future__ import annotations

from math import prod

import msgspec
import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.fixes.steps import Steps
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.op_roles import EVALUATE_FUNCTION
from mfu_profiler.analysis.replay.relief import Relief

__all__ = ["spelled_out_attention"]

Int64 = npt.NDArray[np.int64]

PRODUCTS = frozenset({"aten::bmm", "aten::baddbmm"})
SOFTMAX = "aten::_softmax"
MOST_APART = 60
"""Ops from a product to the softmax, and on to the next product: scale, mask, casts, dropout and views."""


def spelled_out_attention(steps: Steps) -> tuple[Relief, int]:
    """(What lies between the products, forward and backward; how many softmaxes run in all windows)."""
    found = _found(steps)
    if not found:
        return Relief(), 0
    ops, work = steps.ops, steps.work
    first, softmax, second = np.array(found, np.int64).T
    forward = Spans.of(ops.end_ns[first], ops.start_ns[second])
    engine = steps.ops_named(lambda name: name.startswith(EVALUATE_FUNCTION)) & ops.has_sequence
    has_both = ops.has_sequence[first] & ops.has_sequence[second]
    lows, highs = ops.sequence[first[has_both]] + 1, ops.sequence[second[has_both]]
    inside = Spans.of(lows, highs).holds(ops.sequence) & engine
    backward = Spans.of(ops.start_ns[inside], ops.end_ns[inside])
    spans = forward | backward
    running = work.op[work.has_op & steps.times.inside(work.start_ns)]
    return Relief.of_work(steps.work_within(spans), 0.0, spans), int(np.isin(softmax, running).sum())


def _found(steps: Steps) -> list[tuple[int, int, int]]:
    """(Product before, softmax, product after) of each whose sizes fit; the host may be a step ahead."""
    ops = steps.ops
    softmaxes = np.flatnonzero(steps.ops_named(lambda name: name == SOFTMAX))
    products = np.flatnonzero(steps.ops_named(PRODUCTS.__contains__))
    if not len(softmaxes) or not len(products):
        return []
    places = np.searchsorted(products, softmaxes)
    triples = []
    for row, place in zip(softmaxes.tolist(), places.tolist(), strict=True):
        if not 0 < place < len(products):
            continue
        before, after = int(products[place - 1]), int(products[place])
        near = row - before <= MOST_APART and after - row <= MOST_APART
        same_thread = ops.thread[before] == ops.thread[row] == ops.thread[after]
        if near and same_thread and _fits(steps, before, row, after):
            triples.append((before, row, after))
    return triples


def _fits(steps: Steps, before: int, softmax: int, after: int) -> bool:
    """Whether the product before writes, and the one after reads, as many elements as the softmax has."""
    size = prod(_dims(steps, softmax, 0))
    offset = 1 if steps.timeline.names[int(steps.ops.name[before])] == "aten::baddbmm" else 0
    left, right = _dims(steps, before, offset), _dims(steps, before, offset + 1)
    if len(left) != 3 or len(right) != 3:
        return False
    return prod(left[:2]) * right[2] == size == prod(_dims(steps, after, 0))


def _dims(steps: Steps, op: int, argument: int) -> list[int]:
    """Shape of an argument; empty where the trace does not have it."""
    raw = steps.timeline.signatures[int(steps.ops.signature[op])]
    try:
        shapes = msgspec.json.decode(raw.dims) if raw.dims else []
        found = shapes[argument]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, IndexError, KeyError, TypeError):
        return []
    is_shape = isinstance(found, list) and found and all(isinstance(one, int) for one in found)
    return found if is_shape else []
