"""The interval algebra: sets of times as sorted, disjoint, half-open intervals, in int64 ns.

::

    a        ├──────┤      ├────┤
    b             ├────┤              a & b, a | b, a - b;  a.before(t): how much of a lies before t
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Spans"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Spans:
    """Half-open intervals ``[start_ns, end_ns)``: sorted, none empty, none touching another."""

    start_ns: Int64
    end_ns: Int64

    @classmethod
    def of(cls, start_ns: Int64, end_ns: Int64) -> Spans:
        """The union of any intervals; empty and reversed ones count as nothing."""
        real = end_ns > start_ns
        start, end = start_ns[real], end_ns[real]
        if not len(start):
            return cls.nothing()
        order = np.argsort(start, kind="stable")
        start, reach = start[order], np.maximum.accumulate(end[order])
        begins = np.concatenate([[True], start[1:] > reach[:-1]])
        ends = np.concatenate([begins[1:], [True]])
        return cls(start[begins], reach[ends])

    @classmethod
    def nothing(cls) -> Spans:
        """The empty set."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))

    @classmethod
    def one(cls, start_ns: int, end_ns: int) -> Spans:
        """A single interval."""
        return cls.of(np.array([start_ns], np.int64), np.array([end_ns], np.int64))

    def __len__(self) -> int:
        return len(self.start_ns)

    def __or__(self, other: Spans) -> Spans:
        return Spans.of(
            np.concatenate([self.start_ns, other.start_ns]), np.concatenate([self.end_ns, other.end_ns])
        )

    def __and__(self, other: Spans) -> Spans:
        return self._where_level(other, 3)

    def __sub__(self, other: Spans) -> Spans:
        return self._where_level(other, 1)

    @property
    def total_ns(self) -> int:
        """Summed length."""
        return int(np.sum(self.end_ns - self.start_ns))

    def before(self, time_ns: Int64) -> Int64:
        """How much of the set lies before each time, shape as ``time_ns``."""
        if not len(self):
            return np.zeros(len(time_ns), np.int64)
        lengths = np.concatenate([[0], np.cumsum(self.end_ns - self.start_ns)])
        index = np.searchsorted(self.start_ns, time_ns, side="right")
        last = np.maximum(index - 1, 0)
        beyond = np.where(index > 0, np.maximum(self.end_ns[last] - time_ns, 0), 0)
        return lengths[index] - beyond

    def within(self, start_ns: Int64, end_ns: Int64) -> Int64:
        """How much of the set lies within each window ``[start_ns, end_ns)``."""
        return self.before(end_ns) - self.before(start_ns)

    def holds(self, time_ns: Int64) -> Bool:
        """Whether each time lies in the set."""
        if not len(self):
            return np.zeros(len(time_ns), np.bool_)
        index = np.searchsorted(self.start_ns, time_ns, side="right") - 1
        return (index >= 0) & (time_ns < self.end_ns[np.maximum(index, 0)])

    def _where_level(self, other: Spans, level: int) -> Spans:
        """Where 1 for this set plus 2 for the other makes ``level``."""
        times = np.concatenate([self.start_ns, self.end_ns, other.start_ns, other.end_ns])
        steps = np.repeat([1, -1, 2, -2], [len(self), len(self), len(other), len(other)])
        order = np.argsort(times, kind="stable")
        times, heights = times[order], np.cumsum(steps[order])
        chosen = np.flatnonzero(heights[:-1] == level) if len(times) else np.zeros(0, np.intp)
        return Spans.of(times[chosen], times[chosen + 1])
