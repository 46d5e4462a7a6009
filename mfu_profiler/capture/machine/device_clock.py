"""Step times as the device sees them: an event a step, read when it has passed.

The host runs ahead of the device, so its clock shows when a step was *enqueued*. Recording an event costs
some microseconds and synchronizes nothing; only the end of a block waits for the last one.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any

import torch

__all__ = ["DeviceClock"]

MOST_WAITING = 4096
"""Events that have not passed yet; the device cannot lag by more steps than its launch queue holds."""


class DeviceClock:
    """Times the steps of a run on an accelerator (CUDA, ROCm, XPU).

    An error of the device is the training's to report: here it only means that no more lengths come.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._module: Any = getattr(torch, device.type)
        self._waiting: deque[tuple[int, Any]] = deque()
        self._last: tuple[int, Any] | None = None

    def now(self) -> Any:
        """A mark behind all work that has been enqueued so far; None where none can be set."""
        if self._is_capturing() or len(self._waiting) >= MOST_WAITING:
            return None
        with suppress(RuntimeError):
            event = self._module.Event(enable_timing=True)
            event.record(self._module.current_stream(self._device))
            return event
        return None

    def add(self, step: int, mark: Any) -> None:
        """Take the mark of a step's end; its number."""
        if mark is not None:
            self._waiting.append((step, mark))

    def finished(self, *, waits: bool = False) -> list[tuple[int, int]]:
        """(Step, ns) of the steps that the device has finished since the last call.

        Args:
            waits: for all that are marked, at the end of a block. Otherwise the newest is left for the next
                call, when it is known whether evaluation followed it.

        """
        lengths: list[tuple[int, int]] = []
        if self._is_capturing():  # even asking whether an event has passed would break the user's capture
            return lengths
        with suppress(RuntimeError):
            if waits and self._waiting:
                self._waiting[-1][1].synchronize()
            while len(self._waiting) > (0 if waits else 1) and self._waiting[0][1].query():
                step, event = self._waiting.popleft()
                last, self._last = self._last, (step, event)
                if last is not None and last[0] == step - 1:
                    lengths.append((step, round(last[1].elapsed_time(event) * 1e6)))
        return lengths

    def _is_capturing(self) -> bool:
        """An event recorded while a graph is captured would belong to the graph."""
        asks = getattr(self._module, "is_current_stream_capturing", None)
        return bool(asks()) if asks is not None else False
