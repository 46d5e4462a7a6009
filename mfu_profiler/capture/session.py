"""One tracked block from beginning to end: events in, phases through, a trace and a report out.

::

    Watch --events--> Session --times--> StepDetector --steps--> Session
                         │ by phase: Counting, and the clocks and profiler of its Window
                         └ at the end of the profiled window: Outcome (report in a process of its own)

Whatever fails in here is logged once and ends the tracking, never the training.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import nn

from mfu_profiler.capture.counting import Counting
from mfu_profiler.capture.messages import warn
from mfu_profiler.capture.outcome import Outcome
from mfu_profiler.capture.phases import Phase, Plan
from mfu_profiler.capture.session_facts import session_facts
from mfu_profiler.capture.settings import Settings
from mfu_profiler.capture.step_times import StepTimes
from mfu_profiler.capture.steps import Step, StepDetector
from mfu_profiler.capture.torch_private import is_capturing
from mfu_profiler.capture.watch import Watch, optimizers_of
from mfu_profiler.capture.window import Window
from mfu_profiler.trace.live_file import step_marks_trace

__all__ = ["Session"]

POSTPONED_STEPS = 5
"""So many steps later the profiler is tried again where another one is running, and one step later each time:
not to keep step with a schedule that repeats."""
MOST_KEPT_STEPS = 1000
"""Steps whose times are kept for the trace of a block that is never profiled."""
WHOLE_STEP_FRACTION = 0.05
"""A mark that outlasts its step by more than this share is no measure of it."""

_Method = TypeVar("_Method", bound=Callable[..., None])


def _guarded(method: _Method) -> _Method:
    """An error of ours ends the tracking and is logged; training does not notice."""

    @wraps(method)
    def guarded(self: Session, *args: Any, **kwargs: Any) -> None:
        if self.is_over:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self.fail(error)

    return guarded  # type: ignore[return-value]


class Session:
    """The machine behind one ``track`` block; a listener of ``Watch``."""

    def __init__(self, model: nn.Module | None, settings: Settings) -> None:
        self.settings = settings
        self.times = StepTimes()
        self.counting = Counting(model)
        self.window: Window | None = None
        """None until there is a model, so that a script may still choose its devices and threads."""
        self.is_over = False
        self.plan = Plan.of(settings)
        """Which step is for what; changes where the profiler has to wait."""
        self._phase = Phase.UNTOUCHED
        self._watch = Watch(model, self)
        self._thread = threading.get_ident()
        self._waiting: deque[Step] = deque()
        self._kept: list[tuple[int, int, int]] = []
        self._has_begun = False
        self._own_ns = 0
        self._times_postponed = 0
        self.notes: list[str] = []
        """What a reader of the report must know of this recording."""
        self.started_ns = time.time_ns()
        self.detector = StepDetector(self.started_ns)

    # The block ----------------------------------------------------------------------------------

    @_guarded
    def open(self) -> None:
        """The block begins."""
        if self.counting.model is not None:
            self._look_around()
        self.started_ns = time.time_ns()
        self.detector = StepDetector(self.started_ns)
        self._watch.start()

    def close(self, ended: str | None) -> None:
        """The block is over, and its report is waited for; ``ended`` names the exception that ended it."""
        try:
            if not self.is_over:
                self._end_elsewhere("the block ended")
                self._finish(ended)
        except Exception as error:
            self.fail(error)
        finally:
            self.is_over = True
            self._release()
        if self.outcome is not None:
            self.outcome.close()

    @_guarded
    def step(self) -> None:
        """The user says that a step ends here."""
        self._thread = threading.get_ident()
        self._settle(self.detector.explicit(time.time_ns()))

    def fail(self, error: BaseException) -> None:
        """Ends the tracking, for a reason that is ours."""
        if not self.is_over:
            self.is_over = True
            self._release()
            wants_details = bool(os.environ.get("MFU_PROFILER_DEBUG"))
            what = type(error).__name__
            warn("tracking ends, training goes on: %s: %s", what, error, exc_info=wants_details)

    def _release(self) -> None:
        """Takes everything of ours out of the process."""
        for release in (self._watch.stop, self.counting.leave, self.window.release if self.window else None):
            if release is not None:
                with suppress(Exception):  # each of them, whatever happens to the others
                    release()

    def _find_model(self) -> None:
        """Where none was given, the one that the optimizer's parameters led to."""
        if self.counting.model is None:
            self.counting.model = self._watch.model

    def _look_around(self) -> Window:
        if self.window is None:
            self.window = Window(self.counting.model, self.settings, self._give_way)
            self.times.has_device_clock = self.window.device_clock is not None
        return self.window

    # What Watch tells ---------------------------------------------------------------------------

    @_guarded
    def on_forward(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], trains: bool
    ) -> None:
        """Before a forward of the tracked model."""
        now_ns = time.time_ns()
        if self.counting.model is None or not self._has_begun:
            self._has_begun = True
            self.counting.model = model
            self.detector.model = type(model).__name__
            if self.detector.mode is None:  # else one has stepped, whether it still exists or not
                self.detector.has_optimizer = bool(optimizers_of(model))  # asks the garbage collector: once
        self._thread = threading.get_ident()
        self._settle(self.detector.forward(now_ns, trains=trains, evaluates=not model.training))
        if not self._waiting and self._must_end(now_ns):
            self._hand_over(self._mark)
        if self._phase is not Phase.TIMED:  # shapes are looked at before and after
            self.counting.on_forward(args, kwargs, trains=trains)

    @_guarded
    def on_optimizer_begin(self, optimizer: torch.optim.Optimizer) -> None:
        """Before an optimizer's step."""
        self.detector.optimizer_begins(id(optimizer))
        self.counting.on_optimizer_begin()

    @_guarded
    def on_optimizer_end(self, optimizer: torch.optim.Optimizer) -> None:
        """After it; on a GPU this may be a thread of autograd."""
        self.counting.on_optimizer_end()
        self._settle(self.detector.optimizer_step(time.time_ns(), id(optimizer), type(optimizer).__name__))

    def on_error(self, error: Exception) -> None:
        """Watch itself failed."""
        self.fail(error)

    # Steps --------------------------------------------------------------------------------------

    def _settle(self, step: Step | None) -> None:
        """Act on a finished step, on the thread that trains only: modes and marks belong to a thread.

        Not while it captures a CUDA graph: a profiler that starts or ends then would break the capture.
        """
        if step is not None:
            self._waiting.append(step)
        while self._waiting and threading.get_ident() == self._thread and not is_capturing():
            step = self._waiting.popleft()
            self._take(step)
            self._enter(step.number + 1)

    def _take(self, step: Step) -> None:
        own_ns, self._own_ns = self._own_ns, 0
        self.times.add(step, self._phase, own_ns)
        self.counting.step_ended()
        if self.window is not None and self.window.device_clock is not None:
            if not self._waiting:  # the end of a step that had to wait here has passed unmarked
                self.window.device_clock.mark(step.number)
            self.read_device_clock()
        if self._phase not in (Phase.PROFILED, Phase.REST) and len(self._kept) < MOST_KEPT_STEPS:
            self._kept.append((step.number, step.start_ns, step.end_ns))

    def read_device_clock(self, *, waits: bool = False) -> None:
        """Take the step lengths that the device has finished, or those of all steps so far."""
        if self.window is not None and self.window.device_clock is not None:
            for number, length_ns in self.window.device_clock.finished(waits=waits):
                self.times.add_device(number, length_ns)

    # Phases -------------------------------------------------------------------------------------

    def _enter(self, step: int) -> None:
        """Begin a step in its phase, after ending the phase before it."""
        if self._phase is Phase.TIMED and self.plan.timed < step < self.plan.prepared:
            return  # as the step before
        before, self._phase = self._phase, self.plan.phase(step)
        if self.window is None or before is Phase.COUNTED:
            with self._own_work():
                self._find_model()
                self._look_around()
                if before is Phase.COUNTED:
                    self.counting.end()
        window = self._look_around()
        self.counting.leave()  # where the user's own mode lay above ours until now
        if self._phase is Phase.COUNTED:
            self.counting.begin(step)
        elif self._phase is Phase.TIMED and before is not Phase.TIMED:
            with self._own_work():
                window.clocks.start()
        elif self._phase is Phase.PREPARED:
            self._prepare(window, step)
        elif self._phase is Phase.PROFILED:
            self._profile(window, step)
        elif window.profiling.is_active:
            self._hand_over(None)

    def _prepare(self, window: Window, step: int) -> None:
        with self._own_work():
            state = window.prepare()
        if state == "later":
            self._postpone()
        elif state == "never":
            self._rest_from(step)

    def _profile(self, window: Window, step: int) -> None:
        if self._must_end(time.time_ns()):
            self._hand_over(None)
        elif not window.profiling.begin_step(step):
            self._rest_from(step)

    def _postpone(self) -> None:
        self.plan, self._phase = self.plan.postponed(POSTPONED_STEPS + self._times_postponed), Phase.TIMED
        self._times_postponed += 1

    def _rest_from(self, step: int) -> None:
        self.plan, self._phase = self.plan.cut(step), Phase.REST

    def _must_end(self, now_ns: int) -> bool:
        because = self.window.profiling.cut_because(now_ns) if self.window is not None else None
        if because is not None:
            self.notes.append(f"the profiled window was cut short: {because}")
        return because is not None

    @property
    def _mark(self) -> int | None:
        """The number of the last profiled step."""
        return self.window.profiling.last_step if self.window is not None else None

    @contextmanager
    def _own_work(self) -> Iterator[None]:
        """Time in here stops the training and is not the step's."""
        start_ns = time.time_ns()
        yield
        self._own_ns += time.time_ns() - start_ns

    # The end of the profiled window, and of the block -------------------------------------------

    @_guarded
    def _give_way(self) -> None:
        """The user starts a profiler while ours runs; while ours still warms up, it may try again later."""
        because, profiling = "another profiler was started", self._look_around().profiling
        if not profiling.is_here:
            self._end_elsewhere(because)
        elif profiling.is_recording:
            self.notes.append(f"the profiled window was cut short: {because}")
            self._hand_over(self._mark)
        else:
            profiling.drop()
            self._postpone()

    def _end_elsewhere(self, because: str) -> None:
        """Where another thread is recorded, it must end that at its next event."""
        if self.window is not None and not self.window.profiling.is_here:
            self.window.profiling.end_elsewhere(because)

    def _hand_over(self, unfinished: int | None, ended: str | None = None) -> None:
        """Args: unfinished: number of the last mark, where it is not a whole step."""
        window = self._look_around()
        self._rest_from(self.times.count + 1)
        if not window.profiling.is_here:
            return
        if not window.profiling.is_recording:
            window.profiling.drop()
            return
        with self._own_work():
            window.hand_over(
                lambda clocks, stacks: session_facts(self, window, unfinished, ended, clocks, stacks)
            )
        self.counting.stop_watching_shapes()

    def _finish(self, ended: str | None) -> None:
        self._watch.stop()
        last = self.detector.finish(time.time_ns())
        self._waiting.extend([last] if last is not None else [])
        while self._waiting:
            self._take(self._waiting.popleft())
        self.counting.leave()
        self._find_model()
        if self.window is None and not self.times.count:
            return  # neither a model nor a step: nothing to report on
        window = self._look_around()
        where = None if ended is None else f"{ended} in step {self.times.count + 1}"
        if window.profiling.is_recording:
            self._hand_over(self._unfinished(last), where)
        elif window.profiling.first_step is None:
            self.counting.count_shadow()
            trace = step_marks_trace(
                self._kept,
                (self.started_ns, time.time_ns()),
                process=os.getpid(),
                thread=threading.get_native_id(),
                torch_version=torch.__version__,
            )
            window.write_without_profile(
                trace, lambda clocks, stacks: session_facts(self, window, None, where, clocks, stacks)
            )

    def _unfinished(self, last: Step | None) -> int | None:
        """The number of the open mark, unless its step has just ended."""
        if last is None or last.number != self._mark:
            return self._mark
        after_ns = time.time_ns() - last.end_ns
        is_whole = after_ns <= WHOLE_STEP_FRACTION * (last.end_ns - last.start_ns)
        return None if is_whole else self._mark

    # What is known ------------------------------------------------------------------------------

    @property
    def outcome(self) -> Outcome | None:
        """Trace and report; None where there are none yet, or nothing can be written."""
        return self.window.outcome if self.window is not None else None

    @property
    def is_shown(self) -> bool:
        """Whether this process prints."""
        return not self.settings.quiet and (self.window is None or self.window.surroundings.is_first_rank)

    def pending_ns(self) -> int | None:
        """Length of a step that has ended, where the next one has not begun to prove it."""
        end_ns = self.detector.pending_end_ns
        if end_ns is None or self._phase in (Phase.UNTOUCHED, Phase.COUNTED, Phase.PROFILED):
            return None
        return end_ns - self.detector.start_ns - self.detector.pending_evaluation_ns - self._own_ns
