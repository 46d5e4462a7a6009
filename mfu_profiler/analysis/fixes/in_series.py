"""What is left of a CPU's step without some causes: what happens one after the other gives back its time.

The profiler slows whatever a CPU does, but no waits for data and no stretches without any op; so shares of
the rest of a profiled step (P) are taken for those of an unprofiled one (U)::

    profiled    ├ data ┤├─ optimizer ─┤├─────── other ───────┤      freed: optimizer x (U - data) / (P - data)
    unprofiled  ├ data ┤├ optimizer ┤├──── other ────┤
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from mfu_profiler.analysis.fixes.reliefs import Fixes
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.replay.relief import STAYS_WITH_A_FREE_HOST, Change
from mfu_profiler.analysis.unprofiled import Unprofiled

__all__ = ["InSeries"]


@dataclass(frozen=True, slots=True)
class InSeries:
    """A step of a CPU, timed without the profiler if one was."""

    fixes: Fixes
    unprofiled: Unprofiled | None

    @property
    def scale(self) -> float:
        """Turns shares of a profiled step, data apart, into those of an unprofiled one."""
        if self.unprofiled is None or self.unprofiled.profiled_s is None:
            return 1.0
        step_s, profiled_s = self.unprofiled.step_s, self.unprofiled.profiled_s
        still_s = self._data_s + self._outside_ns / 1e9 / self.fixes.steps.times.step_count
        working_s = profiled_s - still_s
        if working_s <= 0:
            return 1.0
        unprofiled_s = max(0.0, step_s - still_s - self.unprofiled.more_waiting_s)
        return unprofiled_s / working_s * profiled_s / step_s

    def left(self, removed: AbstractSet[Change]) -> float:
        """What is left of the step, 0 to 1."""
        steps = self.fixes.steps
        idle_ns = (steps.idle() & self._gone(removed)).within(*steps.times.averaged).sum()
        freed_ns = float(idle_ns) + self._work_ns(removed)
        if "communication" in removed:
            freed_ns += self._class_ns("communication")
        freed = freed_ns / steps.times.averaged_ns * self.scale
        if "outside" in removed:
            stretch = 1.0 if self.unprofiled is None else self.unprofiled.stretch
            freed += self._outside_ns / steps.times.averaged_ns * (stretch - self.scale)
        if "data" in removed:
            freed += self._data_fraction
        return max(0.0, 1.0 - freed)

    @property
    def _data_s(self) -> float:
        """Wait for data in a profiled step."""
        return self._class_ns("idle_data_loading") / 1e9 / self.fixes.steps.times.step_count

    @property
    def _outside_ns(self) -> int:
        """Time in which no op runs for long: the profiler has nothing to record there."""
        times = self.fixes.steps.times
        return int(self.fixes.reliefs["outside"].host.within(*times.averaged).sum())

    @property
    def _data_fraction(self) -> float:
        """Wait for data, of the step."""
        if self.unprofiled is None:
            return self._class_ns("idle_data_loading") / self.fixes.steps.times.averaged_ns
        return (self._data_s + self.unprofiled.more_waiting_s) / self.unprofiled.step_s

    def _gone(self, removed: AbstractSet[Change]) -> Spans:
        """Host time that is taken away, data loading apart."""
        gone = Spans.nothing()
        for cause, relief in self.fixes.changes.items():
            if cause in removed and cause != "data":
                gone = gone | relief.host
        if "host" in removed:
            free = self.fixes.steps.times.parts.spans["idle_host"]
            for cause in (STAYS_WITH_A_FREE_HOST & self.fixes.reliefs.keys()) - removed:
                free = free - self.fixes.reliefs[cause].host
            gone = gone | free
        return gone

    def _work_ns(self, removed: AbstractSet[Change]) -> float:
        work = self.fixes.steps.work
        left = np.ones(len(work))
        for cause, relief in self.fixes.changes.items():
            if cause in removed:
                np.minimum.at(left, relief.work, relief.left)
        return float((work.share_ns * (1 - left)).sum())

    def _class_ns(self, name: str) -> int:
        times = self.fixes.steps.times
        return int(times.parts.spans[name].within(*times.averaged).sum())
