"""Unprofiled steps of a live run, and the breakdown of profiled steps in their terms.

With ``U`` an unprofiled step and ``P`` a profiled one, the profiler's excess ``P - U`` is taken from host-
bound time, because the host is what the profiler slows; what that cannot give is a row of its own::

    profiled    ├ mfu ┤├ matmul inefficiency ┤├ other ┤├─── host-bound ───┤              P
    unprofiled  ├ mfu ┤├ matmul inefficiency ┤├ other ┤├ host-bound ┤                    U
                                                                     └ P - U ┘

Where unprofiled steps wait longer for data, the profiled ones found batches that the workers had prepared
while the profiler started: data loading gets what these lack. The row ``profiler`` is negative where the
excess is larger than host-bound time (kernels were slower too), and positive where profiled steps happened to
be faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.host_idle import NO_OPS
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.report import HostIdle, StepsInfo
from mfu_profiler.analysis.step_lengths import is_mean, typical
from mfu_profiler.analysis.windows import Window, Windows
from mfu_profiler.trace.host_calls import is_data_loading
from mfu_profiler.trace.timeline import Timeline
from mfu_profiler.units import count_text

__all__ = ["Unprofiled", "host_idle_of", "steps_info", "unprofiled_steps"]

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Unprofiled:
    """How long steps took without the profiler, and what that does to a breakdown of profiled ones."""

    lengths_ns: Int64
    profiled_s: float | None
    """Mean over the averaged windows; None where nothing was profiled."""
    more_waiting_s: float = 0.0
    """What a step waits for data beyond what a profiled one does, as far as it holds the device up."""
    still_s: float = 0.0
    """Host-bound time of a profiled step in which no op runs for long: nothing there to be slowed."""

    @property
    def step_s(self) -> float:
        """The median, since one slow step is no reason for another MFU; the mean where steps alternate."""
        return typical(self.lengths_ns.tolist()) / 1e9

    @property
    def stretch(self) -> float:
        """A profiled step over an unprofiled one: turns fractions of the former into those of the latter."""
        return 1.0 if self.profiled_s is None else self.profiled_s / self.step_s

    @property
    def excess(self) -> float:
        """By how much a profiled step that waits for data like the others is longer, of an unprofiled one."""
        return self.stretch + self.more_waiting_s / self.step_s - 1

    def rows(self, rows: list[tuple[str, float]]) -> list[tuple[str, float]]:
        """Fractions of the profiled step by cause, which sum to 1, as fractions of the unprofiled one."""
        taken = self.host_excess(dict(rows).get("idle_host", 0.0))
        more = {"idle_host": -taken, "idle_data_loading": self.more_waiting_s / self.step_s}
        scaled = [(cause, fraction * self.stretch + more.get(cause, 0.0)) for cause, fraction in rows]
        return [*scaled, ("profiler", taken - self.excess)]

    def profiler_detail(self, idle_host: float) -> str:
        """What the row ``profiler`` means; ``idle_host`` is of the profiled step."""
        if self.excess < 0:
            return "the profiled steps were faster"
        is_whole = self.host_excess(idle_host) < self.excess
        return "the profiler's cost beyond host-bound" if is_whole else "taken from host-bound time"

    def host_excess(self, idle_host: float) -> float:
        """What of host-bound time is the profiler's, of the unprofiled step. Args: of the profiled step."""
        slowed = max(0.0, idle_host * self.stretch - self.still_s / self.step_s)
        return min(max(self.excess, 0.0), slowed)


def unprofiled_steps(timeline: Timeline, windows: Windows | None) -> Unprofiled | None:
    """The steps that were timed without the profiler; None of other traces, and where windows are no steps.

    Args:
        timeline: a trace.
        windows: its step windows; None where there is no breakdown.

    """
    live = timeline.live
    if live is None or not len(live.run.step_times_ns) or (windows is not None and windows.is_span):
        return None
    averaged = () if windows is None else windows.averaged
    if not averaged:
        return Unprofiled(live.run.step_times_ns, None)
    profiled_s = sum(window.end_ns - window.start_ns for window in averaged) / 1e9 / len(averaged)
    plain = Unprofiled(live.run.step_times_ns, profiled_s)
    more_s = (live.run.data_wait_ns or 0) / 1e9 - _profiled_wait_s(timeline, averaged)
    if len(timeline.activities):  # a wait may be hidden behind device work: only the longer step proves it
        more_s = min(more_s, plain.step_s - profiled_s)
    return replace(plain, more_waiting_s=max(0.0, more_s))


def _profiled_wait_s(timeline: Timeline, averaged: Sequence[Window]) -> float:
    """Wait for data in a profiled step."""
    marks = timeline.marks
    rows = timeline.by_name(marks.name, is_data_loading, np.bool_)
    waits = Spans.of(marks.start_ns[rows], marks.end_ns[rows])
    starts = np.array([window.start_ns for window in averaged], np.int64)
    ends = np.array([window.end_ns for window in averaged], np.int64)
    return int(waits.within(starts, ends).sum()) / 1e9 / len(averaged)


def host_idle_of(unprofiled: Unprofiled, rows: tuple[HostIdle, ...]) -> tuple[HostIdle, ...]:
    """Host-bound time by phase and reason, without what is the profiler's, in proportion.

    Where no op runs for long nothing is.
    """
    whole = sum(row.fraction for row in rows)
    slowed = sum(row.fraction for row in rows if row.reason != NO_OPS)
    taken = unprofiled.host_excess(whole)
    found = []
    for row in rows:
        kept = unprofiled.stretch - (taken / slowed if row.reason != NO_OPS else 0.0)
        found += [replace(row, fraction=row.fraction * kept)] if kept > 0 else []
    return tuple(found)


def steps_info(windows: Windows, unprofiled: Unprofiled | None) -> StepsInfo:
    """What was averaged, and how much the steps differ."""
    lengths = np.array([window.end_ns - window.start_ns for window in windows.averaged], np.float64) / 1e9
    pauses = sum(window.end_ns - window.start_ns for window in windows.windows if window.role == "pause")
    whole = sum(window.end_ns - window.start_ns for window in windows.windows)
    rests_on = lengths if unprofiled is None else unprofiled.lengths_ns / 1e9
    info = StepsInfo(
        count=len(lengths),
        source=windows.source,
        spread_fraction=float(rests_on.std() / rests_on.mean()) if len(rests_on) > 1 else None,
        fastest_s=float(rests_on.min()) if len(rests_on) else None,
        slowest_s=float(rests_on.max()) if len(rests_on) else None,
        pause_fraction=pauses / whole if whole else 0.0,
    )
    if unprofiled is None:
        return info
    timed = _counted(len(rests_on), "unprofiled step")
    kind = "mean" if is_mean(unprofiled.lengths_ns.tolist()) else "median"
    source = f"{kind} of {timed}" if len(rests_on) > 1 else timed
    if unprofiled.profiled_s is not None:
        source += f"; breakdown from {count_text(len(lengths))} profiled"
    return replace(
        info,
        source=source,
        unprofiled_count=len(rests_on),
        profiled_step_time_s=unprofiled.profiled_s,
        profiler_overhead_fraction=unprofiled.stretch - 1 if unprofiled.profiled_s is not None else None,
    )


def _counted(count: int, what: str) -> str:
    return f"{count_text(count)} {what}" + ("s" if count != 1 else "")
