"""Our own work on the training's thread: it stops the training, and is no part of its steps."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["OwnWork"]


class OwnWork:
    """When it was done, as far as a step that has not ended may hold it.

    By its times, because a step may be known to be over only when the next one is under way or over, too.
    """

    def __init__(self) -> None:
        self._done: deque[tuple[int, int]] = deque()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Time in here is ours."""
        start_ns = time.time_ns()
        yield
        self._done.append((start_ns, time.time_ns()))

    def within(self, start_ns: int, end_ns: int) -> int:
        """How much of this stretch was ours; Unix epoch."""
        return sum(max(0, min(end, end_ns) - max(start, start_ns)) for start, end in self._done)

    def forget_until(self, time_ns: int) -> None:
        """Nobody will ask about the time before."""
        while self._done and self._done[0][1] <= time_ns:
            self._done.popleft()
