"""Where the steps of a training run end, told from forwards and optimizer steps. Pure: events in, steps out.

F is a training forward of the tracked model, O an optimizer's step, E a forward that does not train::

    gradient accumulation      F F F O | F F F O | F
    two optimizers             F A B | F A | F A B | F
    evaluation between         F O | E E E F O | F         the time from the first E to F is evaluation
    the forward is never seen  O | O | O                   compiled into something; the model in eval mode
    no optimizer               F | F | F                   hand-written updates; or E | E | E: inference

A step ends at the last O before the next F. So its end is known only at that F; until then it is pending.
Where no forward is seen, it ends at the last O before an optimizer that already stepped in it steps again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Step", "StepDetector"]

Mode = Literal["training", "inference", "explicit"]

MOST_STEPS_OF_ONE_FORWARD = 2
"""Twice may be meant. An optimizer that steps more often has forwards that are not seen, and the one that was
seen ran before the training was compiled."""


@dataclass(frozen=True, slots=True)
class Step:
    """A finished step. Steps are contiguous: each starts where the former ended."""

    number: int
    """From 1."""
    start_ns: int
    """Unix epoch."""
    end_ns: int
    """Unix epoch."""
    evaluation_ns: int
    """Time of evaluation in it: from its first forward that does not train to its first that does."""
    micro_batches: int
    """Training forwards seen in it; 0 where they are not seen."""


@dataclass(slots=True)
class _Evaluation:
    """Forwards that do not train, after the former step's end: time of the first, and of the last so far."""

    first_ns: int
    last_ns: int


@dataclass(slots=True)
class _Open:
    """The step that has not ended yet."""

    start_ns: int
    evaluation: _Evaluation | None = None
    """What is going on since the last optimizer step."""
    evaluation_ns: int = 0
    """What has ended."""
    forwards: int = 0
    """Training forwards, those inside optimizers included."""
    is_begun: bool = False
    """Whether a training forward outside optimizers was seen in it."""
    is_called: bool = False
    """Whether any forward that may be a step of its own was seen in it."""
    pending_end_ns: int | None = None
    """The last optimizer step."""
    stepped: dict[int, int] = field(default_factory=dict)
    """How often each optimizer stepped in it."""


