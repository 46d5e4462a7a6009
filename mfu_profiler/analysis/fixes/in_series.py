"""What is left of a CPU's step without some causes: what happens one after the other gives back its time.

The profiler slows every op by about the same, so what a fix takes away is counted without the profiler's part
of its ops.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import numpy as np

from mfu_profiler.analysis.fixes.reliefs import Fixes
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.replay.predictions import LeftOf
from mfu_profiler.analysis.replay.relief import STAYS_WITH_A_FREE_HOST, Change
from mfu_profiler.analysis.unprofiled import Unprofiled

__all__ = ["left_in_series"]


def left_in_series(fixes: Fixes, unprofiled: Unprofiled | None) -> LeftOf:
    """Of a step that is timed without the profiler, if there is one."""
    steps = fixes.steps
    count, profiled_s = steps.times.step_count, steps.times.averaged_ns / 1e9 / steps.times.step_count
    step_s = profiled_s if unprofiled is None else unprofiled.step_s
    more_s = 0.0 if unprofiled is None else unprofiled.more_waiting_s
    in_steps = steps.times.inside(steps.ops.start_ns)
    op_count = int(np.count_nonzero(in_steps)) / count
    each_s = max(0.0, profiled_s + more_s - step_s) / op_count if op_count else 0.0

    def left(removed: AbstractSet[Change]) -> float:
        gone = _gone(fixes, removed)
        freed_ns = (steps.idle() & gone).within(*steps.times.averaged).sum() + _work_ns(fixes, removed)
        if "data" in removed:
            freed_ns += _class_ns(fixes, "idle_data_loading") + more_s * 1e9 * count
        if "communication" in removed:
            freed_ns += _class_ns(fixes, "communication")
        events = int(np.count_nonzero(in_steps & gone.holds(steps.ops.start_ns)))
        freed_s = max(0.0, float(freed_ns) / 1e9 - events * each_s) / count
        return max(0.0, 1.0 - freed_s / step_s)

    return left


def _gone(fixes: Fixes, removed: AbstractSet[Change]) -> Spans:
    """Host time that is taken away, data loading apart."""
    gone = Spans.nothing()
    for cause, relief in fixes.changes.items():
        if cause in removed and cause != "data":
            gone = gone | relief.host
    if "host" in removed:
        free = fixes.steps.times.parts.spans["idle_host"]
        for cause in STAYS_WITH_A_FREE_HOST & fixes.reliefs.keys() - removed:
            free = free - fixes.reliefs[cause].host
        gone = gone | free
    return gone


def _work_ns(fixes: Fixes, removed: AbstractSet[Change]) -> float:
    work = fixes.steps.work
    left = np.ones(len(work))
    for cause, relief in fixes.changes.items():
        if cause in removed:
            np.minimum.at(left, relief.work, relief.left)
    return float((work.share_ns * (1 - left)).sum())


def _class_ns(fixes: Fixes, name: str) -> int:
    return int(fixes.steps.times.parts.spans[name].within(*fixes.steps.times.averaged).sum())
