"""When things happened in a timeline: its step windows, and the class of every instant.

::

    timeline -> attribution -> kinds -> windows -> parts, and the work items that fill the compute part
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.activity_kinds import ActivityKinds, activity_kinds
from mfu_profiler.analysis.attribution import Attribution, attribution
from mfu_profiler.analysis.host_device import host_device
from mfu_profiler.analysis.host_states import HostStates, host_states
from mfu_profiler.analysis.host_steps import HostSteps
from mfu_profiler.analysis.partition import TimeParts, device_parts
from mfu_profiler.analysis.report import PARTS, Partition
from mfu_profiler.analysis.windows import WindowMode, Windows, step_windows
from mfu_profiler.analysis.work import Work, device_work, host_work
from mfu_profiler.flops import has_formula
from mfu_profiler.trace.timeline import Timeline

__all__ = ["Times", "times_of", "work_of"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Times:
    """When things happened: windows, and the class of every instant."""

    timeline: Timeline
    is_cpu: bool
    joined: Attribution
    kinds: ActivityKinds
    host: HostStates
    windows: Windows
    parts: TimeParts
    threads: tuple[int, ...]
    """Host threads that compute; of a CPU only."""

    @property
    def is_averaged(self) -> Bool:
        """Which windows are steps."""
        return np.array([window.role == "averaged" for window in self.windows.windows], np.bool_)

    @property
    def averaged(self) -> tuple[Int64, Int64]:
        """Starts and ends of the averaged windows."""
        starts, ends = self.windows.edges()
        return starts[self.is_averaged], ends[self.is_averaged]

    @property
    def averaged_ns(self) -> int:
        """Length of the averaged windows together."""
        starts, ends = self.averaged
        return int((ends - starts).sum())

    @property
    def step_count(self) -> int:
        """How many windows are averaged."""
        return len(self.windows.averaged)

    @property
    def partition(self) -> Partition:
        """Shares of the averaged windows."""
        lengths = {name: int(spans.within(*self.averaged).sum()) for name, spans in self.parts.spans.items()}
        return Partition(**{name: lengths[name] / self.averaged_ns for name in PARTS})

    def inside(self, time_ns: Int64) -> Bool:
        """Which times lie in an averaged window."""
        starts, ends = self.averaged
        index = np.searchsorted(starts, time_ns, side="right") - 1
        return np.asarray((index >= 0) & (time_ns < ends[np.maximum(index, 0)]), np.bool_)


def times_of(timeline: Timeline, steps: HostSteps | None, mode: WindowMode, is_cpu: bool) -> Times | None:
    """The times of a timeline; None where it spans none."""
    joined = attribution(timeline, has_formula)
    kinds = activity_kinds(timeline, joined)
    windows = step_windows(timeline, kinds, mode, not is_cpu)
    if not windows.windows:
        return None
    host = host_states(timeline, steps.thread if steps is not None else None)
    starts, ends = windows.edges()
    bounds = min(timeline.start_ns, int(starts.min())), max(timeline.end_ns, int(ends.max()))
    if is_cpu:
        device = host_device(timeline, host, bounds)
        return Times(timeline, is_cpu, joined, kinds, host, windows, device.parts, device.threads)
    parts = device_parts(timeline, kinds, host, bounds)
    return Times(timeline, is_cpu, joined, kinds, host, windows, parts, ())


def work_of(times: Times) -> Work:
    """Kernels of a device, or ops of a CPU."""
    if not times.is_cpu:
        return device_work(times.timeline, times.kinds, times.joined, times.averaged)
    ops = times.timeline.ops
    computes = np.isin(ops.thread, times.threads) & times.parts.spans["compute"].holds(ops.start_ns)
    return host_work(
        times.timeline,
        times.joined.nesting,
        times.joined.is_leaf_formula,
        computes & times.inside(ops.start_ns),
    )