class StepDetector:
    """Turns events into steps. Times are ns of the Unix epoch; a clock that runs backwards is held.

    Every event returns the step that it shows to be finished, if any.

    Args:
        start_ns: where the first step begins.
        has_optimizer: whether an optimizer exists that holds parameters of the model. May be set later, but
            before the first forward is told; an optimizer's step sets it.
        model: the model's class name, for ``boundary_text``; may be set later.

    """

    def __init__(self, start_ns: int, *, has_optimizer: bool = True, model: str | None = None) -> None:
        self.has_optimizer = has_optimizer
        self.model = model
        self._number = 0
        self._now_ns = start_ns
        self._open = _Open(start_ns)
        self._optimizers: dict[str, None] = {}  # names in the order of their first steps
        self._inside = 0  # optimizers at work
        self._forwards_inside = 0
        self._is_explicit = False
        self._has_forward = False  # ever: a training forward outside optimizers
        self._has_step = False  # ever: an optimizer step
        self._has_call = False  # ever: a forward while there was no optimizer

    @property
    def start_ns(self) -> int:
        """Where the step that has not ended yet began."""
        return self._open.start_ns

    @property
    def pending_end_ns(self) -> int | None:
        """Where the open step ends if the next thing is a training forward."""
        return None if self._is_explicit else self._open.pending_end_ns

    @property
    def pending_evaluation_ns(self) -> int:
        """Time of evaluation in the open step so far."""
        return self._open.evaluation_ns

    @property
    def mode(self) -> Mode | None:
        """What a step is; None while that cannot be known."""
        if self._is_explicit:
            return "explicit"
        if self._has_forward or self._has_step:
            return "training"
        return "inference" if self._has_call else None

    @property
    def lacks_optimizer(self) -> bool:
        """Whether steps are calls of the model although it trains: no optimizer of torch's steps."""
        return self._has_call and self._has_forward and not (self._has_step or self._is_explicit)

    @property
    def boundary_text(self) -> str | None:
        """What ends a step, in words; None while that cannot be known."""
        if self._is_explicit:
            return "run.step()"
        if self._has_step:
            names = " and ".join(self._optimizers)
            return f"optimizer steps of {names}" if names else "optimizer steps"
        if self._has_call:
            return f"calls of {self.model}.forward" if self.model else "calls of the model's forward"
        return None

    def forward(self, time_ns: int, *, trains: bool, evaluates: bool = True) -> Step | None:
        """Before a forward of the tracked model.

        Args:
            trains: gradients are recorded and the model is in training mode.
            evaluates: a forward that does not train is evaluation. False where a model in training mode runs
                without gradients: a generator that makes data for the discriminator, a forward for logging.

        """
        now_ns = self._clock(time_ns)
        if self._inside:  # a closure of LBFGS: the optimizer at work is that of this step
            self._forwards_inside += trains
            return None
        return self._training_forward(now_ns) if trains else self._other_forward(now_ns, evaluates)

    def optimizer_begins(self, optimizer: int) -> None:
        """Before an optimizer's step: forwards from here to ``optimizer_step`` belong to it.

        Args:
            optimizer: its id.

        """
        self._inside += 1

    def optimizer_step(self, time_ns: int, optimizer: int, name: str | None = None) -> Step | None:
        """After an optimizer's step, also one that a gradient scaler skipped.

        Args:
            optimizer: its id.
            name: its class name, for ``boundary_text``.

        """
        now_ns = self._clock(time_ns)
        self._inside = max(0, self._inside - 1)
        self.has_optimizer = self._has_step = True
        if name is not None:
            self._optimizers[name] = None
        step = self._end(self._open.pending_end_ns) if self._repeats(optimizer) else None
        current = self._open
        if current.evaluation is not None:
            if not current.is_begun:  # no forward will tell when it ended: its last one began before that
                current.evaluation_ns += current.evaluation.last_ns - current.evaluation.first_ns
            current.evaluation = None
        current.forwards += self._forwards_inside
        self._forwards_inside = 0
        current.pending_end_ns = now_ns
        current.stepped[optimizer] = current.stepped.get(optimizer, 0) + 1
        return step

    def explicit(self, time_ns: int) -> Step:
        """The user says that a step ends here. From the first time on nothing else ends one."""
        now_ns = self._clock(time_ns)
        self._is_explicit = True
        current = self._open
        is_between = current.pending_end_ns is not None or not current.is_begun
        running, current.evaluation = current.evaluation, None
        if running is not None and is_between and self._trains():
            current.evaluation_ns += now_ns - running.first_ns
            current.evaluation = _Evaluation(now_ns, now_ns)  # it may go on in the next step
        return self._end(now_ns)

    def finish(self, time_ns: int) -> Step | None:
        """The block ends, and with it the step whose end was pending, or the last call of an inference."""
        now_ns = self._clock(time_ns)
        if self._is_explicit:
            return None
        if self._open.pending_end_ns is not None:
            return self._end(self._open.pending_end_ns)
        if self.has_optimizer or not self._open.is_called:
            return None
        self._evaluation_ends(now_ns)
        return self._end(now_ns)

    # Rules --------------------------------------------------------------------------------------

    def _training_forward(self, now_ns: int) -> Step | None:
        self._has_forward = True
        step = None
        if not self._is_explicit:
            if self._open.pending_end_ns is not None:
                step = self._end(self._open.pending_end_ns)
            elif not self.has_optimizer:
                self._has_call = True
                if self._open.is_called:
                    self._evaluation_ends(now_ns)
                    step = self._end(now_ns)
        current = self._open
        if current.is_begun and current.pending_end_ns is None:
            current.evaluation = None  # between the micro-batches of one step: a forward for logging
        self._evaluation_ends(now_ns)
        current.forwards += 1
        current.is_begun = current.is_called = True
        return step

    def _other_forward(self, now_ns: int, evaluates: bool) -> Step | None:
        if not (self._is_explicit or self.has_optimizer or self._has_forward):
            self._has_call = True
            self._open.evaluation = None
            step = self._end(now_ns) if self._open.is_called else None
            self._open.is_called = True
            return step
        if evaluates:
            running = self._open.evaluation
            self._open.evaluation = _Evaluation(running.first_ns if running else now_ns, now_ns)
        return None

    def _repeats(self, optimizer: int) -> bool:
        """Whether the open step was over before this optimizer stepped, though no forward told so."""
        current = self._open
        times = current.stepped.get(optimizer, 0)
        if self._is_explicit or times == 0:
            return False
        return not current.is_begun or times >= MOST_STEPS_OF_ONE_FORWARD

    def _evaluation_ends(self, now_ns: int) -> None:
        if self._open.evaluation is not None:
            self._open.evaluation_ns += now_ns - self._open.evaluation.first_ns
            self._open.evaluation = None

    def _end(self, end_ns: int | None) -> Step:
        assert end_ns is not None
        ended, self._number = self._open, self._number + 1
        self._open = _Open(end_ns, evaluation=ended.evaluation)
        return Step(self._number, ended.start_ns, end_ns, ended.evaluation_ns, ended.forwards)

    def _trains(self) -> bool:
        return self._has_forward or self._has_step

    def _clock(self, time_ns: int) -> int:
        self._now_ns = max(self._now_ns, time_ns)
        return self._now_ns
