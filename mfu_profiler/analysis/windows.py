"""Step windows: which stretch of device time is one step.

::

    host     ├─ mark k ──┤├─ mark k+1 ─┤
                 launch ↓      launch ↓
    device          ├═══════ step k ══════┤├══ step k+1 ...      first kernel to first kernel
                    ◄──── window k ───────►

The host runs ahead of the device, so host marks are no step times (design: a real V100 trace marks 35 to
95 ms where every step takes 95.7 ms). The last step has no successor and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.activity_kinds import ActivityKinds
from mfu_profiler.analysis.host_steps import EVALUATION, HostSteps, host_steps
from mfu_profiler.analysis.step_lengths import PAUSE_OVER_MEDIAN
from mfu_profiler.trace.host_calls import step_number
from mfu_profiler.trace.timeline import Timeline

__all__ = ["Role", "Window", "WindowMode", "Windows", "step_windows"]

WindowMode = Literal["device", "host", "span"]
Role = Literal["averaged", "startup", "pause"]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

STARTUP_SHRINK_FRACTION = 0.10
"""A leading window whose lag behind the host shrinks by more of its length is start-up."""


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of time that is analysed as a step."""

    label: str
    start_ns: int
    end_ns: int
    role: Role = "averaged"


@dataclass(frozen=True, slots=True)
class Windows:
    """All windows of a timeline and where they come from."""

    windows: tuple[Window, ...]
    source: str

    @property
    def averaged(self) -> tuple[Window, ...]:
        """The windows that are steps."""
        return tuple(window for window in self.windows if window.role == "averaged")

    @property
    def is_span(self) -> bool:
        """Whether the whole trace is one window, and so no step."""
        return len(self.windows) == 1 and self.windows[0].label == "span"

    def edges(self) -> tuple[Int64, Int64]:
        """Starts and ends of all windows, shape ``(n,)`` each."""
        return (
            np.array([window.start_ns for window in self.windows], np.int64),
            np.array([window.end_ns for window in self.windows], np.int64),
        )


def step_windows(timeline: Timeline, kinds: ActivityKinds, mode: WindowMode, has_device: bool) -> Windows:
    """The windows of a timeline.

    Args:
        timeline: the trace.
        kinds: which activities compute.
        mode: ``device`` (the default of the product), ``host`` marks, or the whole ``span``.
        has_device: False where the host itself is the device (CPU training).

    """
    steps = host_steps(timeline)
    if mode == "span" or steps is None:
        return _span(timeline, "the whole trace" if mode == "span" else "the whole trace (it marks no steps)")
    if mode == "host" or not has_device:
        found = Windows(_host_windows(timeline, steps), f"host marks of {steps.source}")
    elif len(steps) == 1:
        found = Windows(_host_windows(timeline, steps), f"the single step {steps.label[0]}")
    else:
        found = _device_windows(timeline, kinds, steps)
    if not found.windows:
        return _span(timeline, "the whole trace (no kernel belongs to a marked step)")
    return replace(found, windows=_with_pauses(_finished(timeline, found.windows)))


def _host_windows(timeline: Timeline, steps: HostSteps) -> tuple[Window, ...]:
    """Host marks, moved by the device work that they launched (as torch-tb-profiler shows steps).

    A step begins at its mark, or at the end of device work launched before it if that is later, and ends at
    the later of its mark's end and the end of what it launched. Without device work these are the marks.

    Source: torch-tb-profiler 0.4, ``node_parser_mixin``/``step_parser`` (``_update_steps_duration``).
    """
    end_of_launched = _device_end_by_step(timeline, steps)
    before = end_of_launched[0]
    windows = []
    for k, label in enumerate(steps.label):
        start, end = max(int(steps.start_ns[k]), before), max(int(steps.end_ns[k]), end_of_launched[k + 1])
        if end > start:
            windows.append(Window(label, start, end))
        before = max(before, end_of_launched[k + 1])
    return tuple(windows)


