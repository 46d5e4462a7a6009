"""What the fixes are looked for in: the averaged steps, what ran in them, and why the device was idle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.efficiency import Executed
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.peak import DevicePeaks
from mfu_profiler.analysis.replay.relief import Relief
from mfu_profiler.analysis.times import Times
from mfu_profiler.analysis.work import Work
from mfu_profiler.trace.nesting import Nesting
from mfu_profiler.trace.timeline import HostOps, Timeline

__all__ = ["Steps"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_WORKING = ("compute", "communication", "copy", "idle_data_loading")


@dataclass(frozen=True, slots=True)
class Steps:
    """The averaged steps of one timeline."""

    times: Times
    ran: Executed
    peaks: DevicePeaks

    @property
    def timeline(self) -> Timeline:
        """The trace."""
        return self.times.timeline

    @property
    def ops(self) -> HostOps:
        """Its ops."""
        return self.times.timeline.ops

    @property
    def work(self) -> Work:
        """What occupied the device."""
        return self.ran.work

    @property
    def nesting(self) -> Nesting:
        """Of the ops."""
        return self.times.joined.nesting

    def ops_named(self, predicate: Callable[[str], bool]) -> Bool:
        """Which ops have a name of some kind."""
        return np.asarray(self.timeline.by_name(self.ops.name, predicate, np.bool_), np.bool_)

    def work_within(self, spans: Spans) -> Int64:
        """Rows of work whose op started in some time on any thread."""
        work = self.work
        return np.flatnonzero(work.has_op & spans.holds(self.ops.start_ns[work.op])) if len(spans) else _NONE

    def idle(self) -> Spans:
        """When the device was idle for another reason than data."""
        starts, ends = self.times.averaged
        rest = Spans.of(starts, ends)
        for name in _WORKING:
            rest = rest - self.times.parts.spans[name]
        return rest

    def held(self, relief: Relief) -> float:
        """Share of the averaged steps that a relief is about: its work, and idle time in its host time."""
        idle_ns = (self.idle() & relief.host).within(*self.times.averaged).sum() if len(relief.host) else 0
        work_ns = self.work.share_ns[relief.work].sum()
        return float(idle_ns + work_ns) / self.times.averaged_ns


_NONE = np.zeros(0, np.int64)
