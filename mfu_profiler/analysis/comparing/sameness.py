"""Whether two runs did the same work on the same kind of device."""

from __future__ import annotations

from math import isfinite

from mfu_profiler.analysis.report import FlopInfo, Report

__all__ = ["SAME_FRACTION", "differing_device", "has_low_coverage", "work_ratio"]

SAME_FRACTION = 0.01
"""FLOP and peaks this close are the same, as FLOP from shapes and counted live are (design, section 5)."""
LOW_COVERAGE_FRACTION = 0.9
"""Below this share of compute time with known FLOP, a count from shapes says little of the work."""


def work_ratio(before: Report, after: Report) -> float | None:
    """Model FLOP of AFTER's step over BEFORE's, 1 where they are the same; None where that cannot be told."""
    ours, theirs = before.flop.model_per_step, after.flop.model_per_step
    if not ours or not theirs:
        return None
    ratio = theirs / ours
    if not isfinite(ratio) or ratio <= 0:
        return None
    if abs(ratio - 1) <= SAME_FRACTION:
        return 1.0
    return None if has_low_coverage(before.flop) or has_low_coverage(after.flop) else ratio


def has_low_coverage(flop: FlopInfo) -> bool:
    """Whether a count from shapes misses many kernels; what was counted live, or given, is all there is."""
    coverage = 1.0 if flop.coverage_fraction is None else flop.coverage_fraction
    return flop.basis not in ("counted", "given") and coverage < LOW_COVERAGE_FRACTION


def differing_device(before: Report, after: Report) -> str | None:
    """Why step times do not compare; None on the same kind of device, and where a name is unknown."""
    ours, theirs = before.device, after.device
    if ours.backend is not None and theirs.backend is not None and ours.backend != theirs.backend:
        return f"AFTER ran on another kind of device ({theirs.backend}, BEFORE on {ours.backend})"
    if ours.name is not None and theirs.name is not None and ours.name != theirs.name:
        return f"AFTER ran on another device ({theirs.name}, BEFORE on {ours.name})"
    if ours.sm_count is not None and theirs.sm_count is not None and ours.sm_count != theirs.sm_count:
        return f"AFTER ran on {theirs.sm_count} multiprocessors, BEFORE on {ours.sm_count}"
    return None
