"""At which clock the device really ran, and what held it down."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.compute_split import ComputeSplit
from mfu_profiler.analysis.facts import DeviceSamples
from mfu_profiler.trace.live import LiveClocks, Sampled
from mfu_profiler.trace.timeline import Timeline

__all__ = ["ClockReading", "clock_reading", "device_samples", "with_clocks"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

LEAST_SAMPLES = 3
"""Fewer in the profiled windows say little: then all of the run's samples are averaged."""
NOTABLE_THROTTLE_FRACTION = 0.10
"""A reason seen in fewer samples did not hold the clock down."""
MOST_SAMPLES = 400
"""Of those that a report keeps."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Means over samples of a live run."""

    clock_hz: float | None
    power_w: float | None
    because: str | None
    """The most frequent throttle reason; None where there was none worth naming."""


def clock_reading(timeline: Timeline, windows: tuple[Int64, Int64] | None) -> ClockReading | None:
    """What was sampled in the windows, or else in all of the run's timed and profiled steps.

    Args:
        timeline: a trace.
        windows: starts and ends of the averaged windows; None where there are none.

    """
    clocks = timeline.live.clocks if timeline.live is not None else None
    if clocks is None or not len(clocks):
        return None
    inside = np.zeros(len(clocks), np.bool_)
    if windows is not None and len(windows[0]):
        starts, ends = windows
        place = np.searchsorted(starts, clocks.time_ns, side="right") - 1
        inside = (place >= 0) & (clocks.time_ns < ends[np.maximum(place, 0)])
    if np.count_nonzero(inside & clocks.sm_clock_hz.has) < LEAST_SAMPLES:
        inside = np.ones(len(clocks), np.bool_)
    return ClockReading(
        clocks.sm_clock_hz.mean(inside), clocks.power_w.mean(inside), _most_frequent(clocks, inside)
    )


def device_samples(clocks: LiveClocks | None) -> DeviceSamples | None:
    """The samples over time, evenly thinned to what a picture can show; None where there are none."""
    if clocks is None or not len(clocks):
        return None
    rows = np.unique(np.linspace(0, len(clocks) - 1, MOST_SAMPLES).astype(np.int64))

    def values(column: Sampled) -> tuple[float | None, ...]:
        return tuple(float(column.value[row]) if column.has[row] else None for row in rows)

    return DeviceSamples(
        time_s=tuple(((clocks.time_ns[rows] - clocks.time_ns[0]) / 1e9).tolist()),
        clock_hz=values(clocks.sm_clock_hz),
        power_w=values(clocks.power_w),
        throttle=tuple(", ".join(sorted(clocks.throttle[row])) for row in rows),
    )


def _most_frequent(clocks: LiveClocks, inside: Bool) -> str | None:
    rows = np.flatnonzero(inside).tolist()
    # In the order of their names, so that a draw has one outcome.
    reasons = Counter(reason for row in rows for reason in sorted(clocks.throttle[row]))
    reason, count = reasons.most_common(1)[0] if reasons else (None, 0)
    return reason if count >= NOTABLE_THROTTLE_FRACTION * len(rows) else None


def with_clocks(split: ComputeSplit, datasheet_hz: float, sampled_hz: float) -> ComputeSplit:
    """The split with a row of its own for what the clock cost, taken from the matmuls' inefficiency.

    At another clock the ideal time of the kernels with FLOP is ``useful x datasheet / sampled``. A clock
    cannot cost more than the kernels lost, so a loss ends where nothing is left of their inefficiency.
    """
    clocks = split.useful * (datasheet_hz / sampled_hz - 1)
    if split.matmul_inefficiency >= 0:
        clocks = min(clocks, split.matmul_inefficiency)
    return replace(split, clocks=clocks, matmul_inefficiency=split.matmul_inefficiency - clocks)
