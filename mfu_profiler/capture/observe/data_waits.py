"""How long unprofiled steps wait for data, told from the annotation that every DataLoader makes.

The profiler stops the training when it starts, and meanwhile the loader's workers fill their queue: the
profiled steps that follow find batches ready for which all others wait.
"""

from __future__ import annotations

from statistics import fmean
from threading import get_ident
from time import time_ns
from typing import Any

from torch.autograd.profiler import record_function

from mfu_profiler.analysis.step_lengths import pause_limit
from mfu_profiler.capture.observe.patch import Patch, hidden
from mfu_profiler.trace.host_calls import is_data_loading

__all__ = ["DataWaits"]


@hidden
def _is_data(record: record_function) -> bool:
    return is_data_loading(record.name)


class DataWaits:
    """Of the thread that starts it, between ``start`` and ``stop``."""

    def __init__(self) -> None:
        self._thread = 0
        self._patches: list[Patch] = []
        self._open: tuple[object, int] | None = None
        self._waits: list[tuple[int, int]] = []
        self._has_waited = False
        self._by_step: list[tuple[int, int]] = []
        """(Length, wait) of each."""

    @property
    def typical_ns(self) -> int | None:
        """Mean over the steps without a pause; None where no loader was seen."""
        limit = pause_limit([length for length, _ in self._by_step])
        waits = [wait for length, wait in self._by_step if length <= limit]
        return round(fmean(waits)) if self._has_waited and waits else None

    def start(self) -> None:
        """Begin to listen; a second call changes nothing."""
        if not self._patches:
            self._thread = get_ident()
            self._patches = [
                Patch(record_function, "__enter__", self._begins, failed=self._fail, concerns=_is_data),
                Patch(record_function, "__exit__", self._ends, failed=self._fail, concerns=_is_data),
            ]

    def stop(self) -> None:
        """Leave nothing behind; may be called again."""
        for patch in reversed(self._patches):
            patch.undo()
        self._patches.clear()

    def step_ended(self, start_ns: int, end_ns: int) -> None:
        """A step that was only timed is over; its times, Unix epoch."""
        waits = [(max(start, start_ns), min(end, end_ns)) for start, end in self._waits]
        self._by_step.append((end_ns - start_ns, sum(max(0, end - start) for start, end in waits)))
        self._waits = [wait for wait in self._waits if wait[1] > end_ns]

    def _begins(self, record: record_function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        if self._open is None and get_ident() == self._thread:
            self._open = record, time_ns()
        return False

    def _ends(self, record: record_function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        if self._open is not None and self._open[0] is record:
            self._waits.append((self._open[1], time_ns()))
            self._open, self._has_waited = None, True
        return False

    def _fail(self, error: Exception) -> None:
        """The waits are not worth a word; the training goes on."""
        self.stop()
