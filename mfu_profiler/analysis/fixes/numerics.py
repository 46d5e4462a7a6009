"""Options: precisions that the device has and the run does not use. They change numerics.

A matrix product takes the time of its own precision, divided by how much quicker the other one's peak is, but
never less than its operands take through memory. That is at best: a quicker product reaches less of its peak.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.fixes.steps import Steps
from mfu_profiler.analysis.replay.relief import Option, Relief
from mfu_profiler.trace.kernel_kinds import KERNEL_KINDS

__all__ = ["numeric_options"]

Int64 = npt.NDArray[np.int64]

_FROM: dict[Option, frozenset[str]] = {
    "tf32": frozenset({"fp32"}),
    "bf16": frozenset({"fp32", "tf32"}),
    "fp16": frozenset({"fp32", "tf32"}),
    "fp8": frozenset({"bf16", "fp16"}),
}
"""Option -> precisions of products that it replaces."""
_FP8_KIND = KERNEL_KINDS.index("matmul")
"""Convolutions and attention have no fp8 kernels in torch."""


def numeric_options(steps: Steps) -> dict[Option, Relief]:
    """What each option that the device has would make quicker; none on a CPU."""
    if steps.times.is_cpu:
        return {}
    peaks, found = steps.peaks.flop_per_s, {}
    for option, replaced in _FROM.items():
        if option == "fp16" and "bf16" in peaks:  # bf16 needs no loss scaling
            continue
        if option in peaks and option not in steps.ran.precisions:
            relief = _quicker(steps, option, replaced)
            if not relief.is_empty:
                found[option] = relief
    return found


def _quicker(steps: Steps, option: Option, replaced: frozenset[str]) -> Relief:
    item, work, peaks = steps.ran.item, steps.work, steps.peaks
    rows = np.flatnonzero(item.has_flop & (item.flop > 0) & (work.time_ns > 0))
    if option == "fp8":
        rows = rows[work.kind[rows] == _FP8_KIND]
    known = {str(name): rate for name, rate in peaks.flop_per_s.items()}
    ratio = np.array(
        [
            known[precision] / known[option] if precision in replaced and precision in known else 1.0
            for precision in steps.ran.precisions
        ]
    )
    if not len(rows) or not len(ratio):
        return Relief()
    left = ratio[item.cost[rows]]
    if peaks.memory_byte_per_s:
        half_ns = 0.5 * item.byte[rows] / peaks.memory_byte_per_s * 1e9
        left = np.maximum(left, np.where(item.has_byte[rows], half_ns / work.time_ns[rows], 0))
    return Relief.of_work(rows[left < 1], left[left < 1])
