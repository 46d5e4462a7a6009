"""Work items: what occupies the device, one row each, whether kernels on an accelerator or ops on a CPU.

The rest of the analysis (FLOP, efficiency, tables) is the same for both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.activity_kinds import ActivityKinds
from mfu_profiler.analysis.attribution import Attribution
from mfu_profiler.flops import has_formula
from mfu_profiler.trace.kernel_kinds import KERNEL_KINDS, has_no_flop, kernel_kind
from mfu_profiler.trace.nesting import Nesting
from mfu_profiler.trace.timeline import Timeline

__all__ = ["Work", "device_work", "host_work"]

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Int8 = npt.NDArray[np.int8]
Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]

_TRITON = KERNEL_KINDS.index("triton-fused")
_TORCH_NAMESPACES = frozenset({"aten", "autograd", "torch", "prims", "profiler", "c10d"})
_OP_KINDS = (("attention", "attention"), ("conv", "convolution"))
"""Part of the name of an op with a formula -> its kind; the others multiply matrices."""


@dataclass(frozen=True, slots=True)
class Work:
    """Compute kernels (or ops of a CPU), equally long columns."""

    name: Int32
    """Id into ``Timeline.names``."""
    kind: Int8
    """Index into ``KERNEL_KINDS``."""
    start_ns: Int64
    end_ns: Int64
    time_ns: Int64
    """Its own duration: for an op of a CPU without the ops inside it."""
    share_ns: Float64
    """Its part of the compute time of the averaged windows: concurrent kernels share each instant equally."""
    op: Int64
    has_op: Bool
    cost_op: Int64
    """Row of the op whose FLOP it helps to execute."""
    has_cost_op: Bool
    is_communication: Bool
    has_no_flop: Bool
    """Its name says that it multiplies no matrices."""

    def __len__(self) -> int:
        return len(self.name)


def device_work(
    timeline: Timeline, kinds: ActivityKinds, joined: Attribution, windows: tuple[Int64, Int64]
) -> Work:
    """Kernels of a device, communication included (its share is 0).

    Args:
        windows: starts and ends of the averaged windows.

    """
    activities = timeline.activities
    rows = np.flatnonzero(~kinds.is_copy)
    share = np.zeros(len(activities))
    compute = kinds.is_compute
    share[compute] = _shared_time(activities.start_ns[compute], activities.end_ns[compute], *windows)
    return Work(
        name=activities.name[rows],
        kind=kinds.kernel_kind[rows],
        start_ns=activities.start_ns[rows],
        end_ns=activities.end_ns[rows],
        time_ns=(activities.end_ns - activities.start_ns)[rows],
        share_ns=share[rows],
        op=joined.op[rows],
        has_op=joined.has_op[rows],
        cost_op=joined.cost_op[rows],
        has_cost_op=joined.has_cost_op[rows] & compute[rows],
        is_communication=kinds.is_communication[rows],
        has_no_flop=_kernels_without_flop(timeline, kinds, joined)[rows],
    )


def host_work(timeline: Timeline, nesting: Nesting, is_leaf_formula: Bool, compute_kept: Bool) -> Work:
    """Ops of a CPU. One with a formula stands for all ops inside it; others count their own time.

    Args:
        is_leaf_formula: ops with a formula and none inside.
        compute_kept: ops that count as compute in an averaged window.

    """
    ops = timeline.ops
    everything = np.arange(len(ops))
    _, is_inside = nesting.parent_among(everything, is_leaf_formula)
    duration = ops.end_ns - ops.start_ns
    own = duration.copy()
    counted_child = nesting.has_parent & ~is_inside
    np.subtract.at(own, nesting.parent[counted_child], duration[counted_child])
    own = np.where(is_leaf_formula, duration, np.maximum(own, 0))
    rows = np.flatnonzero(~is_inside)
    return Work(
        name=ops.name[rows],
        kind=timeline.by_name(ops.name, _op_kind, np.int8)[rows],
        start_ns=ops.start_ns[rows],
        end_ns=ops.end_ns[rows],
        time_ns=own[rows],
        share_ns=np.where(compute_kept[rows], own[rows], 0).astype(np.float64),
        op=rows.astype(np.int64),
        has_op=np.ones(len(rows), np.bool_),
        cost_op=rows.astype(np.int64),
        has_cost_op=is_leaf_formula[rows],
        is_communication=np.zeros(len(rows), np.bool_),
        has_no_flop=(
            timeline.by_name(ops.name, _op_has_no_flop, np.bool_) | _holds(nesting, is_leaf_formula)
        )[rows],
    )


def _holds(nesting: Nesting, inner: Bool) -> Bool:
    """Which ops hold one of some others: the FLOP of ``aten::linear`` are its ``aten::addmm``'s."""
    holds = np.zeros(len(inner), np.bool_)
    rows = np.flatnonzero(inner & nesting.has_parent)
    while len(rows):
        above = np.unique(nesting.parent[rows])
        above = above[~holds[above]]
        holds[above] = True
        rows = above[nesting.has_parent[above]]
    return holds


def _kernels_without_flop(timeline: Timeline, kinds: ActivityKinds, joined: Attribution) -> Bool:
    """Activities whose names tell; see ``kernel_kinds.has_no_flop``."""
    by_name = timeline.by_name(timeline.activities.name, has_no_flop, np.bool_)
    if not len(timeline.ops):
        return by_name
    # Kernels of torch 2.0 and 2.1 are named "triton__0d1d2d"; the op around them has the full name.
    fused = timeline.by_name(
        timeline.ops.name, lambda name: name.startswith("triton_") and has_no_flop(name), np.bool_
    )
    is_triton = kinds.kernel_kind == _TRITON
    return np.asarray(by_name | (joined.has_op & fused[joined.op] & is_triton), np.bool_)


def _op_has_no_flop(name: str) -> bool:
    """Whether an op of a CPU is torch's own and multiplies no matrices; of others nothing is known."""
    namespace = name.split("::")[0] if "::" in name else "aten"
    return namespace in _TORCH_NAMESPACES and not has_formula(name)


def _op_kind(name: str) -> int:
    """Index into ``KERNEL_KINDS`` of an op of a CPU."""
    if has_formula(name):
        return KERNEL_KINDS.index(next((kind for part, kind in _OP_KINDS if part in name), "matmul"))
    return KERNEL_KINDS.index(kernel_kind(name))


def _shared_time(start_ns: Int64, end_ns: Int64, window_start_ns: Int64, window_end_ns: Int64) -> Float64:
    """Time of each interval inside the windows; of ``n`` concurrent ones each gets ``1/n`` of an instant.

    ::

        a  ######....        a: 3 + 2/2 + 0      b: 2/2 + 2
        b  ...####...
    """
    if not len(start_ns):
        return np.zeros(0)
    times = np.concatenate([start_ns, end_ns, window_start_ns, window_end_ns])
    running = np.repeat([1, -1, 0, 0], [len(start_ns), len(end_ns), len(window_start_ns), len(window_end_ns)])
    counted = np.repeat([0, 0, 1, -1], [len(start_ns), len(end_ns), len(window_start_ns), len(window_end_ns)])
    order = np.argsort(times, kind="stable")
    times = times[order]
    concurrent = np.cumsum(running[order])[:-1]
    in_window = np.cumsum(counted[order])[:-1] > 0
    lengths = np.where(in_window, np.diff(times), 0)
    share = np.concatenate([[0.0], np.cumsum(lengths / np.maximum(concurrent, 1))])
    return np.asarray(
        share[np.searchsorted(times, end_ns)] - share[np.searchsorted(times, start_ns)], np.float64
    )
