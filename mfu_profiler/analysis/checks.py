"""What a report says about its own reliability."""

from __future__ import annotations

import numpy as np

from mfu_profiler.analysis.efficiency import StepFlop
from mfu_profiler.analysis.report import Check
from mfu_profiler.analysis.utilization import Utilization
from mfu_profiler.analysis.windows import Windows
from mfu_profiler.trace.timeline import Timeline
from mfu_profiler.units import count_text, percent_text, time_text

__all__ = ["trace_checks"]

CLOCK_TOLERANCE_NS = 1_000
"""Activities may begin this much before their launch: host and device clocks are matched to about 1 µs."""
OVERLAP_TOLERANCE_FRACTION = 0.001
OVERLAP_TOLERANCE_NS = 20_000
"""Real traces overlap by 1 to 13 µs: rounding of stamps, and programmatic dependent launch on purpose."""
FASTER_ALGORITHM = 2.25
"""Winograd F(2x2, 3x3) needs 2.25 times fewer multiplications (arXiv:1509.09308)."""
MISSING_LAUNCH_FRACTION = 0.01
SAME_FLOP_FRACTION = 0.01


def trace_checks(timeline: Timeline, windows: Windows, use: Utilization | None) -> tuple[Check, ...]:
    """All checks, failed ones included; a failed check is no error, but a reason for care."""
    checks = [_whole(timeline), _dropped(timeline)]
    if windows.windows:
        # ``TimeParts.within`` raises where they do not.
        checks.append(Check("parts sum to the step", True, "to the nanosecond"))
    if use is not None:
        checks += _rates(use)
    if len(timeline.activities):
        checks += [_overlaps(timeline), _launches(timeline), _clocks(timeline)]
    if use is not None and use.flop is not None and len(windows.averaged) > 1:
        checks.append(_same_flop(windows, use.flop))
    if use is not None and use.choice.check is not None:
        checks.append(use.choice.check)
    return tuple(checks)


def _whole(timeline: Timeline) -> Check:
    because = timeline.facts.truncated_because
    return Check(
        "trace read whole", because is None, because or f"{count_text(timeline.facts.event_count)} events"
    )


def _dropped(timeline: Timeline) -> Check:
    dropped = timeline.facts.dropped
    detail = ", ".join(f"{count_text(count)} {reason}" for reason, count in dropped.items())
    return Check("no dropped events", not dropped, detail or "none was malformed or out of range")


def _rates(use: Utilization) -> list[Check]:
    """Neither a step nor the kernels with FLOP exceed the peak by more than a faster algorithm explains."""
    because = use.because if use.is_impossible else None
    checks = []
    if because is not None or use.split is not None:
        checks.append(Check("MFU at most 100 %", because is None, because or "holds"))
    if use.split is not None and use.split.busy > 0:
        rate = use.split.useful / use.split.busy
        ok = rate <= FASTER_ALGORITHM
        detail = f"they reach {percent_text(rate, 0)} of it"
        checks.append(Check("matmuls at most their peak", ok, detail))
    return checks


def _overlaps(timeline: Timeline) -> Check:
    """Kernels of one stream run one after another; an overlap is an error of the recording."""
    activities = timeline.activities
    order = np.lexsort((activities.start_ns, activities.stream))
    same = activities.stream[order[1:]] == activities.stream[order[:-1]]
    overlap = np.where(same, activities.end_ns[order[:-1]] - activities.start_ns[order[1:]], 0)
    overlapping = overlap > 0
    total = int(np.maximum(overlap, 0).sum())
    busy = int((activities.end_ns - activities.start_ns).sum())
    ok = total <= OVERLAP_TOLERANCE_FRACTION * busy or int(overlap.max(initial=0)) <= OVERLAP_TOLERANCE_NS
    detail = "none overlap"
    if overlapping.any():
        longest = time_text(float(overlap.max()) / 1e9)
        detail = f"{count_text(int(np.count_nonzero(overlapping)))} overlap, by {longest} at most"
    return Check("one kernel at a time on a stream", ok, detail)


def _launches(timeline: Timeline) -> Check:
    """What a stream runs before its first activity with a record was waiting there when the trace began."""
    activities = timeline.activities
    has = activities.has_call
    missing = int(np.count_nonzero(~has))
    if not missing:
        return Check("launch records", True, "every activity has one")
    first_ns = np.full(len(timeline.streams), np.iinfo(np.int64).min)
    rows = np.flatnonzero(has)[::-1]
    first_ns[activities.stream[rows]] = activities.start_ns[rows]  # the last to be written is the first
    lost = int(np.count_nonzero(~has & (activities.start_ns >= first_ns[activities.stream])))
    which = f"{count_text(missing)} of {count_text(len(has))} activities have none"
    because = f"{count_text(lost)} of them in the midst of others" if lost else "launched before the trace"
    return Check("launch records", lost <= MISSING_LAUNCH_FRACTION * len(has), f"{which}, {because}")


def _clocks(timeline: Timeline) -> Check:
    activities, calls = timeline.activities, timeline.calls
    rows = np.flatnonzero(activities.has_call)
    if not len(rows):
        return Check("launch before start", True, "no launch records")
    early = calls.start_ns[activities.call[rows]] - activities.start_ns[rows]
    count = int(np.count_nonzero(early > CLOCK_TOLERANCE_NS))
    longest = time_text(float(early.max()) / 1e9)
    detail = f"{count_text(count)} activities start up to {longest} before their launch"
    return Check("launch before start", count == 0, detail if count else "no activity precedes its launch")


def _same_flop(windows: Windows, flop: StepFlop) -> Check:
    pairs = zip(windows.windows, flop.model_by_window, strict=True)
    counts = [count for window, count in pairs if window.role == "averaged"]
    spread = (max(counts) - min(counts)) / max(1, max(counts))
    ok = spread <= SAME_FLOP_FRACTION
    detail = "the same in each" if not spread else f"they differ by {percent_text(spread)} between steps"
    return Check("FLOP of the steps", ok, detail)
