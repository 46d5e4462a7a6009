"""When and how the FLOP of one step are counted: on a real step, else on a meta copy of the module.

A step is counted for real only where Dynamo has compiled nothing in this process: under a dispatch mode
compiled code runs eagerly, rounds otherwise, and may stay eager for good (pytorch#190286, #140909).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from mfu_profiler.capture.flop.flop_count import FlopCount
from mfu_profiler.capture.flop.flop_counter import FlopCounter, dynamo_has_compiled
from mfu_profiler.capture.flop.forward_calls import ForwardCall, describe_call
from mfu_profiler.capture.flop.shadow import ShadowError, shadow_count
from mfu_profiler.capture.flop.transformer_shape import transformer_shape
from mfu_profiler.capture.profile.recording import a_profiler_records

__all__ = ["Counting"]

MOST_CALLS = 4096
"""Forward calls of one step whose shapes are kept."""

_PROFILED = "another profiler records it, and would show each of its ops twice"
_COMPILED = "compiled code is never counted on a real step, which would run it eagerly"


class Counting:
    """The FLOP of one step of a run, and whether its inputs vary."""

    def __init__(self, model: nn.Module | None) -> None:
        self.model = model
        """The tracked model; may be found later than the run starts."""
        self.count: FlopCount | None = None
        """FLOP of one step; None until counted."""
        self._source = "counted"
        self._because: str | None = None
        self._step: int | None = None
        self._counter: FlopCounter | None = None
        self._calls: list[ForwardCall] = []
        self._whole_calls: tuple[ForwardCall, ...] = ()
        self._varies = False
        self._is_watching_shapes = True

    def begin(self, step: int) -> None:
        """The counted step begins."""
        if dynamo_has_compiled():
            self._because = _COMPILED
            return
        if a_profiler_records():
            self._because = _PROFILED
            return
        counter = FlopCounter(self.model)
        self._because = counter.start()
        if self._because is None:
            self._counter, self._step = counter, step

    def end(self) -> None:
        """The counted step has ended: take the count, or count a meta copy in its place."""
        if self._counter is not None:
            self.count = self._counter.stop()
            self._because = self._counter.because
        if self.count is None:
            self.count_shadow()

    def end_early(self) -> None:
        """The counted step is over though the next one has not begun: what runs until then is not counted."""
        if self._counter is not None and self.is_under_way:
            self.count = self._counter.stop()
            self._because, self._counter = self._counter.because, None

    def count_shadow(self) -> None:
        """Count the last whole step's calls on a meta copy; the reason stays where that fails."""
        if self.count is not None or self.model is None or not self._whole_calls:
            return
        self._step = None
        try:
            self.count = shadow_count(self.model, self._whole_calls)
            self._source = "shadow"
        except ShadowError as error:
            self._because = (
                f"{self._because}; a meta copy cannot be counted: {error}" if self._because else str(error)
            )

    @property
    def is_under_way(self) -> bool:
        """Whether our dispatch mode is still there."""
        return self._counter is not None and self._counter.is_stacked

    def leave(self) -> None:
        """Take our dispatch mode away if it is still there."""
        if self._counter is not None and self.is_under_way:
            self._counter.stop()

    def on_forward(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, trains: bool) -> None:
        """Note the shapes of a forward call of the step under way."""
        if self._is_watching_shapes and len(self._calls) < MOST_CALLS:
            self._calls.append(describe_call(args, kwargs, trains))

    def on_optimizer_begin(self) -> None:
        """FLOP from here on are the optimizer's."""
        if self._counter is not None:
            self._counter.optimizer_begins()

    def on_optimizer_end(self) -> None:
        """FLOP from here on are the model's again."""
        if self._counter is not None:
            self._counter.optimizer_ends()

    def step_ended(self) -> None:
        """Keep the calls of a step that is over, and compare them with those of the step before."""
        if not self._is_watching_shapes:
            return
        calls = tuple(self._calls)
        self._calls.clear()
        if self._whole_calls and calls:
            self._varies |= calls != self._whole_calls
        self._whole_calls = calls or self._whole_calls

    def stop_watching_shapes(self) -> None:
        """Later steps are not looked at any more: the report is on its way."""
        self._is_watching_shapes = False
        self._calls.clear()

    def forget_model(self) -> None:
        """The block is over: who keeps its run does not keep the model in the device's memory."""
        self.model = self._counter = None

    def to_json(self) -> dict[str, Any]:
        """The member ``flop`` of the live facts."""
        transformer = transformer_shape(self.model, self._whole_calls) if self.model is not None else None
        facts: dict[str, Any] = {"because": self._because, "varies": self._varies, "transformer": transformer}
        if self.count is not None:
            facts |= {"source": self._source, "step": self._step, **self.count.to_json()}
        return facts
