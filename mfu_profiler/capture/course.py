"""The course of one tracked block: steps in, phases through, a trace and a report out.

::

    step ends --take--> StepTimes
              --enter-> by phase: Counting, the clocks and the profiler of the Window
    rest begins, or the block ends --> live facts --> Outcome (report in a process of its own)
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mfu_profiler.capture.flop.counting import Counting
from mfu_profiler.capture.live_facts import block_facts
from mfu_profiler.capture.machine.device_clock import DeviceClock
from mfu_profiler.capture.own_work import OwnWork
from mfu_profiler.capture.phases import Phase, Plan
from mfu_profiler.capture.profile.outcome import Outcome
from mfu_profiler.capture.settings import Settings
from mfu_profiler.capture.step_times import StepTimes
from mfu_profiler.capture.steps import Step, StepDetector
from mfu_profiler.capture.window import MakeFacts, Window
from mfu_profiler.trace.live_file import step_marks_trace

__all__ = ["Course"]

POSTPONED_STEPS = 5
"""So many steps later the profiler is tried again where another one is running, and one step later each time:
not to keep step with a schedule that repeats."""
MOST_KEPT_STEPS = 1000
"""Steps whose times are kept for the trace of a block that is never profiled."""
MOST_PATIENCE = 80
"""Steps; those of one take some µs to act on."""
WHOLE_STEP_FRACTION = 0.05
"""A mark that outlasts its step by more than this share is no measure of it."""


class Course:
    """What has become of a block so far. Nothing here guards the training: ``Session`` does."""

    def __init__(self, model: nn.Module | None, settings: Settings, on_intruder: Callable[[], None]) -> None:
        """Args: on_intruder: called when the user starts a profiler; must end our recording."""
        self.settings = settings
        self.times = StepTimes()
        self.counting = Counting(model)
        self.window: Window | None = None
        """None until there is a model, so that a script may still choose its devices and threads."""
        self.plan = Plan.of(settings)
        """Which step is for what; changes where the profiler has to wait."""
        self.phase = Phase.UNTOUCHED
        """Of the step under way."""
        self.notes: list[str] = []
        """What a reader of the report must know of this recording."""
        self._on_intruder = on_intruder
        self._kept: list[tuple[int, int, int]] = []
        self._own_work = OwnWork()
        self._times_postponed = 0
        self.begin()

    def begin(self) -> None:
        """The block begins now."""
        self.started_ns = time.time_ns()
        self.detector = StepDetector(self.started_ns)

    def look_around(self) -> Window:
        """Find out where the block runs, once."""
        if self.window is None:
            self.window = Window(self.counting.model, self.settings, self._on_intruder)
            self.times.has_device_clock = self.window.device_clock is not None
        return self.window

    # What is known ------------------------------------------------------------------------------

    @property
    def outcome(self) -> Outcome | None:
        """Trace and report; None where there are none yet, or nothing can be written."""
        return self.window.outcome if self.window is not None else None

    @property
    def is_shown(self) -> bool:
        """Whether this process prints."""
        return not self.settings.quiet and (self.window is None or self.window.surroundings.is_first_rank)

    @property
    def mark(self) -> int | None:
        """The number of the last profiled step."""
        return self.window.profiling.last_step if self.window is not None else None

    def pending_ns(self) -> int | None:
        """Length of a step that has ended, where the next one has not begun to prove it."""
        end_ns = self.detector.pending_end_ns
        if end_ns is None or self.phase in (Phase.UNTOUCHED, Phase.COUNTED, Phase.PROFILED):
            return None
        start_ns = self.detector.start_ns
        own_ns = self._own_work.within(start_ns, end_ns)
        return end_ns - start_ns - self.detector.pending_evaluation_ns - own_ns

    def read_device_clock(self, *, waits: bool = False) -> None:
        """Take the step lengths that the device has finished, or those of all steps so far."""
        if self.device_clock is not None:
            for number, length_ns in self.device_clock.finished(waits=waits):
                self.times.add_device(number, length_ns)

    # Steps and phases ---------------------------------------------------------------------------

    def is_quiet_in(self, step: int) -> bool:
        """Whether nothing begins or ends with this step: it is timed, as the one before it."""
        if self.window is None or self.window.profiling.is_active or self.counting.is_under_way:
            return False
        return self.phase is self.plan.phase(step) and self.phase in (Phase.TIMED, Phase.REST)

    def patience(self, step: int) -> int:
        """How many ends of steps may be acted on late, from this step on; 0 for none."""
        if not self.is_quiet_in(step):
            return 0
        return MOST_PATIENCE if self.phase is Phase.REST else min(MOST_PATIENCE, self.plan.prepared - step)

    @property
    def device_clock(self) -> DeviceClock | None:
        """None where the host's clock serves, and before it is known."""
        return self.window.device_clock if self.window is not None else None

    def device_mark(self) -> object:
        """A mark of this moment on the device."""
        return self.device_clock.now() if self.device_clock is not None else None

    def take(self, step: Step, mark: object) -> None:
        """A step has ended; the device's mark of its end, where there is one."""
        own_ns = self._own_work.within(step.start_ns, step.end_ns)
        self._own_work.forget_until(step.end_ns)
        self.times.add(step, self.phase, own_ns)
        self.counting.step_ended()
        if self.window is not None and self.phase is Phase.TIMED and not step.evaluation_ns:
            self.window.data_waits.step_ended(step.start_ns, step.end_ns)
        if self.device_clock is not None:
            self.device_clock.add(step.number, mark)
            self.read_device_clock()
        if self.phase not in (Phase.PROFILED, Phase.REST) and len(self._kept) < MOST_KEPT_STEPS:
            self._kept.append((step.number, step.start_ns, step.end_ns))

    def enter(self, step: int, found_model: nn.Module | None) -> None:
        """Begin a step in its phase, after ending the phase before it.

        Args:
            step: its number.
            found_model: what the optimizer's parameters led to, where no model was given.

        """
        before, self.phase = self.phase, self.plan.phase(step)
        if (
            before is Phase.UNTOUCHED
            and self.window is not None
            and self.window.is_elsewhere(self.counting.model)
        ):
            self.window = None  # the model was moved to its device inside the block
        if self.window is None or before is Phase.COUNTED:
            with self._own_work.under_way():
                self.adopt(found_model)
                self.look_around()
                if before is Phase.COUNTED:
                    self.counting.end()
        window = self.look_around()
        if before is Phase.TIMED and self.phase is not Phase.TIMED:
            window.data_waits.stop()
        self.counting.leave()  # where the user's own mode lay above ours until now
        if self.phase is Phase.COUNTED:
            self.counting.begin(step)
        elif self.phase is Phase.TIMED and before is not Phase.TIMED:
            with self._own_work.under_way():
                window.clocks.start()
                window.data_waits.start()
        elif self.phase is Phase.PREPARED:
            self._prepare(window, step)
        elif self.phase is Phase.PROFILED:
            self._profile(window, step)
        elif window.profiling.is_active:
            self.hand_over(None)

    def begin_evaluation(self) -> None:
        """The model evaluates between two steps: neither its time nor its FLOP are a step's."""
        self.counting.end_early()
        if self.window is not None:
            self.window.profiling.begin_evaluation()

    def adopt(self, found_model: nn.Module | None) -> None:
        """Take a model that was found where none was given."""
        if self.counting.model is None:
            self.counting.model = found_model

    def must_end(self, now_ns: int) -> bool:
        """Whether the profiled window is to end before its time; notes why."""
        because = self.window.profiling.cut_because(now_ns) if self.window is not None else None
        if because is not None:
            self.notes.append(f"the profiled window was cut short: {because}")
        return because is not None

    def _prepare(self, window: Window, step: int) -> None:
        with self._own_work.under_way():
            state = window.prepare()
        if state == "later":
            self._postpone()
        elif state == "never":
            self._rest_from(step)

    def _profile(self, window: Window, step: int) -> None:
        if self.must_end(time.time_ns()):
            self.hand_over(None)
        elif not window.profiling.begin_step(step):
            self._rest_from(step)

    def _postpone(self) -> None:
        self.plan, self.phase = self.plan.postponed(POSTPONED_STEPS + self._times_postponed), Phase.TIMED
        self._times_postponed += 1

    def _rest_from(self, step: int) -> None:
        self.plan, self.phase = self.plan.cut(step), Phase.REST

    # The end of the profiled window, and of the block -------------------------------------------

    def give_way(self) -> None:
        """The user starts a profiler while ours runs; while ours still warms up, it may try again later."""
        because, profiling = "another profiler was started", self.look_around().profiling
        if not profiling.is_here:
            self.end_elsewhere(because)
        elif profiling.is_recording:
            self.notes.append(f"the profiled window was cut short: {because}")
            self.hand_over(self.mark)
        else:
            profiling.drop()
            self._postpone()

    def end_elsewhere(self, because: str) -> None:
        """Where another thread is recorded, it must end that at its next event."""
        if self.window is not None and not self.window.profiling.is_here:
            self.window.profiling.end_elsewhere(because)

    def hand_over(self, unfinished: int | None, ended: str | None = None) -> None:
        """Export what was recorded; ``unfinished``: number of the last mark, where that is no whole step."""
        window = self.look_around()
        self._rest_from(self.times.count + 1)
        if not window.profiling.is_here:
            return
        if not window.profiling.is_recording:
            window.profiling.drop()
            return
        with self._own_work.under_way():
            window.hand_over(self._facts_maker(window, unfinished, ended))
        self.counting.stop_watching_shapes()

    def finish(self, last: Step | None, ended: str | None) -> None:
        """The block is over; ``last`` is its last step, taken already, where that ended with the block."""
        self.counting.leave()
        if self.window is None and not self.times.count:
            return  # neither a model nor a step: nothing to report on
        window = self.look_around()
        where = None if ended is None else f"{ended} in step {self.times.count + 1}"
        if window.profiling.is_recording:
            self.hand_over(self._unfinished(last), where)
        elif window.profiling.first_step is None:
            self._write_without_profile(window, where)

    def _write_without_profile(self, window: Window, ended: str | None) -> None:
        self.counting.count_shadow()
        trace = step_marks_trace(
            self._kept,
            (self.started_ns, time.time_ns()),
            process=os.getpid(),
            thread=threading.get_native_id(),
            torch_version=torch.__version__,
        )
        window.write_without_profile(trace, self._facts_maker(window, None, ended))

    def _facts_maker(self, window: Window, unfinished: int | None, ended: str | None) -> MakeFacts:
        def make_facts(clocks: dict[str, Any] | None, stacks: dict[str, Any] | None) -> dict[str, Any]:
            self.read_device_clock(waits=True)  # where there was a profiler, it has waited already
            return block_facts(self, window, unfinished, ended, clocks, stacks)

        return make_facts

    def _unfinished(self, last: Step | None) -> int | None:
        """The number of the open mark, unless its step has just ended."""
        if last is None or last.number != self.mark:
            return self.mark
        after_ns = time.time_ns() - last.end_ns
        is_whole = after_ns <= WHOLE_STEP_FRACTION * (last.end_ns - last.start_ns)
        return None if is_whole else self.mark
