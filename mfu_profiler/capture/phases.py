"""Which step of a run is for what.

::

    step   1          2        3 ...        8 ...      23         24 ...       29 ...
           untouched  counted  warm-up (5)  timed (15) prepared   profiled (5) rest: only timed
                                                       (the profiler warms up)

The numbers are those of the defaults: a report after 28 steps, however long the run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from mfu_profiler.capture.settings import Settings

__all__ = ["Phase", "Plan"]


class Phase(Enum):
    """What happens to a step."""

    UNTOUCHED = "untouched"
    COUNTED = "counted"
    WARMUP = "warm-up"
    TIMED = "timed"
    PREPARED = "prepared"
    PROFILED = "profiled"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Plan:
    """Numbers of the first step of each phase; steps count from 1."""

    timed: int
    prepared: int
    profiled: int
    rest: int

    @staticmethod
    def of(settings: Settings) -> Plan:
        """The plan of a run from its start."""
        timed = 3 + settings.warmup
        prepared = timed + settings.timed
        return Plan(timed, prepared, prepared + 1, prepared + 1 + settings.active)

    def phase(self, step: int) -> Phase:
        """What a step (from 1) is for."""
        if step <= 2:
            return Phase.UNTOUCHED if step == 1 else Phase.COUNTED
        for first, phase in (
            (self.timed, Phase.WARMUP),
            (self.prepared, Phase.TIMED),
            (self.profiled, Phase.PREPARED),
            (self.rest, Phase.PROFILED),
        ):
            if step < first:
                return phase
        return Phase.REST

    def postponed(self, steps: int) -> Plan:
        """The same with the profiled window that many steps later; the steps between are timed."""
        return replace(
            self,
            prepared=self.prepared + steps,
            profiled=self.profiled + steps,
            rest=self.rest + steps,
        )

    def cut(self, step: int) -> Plan:
        """The same with no profiled step from this one on."""
        return replace(self, rest=min(self.rest, step), profiled=min(self.profiled, step))
