"""The tables of a report: top kernels and top ops of the averaged windows, per step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.efficiency import Executed
from mfu_profiler.analysis.locations import Locations
from mfu_profiler.analysis.report import KernelRow, OpRow
from mfu_profiler.trace.kernel_kinds import KERNEL_KINDS
from mfu_profiler.trace.timeline import Timeline

__all__ = ["TableInputs", "kernel_rows", "op_rows"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

MOST_ROWS = 100
"""Rows of each table; kernels beyond are under a thousandth of the time in every trace seen."""


@dataclass(frozen=True, slots=True)
class TableInputs:
    """Everything that the tables are made of."""

    timeline: Timeline
    ran: Executed
    peaks: Mapping[str, float]
    memory_byte_per_s: float | None
    locations: Locations
    rows: Int64
    """Work items that start in an averaged window."""
    stretch: float = 1.0
    """Turns shares of a profiled step into those of an unprofiled one."""


def kernel_rows(inputs: TableInputs) -> tuple[KernelRow, ...]:
    """One row per kernel name, longest first."""
    names = inputs.ran.work.name[inputs.rows]
    time = inputs.ran.work.time_ns[inputs.rows]
    return tuple(
        _kernel_row(inputs, name, inputs.rows[names == name])
        for name in _longest(names.astype(np.int64), time)
    )


def op_rows(inputs: TableInputs) -> tuple[OpRow, ...]:
    """One row per op and shapes, by the time of what it launched, longest first."""
    work, ops = inputs.ran.work, inputs.timeline.ops
    op = np.where(work.has_cost_op, work.cost_op, work.op)[inputs.rows]
    rows = inputs.rows[(work.has_op | work.has_cost_op)[inputs.rows]]
    op = op[(work.has_op | work.has_cost_op)[inputs.rows]]
    if not len(rows):
        return ()
    key = ops.name[op].astype(np.int64) * len(inputs.timeline.signatures) + ops.signature[op]
    return tuple(
        _op_row(inputs, rows[key == chosen], op[key == chosen])
        for chosen in _longest(key, work.time_ns[rows])
    )


def _longest(key: Int64, time_ns: Int64) -> list[int]:
    """The keys with the most time, longest first."""
    if not len(key):
        return []
    unique, inverse = np.unique(key, return_inverse=True)
    total = np.bincount(inverse, weights=time_ns)
    order = np.argsort(-total, kind="stable")[:MOST_ROWS]
    return [int(unique[index]) for index in order]


def _kernel_row(inputs: TableInputs, name: int, rows: Int64) -> KernelRow:
    work, item, count = inputs.ran.work, inputs.ran.item, inputs.ran.step_count
    time_s = float(work.time_ns[rows].sum()) / 1e9 / count
    is_known = not inputs.ran.covered.is_unknown[rows].any()
    flop = float(item.flop[rows].sum()) / count if is_known else None
    rate = flop / time_s if flop and time_s else None
    precision = _precision(inputs, rows) if flop else None
    peak = inputs.peaks.get(precision) if precision else None
    byte = float(item.byte[rows].sum()) / count if item.has_byte[rows].all() else None
    ops = _main_ops(inputs, rows)
    return KernelRow(
        name=inputs.timeline.names[name],
        kind=KERNEL_KINDS[int(np.bincount(work.kind[rows]).argmax())],
        count=len(rows) / count,
        time_s=time_s,
        time_fraction=time_s * count / inputs.ran.averaged_s * inputs.stretch,
        flop=flop,
        achieved_flop_per_s=rate,
        precision=precision,
        peak_fraction=rate / peak if rate and peak else None,
        ideal_time_s=flop / peak if flop and peak else None,
        byte=byte,
        bound=_bound(flop, byte, peak, inputs.memory_byte_per_s),
        op=inputs.timeline.names[int(inputs.timeline.ops.name[ops[0]])] if len(ops) else None,
        location=inputs.locations.of_ops(int(ops[0]), ops) if len(ops) else None,
    )


def _op_row(inputs: TableInputs, rows: Int64, ops: Int64) -> OpRow:
    timeline, work, item, count = inputs.timeline, inputs.ran.work, inputs.ran.item, inputs.ran.step_count
    time_s = float(work.time_ns[rows].sum()) / 1e9 / count
    is_known = not inputs.ran.covered.is_unknown[rows].any()
    flop = float(item.flop[rows].sum()) / count if is_known else None
    rate = flop / time_s if flop and time_s else None
    precision = _precision(inputs, rows) if flop else None
    peak = inputs.peaks.get(precision) if precision else None
    first = int(ops[0])
    signature = timeline.signatures[int(timeline.ops.signature[first])]
    return OpRow(
        name=timeline.names[int(timeline.ops.name[first])],
        shapes=" ".join(signature.dims.decode("utf-8", "replace").split()),
        count=len(np.unique(ops)) / count,
        time_s=time_s,
        time_fraction=time_s * count / inputs.ran.averaged_s * inputs.stretch,
        flop=flop,
        achieved_flop_per_s=rate,
        peak_fraction=rate / peak if rate and peak else None,
        location=inputs.locations.of_ops(first, ops),
    )


def _precision(inputs: TableInputs, rows: Int64) -> str | None:
    """The precision of most of the rows' FLOP."""
    totals: dict[str, float] = {}
    counted = rows[inputs.ran.item.has_flop[rows]]
    flops = np.bincount(inputs.ran.item.cost[counted], weights=inputs.ran.item.flop[counted])
    for cost in np.flatnonzero(flops).tolist():
        name = inputs.ran.precisions[cost]
        if name is not None:
            totals[name] = totals.get(name, 0.0) + float(flops[cost])
    return max(totals, key=lambda name: totals[name]) if totals else None


def _main_ops(inputs: TableInputs, rows: Int64) -> Int64:
    """The calls of the op that launched most of the rows' time; none where no op did."""
    work, ops = inputs.ran.work, inputs.timeline.ops
    rows = rows[work.has_op[rows]]
    if not len(rows):
        return np.zeros(0, np.int64)
    name = _longest(ops.name[work.op[rows]].astype(np.int64), work.time_ns[rows])[0]
    return np.asarray(work.op[rows[ops.name[work.op[rows]] == name]], np.int64)


def _bound(
    flop: float | None, byte: float | None, peak: float | None, memory_byte_per_s: float | None
) -> str | None:
    """Which roof is nearer: the kernel's FLOP at peak, or its bytes at the memory's bandwidth."""
    if not byte or not memory_byte_per_s or flop is None or (flop and not peak):
        return None
    compute_s = flop / peak if flop and peak else 0.0
    return "compute" if compute_s > byte / memory_byte_per_s else "memory"