def _device_end_by_step(timeline: Timeline, steps: HostSteps) -> list[int]:
    """End of the last activity launched before the first step, and within each; 0 for none.

    An activity without a launch record that starts before the first recorded kernel was launched before.
    """
    activities = timeline.activities
    launched = activities.start_ns.copy()
    if len(timeline.calls):
        launched = np.where(activities.has_call, timeline.calls.start_ns[activities.call], launched)
    first_recorded = int(activities.start_ns[activities.has_call].min(initial=np.iinfo(np.int64).max))
    step = np.searchsorted(steps.start_ns, launched, side="right")
    ended = launched >= steps.end_ns[np.maximum(step - 1, 0)]
    inside = activities.has_call & ~((step > 0) & ended)
    earlier = ~activities.has_call & (activities.start_ns < first_recorded)
    result = [0] * (len(steps) + 1)
    for k, end in zip(
        np.where(earlier, 0, step)[inside | earlier].tolist(),
        activities.end_ns[inside | earlier].tolist(),
        strict=True,
    ):
        result[k] = max(result[k], end)
    return result


def _device_windows(timeline: Timeline, kinds: ActivityKinds, steps: HostSteps) -> Windows:
    first = _first_kernel_ns(timeline, kinds, steps)
    windows: list[Window] = []
    lags = [first[k] - int(steps.start_ns[k]) if k in first else None for k in range(len(steps))]
    is_leading = True
    for k in range(len(steps) - 1):
        if k not in first or k + 1 not in first or first[k + 1] <= first[k]:
            continue
        if windows and first[k] < windows[-1].end_ns:
            continue
        length = first[k + 1] - first[k]
        lag, next_lag = lags[k], lags[k + 1]
        shrink = (lag - next_lag) if lag is not None and next_lag is not None else 0
        is_leading &= shrink > STARTUP_SHRINK_FRACTION * length
        role: Role = "startup" if is_leading else "averaged"
        windows.append(Window(steps.label[k], first[k], first[k + 1], role))
    if windows and all(window.role == "startup" for window in windows):
        windows = [replace(window, role="averaged") for window in windows]
    return Windows(tuple(windows), f"device windows of {steps.source}")


def _first_kernel_ns(timeline: Timeline, kinds: ActivityKinds, steps: HostSteps) -> dict[int, int]:
    """Start of the first compute kernel on the main stream launched within each host step."""
    activities = timeline.activities
    chosen = kinds.is_compute & activities.has_call & (activities.stream == main_stream(timeline, kinds))
    rows = np.flatnonzero(chosen)
    launched = timeline.calls.start_ns[activities.call[rows]]
    step = np.searchsorted(steps.start_ns, launched, side="right") - 1
    inside = (step >= 0) & (launched < steps.end_ns[np.maximum(step, 0)])
    found, place = np.unique(step[inside], return_index=True)  # activities are in order of start
    return dict(zip(found.tolist(), activities.start_ns[rows[inside][place]].tolist(), strict=True))


def main_stream(timeline: Timeline, kinds: ActivityKinds) -> int:
    """The stream with the most compute-kernel time."""
    activities = timeline.activities
    rows = kinds.is_compute
    busy = np.bincount(
        activities.stream[rows], weights=(activities.end_ns - activities.start_ns)[rows], minlength=1
    )
    return int(np.argmax(busy))


def _span(timeline: Timeline, source: str) -> Windows:
    """From the first to the last activity of the device; of everything where there is no device."""
    start, end = timeline.start_ns, timeline.end_ns
    if len(timeline.activities):
        start = int(timeline.activities.start_ns.min())
        end = int(timeline.activities.end_ns.max())
    return Windows((Window("span", start, end),) if end > start else (), source)


def _finished(timeline: Timeline, windows: tuple[Window, ...]) -> tuple[Window, ...]:
    """The windows without the step that a live run did not finish, unless there is nothing else."""
    unfinished = timeline.live.run.unfinished_step if timeline.live is not None else None
    whole = tuple(window for window in windows if step_number(window.label) != unfinished)
    return windows if unfinished is None else whole or windows


def _with_pauses(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    """Mark evaluation, and averaged windows that are much longer than the median."""
    windows = tuple(
        replace(window, role="pause") if window.label == EVALUATION else window for window in windows
    )
    lengths = [window.end_ns - window.start_ns for window in windows if window.role == "averaged"]
    if len(lengths) < 3:
        return windows
    limit = PAUSE_OVER_MEDIAN * float(np.median(lengths))
    return tuple(
        replace(window, role="pause")
        if window.role == "averaged" and window.end_ns - window.start_ns > limit
        else window
        for window in windows
    )
