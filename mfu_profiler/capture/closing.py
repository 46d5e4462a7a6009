"""The one line at the end of a tracked block."""

from __future__ import annotations

import math
import time

from mfu_profiler.capture.course import Course
from mfu_profiler.capture.live_rate import LiveRate, utilization_fraction
from mfu_profiler.capture.profile.outcome import Outcome
from mfu_profiler.units import count_text, mfu_percent_text, percent_text, time_text

__all__ = ["closing_line"]


def closing_line(course: Course) -> str:
    """Steps, their time, MFU over the whole run, pauses, and where page and trace are."""
    if course.window is None and not course.times.count:
        return "mfu_profiler: no step was seen: no optimizer of this process stepped"
    wall_s = (time.time_ns() - course.started_ns) / 1e9
    parts = [f"{count_text(course.times.count)} steps in {time_text(wall_s)}"]
    lengths = course.times.plain_ns
    if lengths:
        mean_s = sum(lengths) / len(lengths) / 1e9
        parts.append(f"{time_text(mean_s)} each (mean)")
        rate = LiveRate(course)
        mfu = utilization_fraction(rate.model_flop, mean_s, rate.peak_flop_per_s)
        if not math.isnan(mfu):
            parts.append(f"MFU {mfu_percent_text(mfu)} over the run")
    pauses = _pauses(course, wall_s)
    if pauses:
        parts.append(f"pauses: {pauses} of wall time")
    parts += _places(course.outcome) if course.outcome is not None else []
    return f"mfu_profiler: {'; '.join(parts)}"


def _places(outcome: Outcome) -> list[str]:
    """Where the trace is, and the page where there is one."""
    trace, page = outcome.trace_path, outcome.page_path
    return [f"{name}: {path}" for name, path in (("page", page), ("trace", trace)) if path is not None]


def _pauses(course: Course, wall_s: float) -> str:
    shares = {kind: length / 1e9 / max(wall_s, 1e-9) for kind, length in course.times.pauses_ns.items()}
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    return ", ".join(f"{kind} {percent_text(share)}" for kind, share in ranked if share >= 0.0005)
