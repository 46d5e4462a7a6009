"""What a tracked block is told, and its guard: events become steps on the training's own thread.

::

    Watch --events--> Session --times--> StepDetector --steps--> Course

Whatever fails in here is logged once and ends the tracking, never the training.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import nn

from mfu_profiler.capture.course import Course
from mfu_profiler.capture.messages import warn
from mfu_profiler.capture.observe.listener import Call, ForwardMode
from mfu_profiler.capture.observe.watch import Watch, optimizers_of
from mfu_profiler.capture.phases import Phase
from mfu_profiler.capture.settings import Settings
from mfu_profiler.capture.steps import Step
from mfu_profiler.capture.torch_private import is_capturing

__all__ = ["Session"]

_Answer = TypeVar("_Answer")
_Method = TypeVar("_Method", bound=Callable[..., None])


def _guarded(method: _Method) -> _Method:
    """An error of ours ends the tracking and is logged; training does not notice."""

    @wraps(method)
    def guarded(self: Session, *args: Any, **kwargs: Any) -> None:
        if self.is_over:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # whatever it is, it is ours: the user's code does not run in here
            self.fail(error)

    return guarded  # type: ignore[return-value]  # same arguments, same result


class Session:
    """One tracked block; a listener of ``Watch``."""

    def __init__(self, model: nn.Module | None, settings: Settings) -> None:
        self.course = Course(model, settings, self._give_way)
        self.is_over = False
        self._watch = Watch(model, self)
        self._thread = threading.get_ident()
        self._waiting: deque[tuple[Step, object]] = deque()
        """Finished steps, each with the device's mark of its end."""
        self._has_begun = False

    # The block ----------------------------------------------------------------------------------

    @_guarded
    def open(self) -> None:
        """The block begins."""
        if self.course.counting.model is not None:
            self.course.look_around()
        self.course.begin()
        self._watch.start()

    def close(self, ended: str | None) -> None:
        """The block is over, and its report is waited for; ``ended`` names the exception that ended it."""
        try:
            if not self.is_over:
                self.course.end_elsewhere("the block ended")
                self._finish(ended)
        except Exception as error:  # the block's own exception, if any, goes on
            self.fail(error)
        finally:
            self.is_over = True
            self._release()
        if self.course.outcome is not None:
            self.course.outcome.close()
        self.course.counting.forget_model()
        self._watch.forget_model()

    @_guarded
    def step(self) -> None:
        """The user says that a step ends here."""
        with self._watch.lock:
            self._watch.tell()
            self._thread = threading.get_ident()
            self._settle(self.course.detector.explicit(time.time_ns()), self.course.device_mark())

    def ask(self, read: Callable[[Course], _Answer]) -> _Answer:
        """What ``read`` makes of the course after all that has happened so far; on any thread."""
        with self._watch.lock:
            self._catch_up()
            return read(self.course)

    @_guarded
    def _catch_up(self) -> None:
        self._watch.tell()

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
        window = self.course.window
        for release in (
            self._watch.stop,
            self.course.counting.leave,
            window.release if window is not None else None,
        ):
            if release is not None:
                with suppress(Exception):  # each of them, whatever happens to the others
                    release()

    def _finish(self, ended: str | None) -> None:
        self._watch.tell()
        self._watch.stop()
        last = self.course.detector.finish(time.time_ns())
        if last is not None:
            self._waiting.append((last, self.course.device_mark()))
        while self._waiting:
            self.course.take(*self._waiting.popleft())
        self.course.adopt(self._watch.model)
        self.course.finish(last, ended)

    @_guarded
    def _give_way(self) -> None:
        """The user starts a profiler."""
        self.course.give_way()

    # What Watch tells ---------------------------------------------------------------------------

    @_guarded
    def on_forward(
        self, model: nn.Module, mode: ForwardMode, now_ns: int, thread: int, mark: object, call: Call | None
    ) -> None:
        """Before a forward of the tracked model."""
        course = self.course
        if not self._has_begun:
            self._has_begun = True
            course.counting.model = model
            course.detector.model = type(model).__name__
            if course.detector.mode is None:  # else one has stepped, whether it still exists or not
                course.detector.has_optimizer = bool(optimizers_of(model))  # asks the gc: once
        self._thread = thread
        if mode == "evaluation" and course.detector.pending_end_ns is not None:
            course.begin_evaluation()
            call = None
        trains, evaluates = mode == "training", mode == "evaluation"
        self._settle(course.detector.forward(now_ns, trains=trains, evaluates=evaluates), mark)
        if not self._waiting and course.must_end(now_ns):
            course.hand_over(course.mark)
        if call is not None and course.phase is not Phase.TIMED:  # shapes are looked at before and after
            course.counting.on_forward(*call, trains=trains)

    @_guarded
    def on_optimizer_begin(self, optimizer: torch.optim.Optimizer) -> None:
        """Before an optimizer's step."""
        self.course.detector.optimizer_begins(id(optimizer))
        self.course.counting.on_optimizer_begin()

    @_guarded
    def on_optimizer_end(self, optimizer: torch.optim.Optimizer, now_ns: int, mark: object) -> None:
        """After it; on a GPU this may be a thread of autograd."""
        self.course.counting.on_optimizer_end()
        name = type(optimizer).__name__
        self._settle(self.course.detector.optimizer_step(now_ns, id(optimizer), name), mark)

    def on_error(self, error: Exception) -> None:
        """Watch itself failed."""
        self.fail(error)

    def _settle(self, step: Step | None, mark: object) -> None:
        """Act on a finished step.

        A phase begins and ends on the thread that trains only: modes and marks belong to a thread. And not
        while it captures a CUDA graph: a profiler that starts or ends then would break the capture.
        """
        if step is None and not self._waiting:
            return
        if step is not None:
            self._waiting.append((step, mark))
        while self._waiting:
            following = self._waiting[0][0].number + 1
            is_quiet = self.course.is_quiet_in(following)
            if not is_quiet and (threading.get_ident() != self._thread or is_capturing()):
                return
            self.course.take(*self._waiting.popleft())
            if not is_quiet:
                self.course.enter(following, self._watch.model)
                self._watch.clock = self.course.device_clock
            self._watch.patience = self.course.patience(following)
