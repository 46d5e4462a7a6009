"""From 100 % of peak down to the MFU: every lost point has one cause, and the parts add up.

With ``W`` the time of the averaged windows, ``P`` the reference peak, ``p`` a kernel's own peak and ``t`` its
share of the compute time::

    mfu                 model FLOP / (W P)
    recomputation       FLOP executed again / (W P)
    optimizer_matmul    FLOP of the optimizer / (W P)
    precision           sum(FLOP / p - FLOP / P) / W              < 0 where kernels run at a higher peak
    clocks              ideal time x (datasheet / sampled clock - 1), of live runs
    matmul_inefficiency (sum t - sum FLOP / p) / W                < 0 for faster algorithms (Winograd)
    uncounted_kernels   t of kernels whose FLOP are unknown / W
    other_kernels       the rest of compute / W
    communication, copy, idle_*                                   as in the partition

The compute rows sum to the compute part by construction, and the parts of the partition sum to 1. Of a live
run the rows are then put in terms of the unprofiled step, with a row ``profiler`` (``unprofiled.py``).
"""

from __future__ import annotations

from mfu_profiler.analysis.compute_split import ComputeSplit
from mfu_profiler.analysis.report import Partition, WaterfallRow
from mfu_profiler.analysis.unprofiled import Unprofiled

__all__ = ["waterfall"]


def waterfall(
    partition: Partition,
    split: ComputeSplit | None,
    step_time_s: float,
    details: dict[str, str],
    unprofiled: Unprofiled | None = None,
) -> tuple[WaterfallRow, ...]:
    """Rows from ``peak`` (1) to ``mfu``; all but the first sum to 1.

    Args:
        partition: of the averaged windows.
        split: of its compute part; None where MFU is unknown: compute then stands whole.
        step_time_s: turns fractions into times.
        details: a few words for a row, by cause.
        unprofiled: steps of a live run, which the rows then are shares of.

    """
    rows = _fractions(partition, split)
    end = [] if split is None else [("mfu", split.mfu)]
    if unprofiled is not None:
        *scaled, profiler = unprofiled.rows([*rows, *end])
        rows, end = [*scaled[: len(rows)], profiler], scaled[len(rows) :]
    return tuple(
        WaterfallRow(
            cause=cause,
            fraction=fraction,
            time_s=None if cause == "peak" else fraction * step_time_s,
            detail=details.get(cause, ""),
        )
        for cause, fraction in [("peak", 1.0), *rows, *end]
    )


def _fractions(partition: Partition, split: ComputeSplit | None) -> list[tuple[str, float]]:
    """Causes between the peak and the MFU, as fractions of the averaged windows."""
    rows: list[tuple[str, float]] = []
    if split is None:
        rows.append(("compute", partition.compute))
    else:
        for cause in ("recomputation", "optimizer_matmul", "precision", "clocks", "uncounted_kernels"):
            if value := getattr(split, cause):
                rows.append((cause, value))
        rows.append(("matmul_inefficiency", split.matmul_inefficiency))
        rows.append(("other_kernels", partition.compute - split.busy - split.uncounted_kernels))
    return [
        *rows,
        ("communication", partition.communication),
        ("copy", partition.copy),
        ("idle_data_loading", partition.idle_data_loading),
        ("idle_synchronization", partition.idle_synchronization),
        ("idle_host", partition.idle_host),
        ("idle_launch", partition.idle_launch),
        ("idle_unexplained", partition.idle_unexplained),
    ]
