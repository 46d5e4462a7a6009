"""Counting the FLOP of one real step without changing anything about it."""

from __future__ import annotations

from torch import nn

from mfu_profiler.capture.flop.flop_count import FlopCount
from mfu_profiler.capture.flop.op_counter import OpCounter
from mfu_profiler.capture.observe.discover import core_of
from mfu_profiler.capture.torch_private import dynamo_has_compiled, graph_task, number_of_modes, top_mode

__all__ = ["FlopCounter", "dynamo_has_compiled"]

_COMPILED = "Dynamo has compiled code, whose FLOP cannot be seen"


class FlopCounter:
    """Counts the FLOP of what runs between ``start`` and ``stop`` on this thread, and of its backwards.

    Threads that the user's code starts are not seen: a dispatch mode belongs to one thread. Nothing is
    counted where Dynamo has compiled anything, or does so in the step: compiled code runs as ever, but is
    seen only in part.

    Args:
        model: whose modules the count names; torch's wrappers (DDP, ...) are looked through.

    """

    def __init__(self, model: nn.Module | None) -> None:
        self._model = model
        self._mode: OpCounter | None = None
        self._is_stacked = False
        self.because: str | None = None
        """Why there is no count; None where there is one, or may still be."""

    @property
    def is_stacked(self) -> bool:
        """Whether our dispatch mode still lies on a thread's stack, counting or not."""
        return self._is_stacked

    def start(self) -> str | None:
        """Begin to count. Returns why that is not possible, in which case nothing has changed."""
        self.because = self._obstacle()
        if self.because is None:
            self._mode = OpCounter(None if self._model is None else core_of(self._model))
            self._mode.__enter__()  # type: ignore[no-untyped-call]  # torch does not type it
            self._is_stacked = True
        return self.because

    def stop(self) -> FlopCount | None:
        """End counting and take our mode away. None where there is no count; ``because`` says why.

        A mode that the user's code has entered above ours is left alone. Ours then stays too, but does
        nothing any more, and ``stop`` gives None until it is called where ours is on top.
        """
        mode = self._mode
        if mode is None:
            return None
        if mode.is_counting and dynamo_has_compiled():
            mode.failure = _COMPILED
        mode.is_counting = False
        # Inside a backward pass the engine would put the mode back when it goes on.
        if self._is_stacked and top_mode() is mode and graph_task() is None:
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]  # torch does not type it
            self._is_stacked = False
        left = "another dispatch mode was entered in the step and not left" if self._is_stacked else None
        self.because = mode.failure or left
        return mode.result() if self.because is None else None

    def optimizer_begins(self) -> None:
        """FLOP of this thread are the optimizer's, but for those of a closure that it calls."""
        if self._mode is not None and self._mode.is_counting:
            self._mode.begin_optimizer()

    def optimizer_ends(self) -> None:
        """FLOP of this thread are the model's again."""
        if self._mode is not None and self._mode.is_counting:
            self._mode.end_optimizer()

    def _obstacle(self) -> str | None:
        if self._mode is not None:
            return "this counter has been used"
        if dynamo_has_compiled():
            return _COMPILED
        if number_of_modes() > 0:
            return "another dispatch mode is active"
        if graph_task() is not None:
            return "the step begins inside a backward pass"
        if isinstance(self._model, nn.DataParallel) and len(self._model.device_ids) > 1:
            return "nn.DataParallel runs the model in threads of its own, which cannot be seen"
        return None
