"""Which interval encloses what, on threads where intervals nest properly.

::

    thread   ├──────────── a ────────────┤
               ├─── b ───┤   ├── c ──┤
                 ▲ t1          ▲ t2      ▲ t3         innermost: t1 -> b, t2 -> c, t3 -> a

Everything is vectorised: a parent is found by jumping over whole families of earlier intervals at a time,
so the number of passes grows with the logarithm of their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mfu_profiler.trace.timeline import Bool, Int32, Int64, Intervals

__all__ = ["Nesting", "sorted_by_nesting"]


def sorted_by_nesting(
    thread: npt.NDArray[Any], start_ns: npt.NDArray[Any], end_ns: npt.NDArray[Any]
) -> npt.NDArray[np.intp]:
    """The order thread, start, longest first: every interval comes after those that enclose it."""
    return np.lexsort((-end_ns, start_ns, thread))


@dataclass(frozen=True, slots=True)
class Nesting:
    """The parent of each interval of a table in nesting order."""

    table: Intervals
    parent: Int64
    has_parent: Bool

    @classmethod
    def of(cls, table: Intervals) -> Nesting:
        """Args: table: in the order of ``sorted_by_nesting``."""
        count = len(table)
        parent = np.arange(-1, count - 1, dtype=np.int64)
        open_rows = np.arange(count)
        while len(open_rows):
            above = parent[open_rows]
            inside = above >= 0
            inside[inside] &= table.thread[above[inside]] == table.thread[open_rows[inside]]
            parent[open_rows[~inside]] = -1
            open_rows, above = open_rows[inside], above[inside]
            missed = table.end_ns[above] < table.end_ns[open_rows]
            open_rows, above = open_rows[missed], above[missed]
            parent[open_rows] = parent[above]
        return cls(table, np.maximum(parent, 0), parent >= 0)

    def innermost(self, thread: Int32, time_ns: Int64, among: Bool | None = None) -> tuple[Int64, Bool]:
        """The innermost interval on each thread that holds each time.

        Args:
            thread: thread ids, shape ``(n,)``.
            time_ns: times, shape ``(n,)``; an interval holds its start and its end.
            among: mask over the table's rows; rows outside it are passed over.

        Returns:
            Rows of the table and the mask of those found, shape ``(n,)`` each.

        """
        if not len(self.table):
            return np.zeros(len(time_ns), np.int64), np.zeros(len(time_ns), np.bool_)
        row = self._last_started(thread, time_ns)
        # Where an interval does not hold the time, or is passed over, ask its parent.
        asking = np.flatnonzero(row >= 0)
        while len(asking):
            here = row[asking]
            wrong = self.table.end_ns[here] < time_ns[asking]
            if among is not None:
                wrong |= ~among[here]
            asking, here = asking[wrong], here[wrong]
            row[asking] = np.where(self.has_parent[here], self.parent[here], -1)
            asking = asking[self.has_parent[here]]
        return np.maximum(row, 0), row >= 0

    def parent_among(self, rows: Int64, among: Bool) -> tuple[Int64, Bool]:
        """The nearest ancestor of each row that is in the mask; rows themselves do not count."""
        found = np.where(self.has_parent[rows], self.parent[rows], -1)
        asking = np.flatnonzero(found >= 0)
        while len(asking):
            here = found[asking]
            wrong = ~among[here]
            asking, here = asking[wrong], here[wrong]
            found[asking] = np.where(self.has_parent[here], self.parent[here], -1)
            asking = asking[self.has_parent[here]]
        return np.maximum(found, 0), found >= 0

    def _last_started(self, thread: Int32, time_ns: Int64) -> Int64:
        """The last row on the thread that starts at or before the time; -1 (internal) for none."""
        row = np.full(len(time_ns), -1, np.int64)
        if not len(thread):
            return row
        by_thread = np.argsort(thread, kind="stable")
        asked_threads, first_asked = np.unique(thread[by_thread], return_index=True)
        first = np.searchsorted(self.table.thread, asked_threads, side="left")
        end = np.searchsorted(self.table.thread, asked_threads, side="right")
        for low, high, asked in zip(first, end, np.split(by_thread, first_asked[1:]), strict=True):
            if low < high:
                place = np.searchsorted(self.table.start_ns[low:high], time_ns[asked], side="right")
                row[asked] = np.where(place > 0, low + place - 1, -1)
        return row
