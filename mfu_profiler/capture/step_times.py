"""How long steps take: a sliding window for the live line, all of them for report and closing line."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator
from statistics import median

from mfu_profiler.analysis.step_lengths import pause_limit, without_pauses
from mfu_profiler.capture.phases import Phase
from mfu_profiler.capture.steps import Step

__all__ = ["StepTimes"]

LIVE_STEPS = 10
"""The live line looks back over at least so many steps ..."""
LIVE_NS = 10 * 10**9
"""... and so long, because the host of a GPU runs ahead of it between synchronizations."""
MOST_LIVE_STEPS = 1000
REFRESH_OVER = 1.02
"""Pauses are looked for again once there are so many times more steps: that takes time with each of them."""
# Tuples: to look for a member in a set calls Python code of Enum, in every step.
_UNDISTURBED = (Phase.WARMUP, Phase.TIMED, Phase.PREPARED, Phase.REST)
"""Phases whose steps the live line shows; the others compile, count or profile."""
_EARLY = (Phase.UNTOUCHED, Phase.WARMUP)
_PLAIN = (Phase.TIMED, Phase.REST)
"""Phases that nothing of ours disturbs."""


class StepTimes:
    """Lengths of the steps of one run, evaluation and our own work taken out.

    On an accelerator the lengths for report and closing line come from the device's clock, one step later,
    because the host only shows when a step was enqueued.
    """

    def __init__(self) -> None:
        self.count = 0
        """Whole steps so far."""
        self.evaluation_ns = 0
        """Time of evaluation between training forwards."""
        self.own_ns = 0
        """Time that counting, preparing and exporting stopped the training."""
        self.has_device_clock = False
        """Whether lengths come from the device, by ``add_device``."""
        self._timed: list[int] = []
        self._plain = array("q")
        self._early: list[int] = []
        self._early_device: list[int] = []
        self._recent: deque[int] = deque(maxlen=MOST_LIVE_STEPS)
        self._recent_device: deque[int] = deque(maxlen=MOST_LIVE_STEPS)
        self._expected: dict[int, Phase] = {}
        self._pauses_at = 0, 0
        """(Steps, ns): what the pauses were when there were so many steps."""

    def add(self, step: Step, phase: Phase, own_ns: int) -> None:
        """Take a finished step as the host saw it.

        Args:
            step: its evaluation is a pause, not a part of it.
            phase: what it was for.
            own_ns: time in it that was ours.

        """
        self.count += 1
        self.evaluation_ns += step.evaluation_ns
        self.own_ns += own_ns
        length = step.end_ns - step.start_ns - step.evaluation_ns - own_ns
        if phase in _UNDISTURBED:
            self._recent.append(length)
        if phase in _EARLY:
            self._early.append(length)
        if not self.has_device_clock:
            self._file(length, phase, is_whole=not step.evaluation_ns)
            return
        # On the device, evaluation stands between the step before and this one's first kernel.
        if step.evaluation_ns:
            self._expected.pop(step.number - 1, None)
        if not own_ns:
            self._expected[step.number] = phase

    def add_device(self, number: int, length_ns: int) -> None:
        """Take the length of a step as the device saw it; of steps that were disturbed none is kept."""
        phase = self._expected.pop(number, None)
        if phase is not None:
            self._file(length_ns, phase, is_whole=True)
            if phase in _EARLY:
                self._early_device.append(length_ns)
            if phase in _UNDISTURBED:
                self._recent_device.append(length_ns)

    def _file(self, length: int, phase: Phase, *, is_whole: bool) -> None:
        if phase in _PLAIN:
            self._plain.append(length)
        if phase is Phase.TIMED and is_whole:
            self._timed.append(length)

    @property
    def timed_ns(self) -> list[int]:
        """Lengths of the timed steps before the profiled window, pauses left out; ns."""
        return without_pauses(self._timed)

    @property
    def early_ns(self) -> list[int]:
        """Lengths of the steps before the timed ones, without the first where there are others; ns."""
        return without_pauses(self._early_device or self._early[1:] or self._early)

    @property
    def plain_ns(self) -> list[int]:
        """Lengths of all steps that were only timed, pauses left out; ns."""
        return without_pauses(self._plain)

    @property
    def other_pauses_ns(self) -> int:
        """By how much the steps with a pause are longer than the median step."""
        if not len(self._plain):
            return 0
        count, known_ns = self._pauses_at
        if len(self._plain) > REFRESH_OVER * count:
            limit, middle = pause_limit(self._plain), median(self._plain)
            known_ns = sum(int(length - middle) for length in self._plain if length > limit)
            self._pauses_at = len(self._plain), known_ns
        return known_ns

    @property
    def pauses_ns(self) -> dict[str, int]:
        """Time of the run that was no training, by kind; kinds without any are left out."""
        kinds = {
            "evaluation": self.evaluation_ns,
            "other": self.other_pauses_ns,
            "profiling": self.own_ns,
        }
        return {kind: length for kind, length in kinds.items() if length}

    def live_s(self, pending_ns: int | None = None) -> float | None:
        """Mean step time over the last steps, as soon as possible the device's; None before the first.

        Args:
            pending_ns: host length of a step that ended, though the next has not begun to prove it.

        """
        lengths = list(self._live_window(pending_ns))
        return sum(lengths) / len(lengths) / 1e9 if lengths else None

    def _live_window(self, pending_ns: int | None) -> Iterator[int]:
        total, taken = 0, 0
        newest = [] if pending_ns is None or self._recent_device else [pending_ns]
        for length in (*newest, *reversed(self._recent_device or self._recent)):
            if taken >= LIVE_STEPS and total >= LIVE_NS:
                return
            yield length
            total, taken = total + length, taken + 1
