"""Device work that a change of code takes away: layout conversions, unfused chains, repetition."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.fixes.steps import Steps
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.op_roles import is_recomputed
from mfu_profiler.analysis.replay.relief import Relief
from mfu_profiler.trace.kernel_kinds import KERNEL_KINDS

__all__ = ["LAYOUT_KERNEL", "layout_conversions", "recomputation", "unfused_chains"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

LAYOUT_KERNEL = re.compile(r"nchwToNhwc|nhwcToNchw|batched_transpose|SubTensorOp", re.IGNORECASE)
"""Helpers of cuDNN and MIOpen that convert between NCHW and NHWC."""
_CHAINED = [
    KERNEL_KINDS.index(kind) for kind in ("elementwise", "reduction", "normalization", "softmax", "memory")
]
"""Bound by memory, and fused with what stands before and behind by torch.compile."""


def layout_conversions(steps: Steps) -> Relief:
    """Kernels that convert between memory formats around convolutions: gone with channels_last."""
    converts = steps.timeline.by_name(
        steps.work.name, lambda name: bool(LAYOUT_KERNEL.search(name)), np.bool_
    )
    return Relief.of_work(np.flatnonzero(converts))


def unfused_chains(steps: Steps, apart: Int64) -> Relief:
    """Neighbouring kernels bound by memory: fused, a chain takes as long as its longest member.

    Args:
        steps: of the trace.
        apart: rows of work that another fix is about; no chain runs through them.

    """
    work = steps.work
    order = np.argsort(work.start_ns, kind="stable")
    order = order[~work.is_communication[order]]
    chained = np.isin(work.kind, _CHAINED)
    chained[apart] = False
    chained = chained[order]
    if not chained.any():
        return Relief()
    chain = np.cumsum(~(chained & np.concatenate([[False], chained[:-1]])))[chained]
    rows = order[chained]
    longest_first = np.lexsort((-work.time_ns[rows], chain))
    is_shorter = np.diff(chain[longest_first], prepend=-1) == 0
    return replace(Relief.of_work(rows[longest_first[is_shorter]]), is_unlaunched=True)


def recomputation(steps: Steps) -> Relief:
    """What activation checkpointing computes again."""
    if not steps.ran.costs.is_recomputed.any():
        return Relief()
    everything = np.arange(len(steps.ops))
    again = is_recomputed(steps.timeline, steps.nesting, everything)
    rows = np.flatnonzero(steps.work.has_op & again[steps.work.op])
    return Relief.of_work(rows, 0.0, Spans.of(steps.ops.start_ns[again], steps.ops.end_ns[again]))
