"""Where in the user's code a live run was, by samples of its launching thread's Python stack.

::

    interval         ├──────────── op, call or wait ────────────┤
    samples     ^        ^             ^             ^               ^
                no       at train.py:42 in step      ...             no

A sample says where the thread was at its time and nothing of any other: one outside of an interval never
names it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.trace.live import LiveStacks
from mfu_profiler.trace.timeline import Intervals, Timeline

__all__ = ["SampledPlaces"]

_GENERATED = re.compile(r"/torchinductor_[^/]+/|/[a-z2-7]{2}/c[a-z2-7]{50,}\.py\(")
"""Files that torch.compile wrote (torch/_inductor/codecache.py): nobody's line to look at."""
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SampledPlaces:
    """The samples of one timeline, with the place of each stack."""

    time_ns: Int64
    """Ascending; only samples whose stack has a frame of the user."""
    place: tuple[str, ...]
    """``train.py:42 in step``, of each sample."""
    thread: int | None
    """Index into ``Timeline.threads``; None where no event of the trace is on the sampled thread."""

    @classmethod
    def of(cls, timeline: Timeline, user_frame: Callable[[list[str]], str | None]) -> SampledPlaces:
        """Args: user_frame: the place that frames, innermost first, name; None for none."""
        stacks = timeline.live.stacks if timeline.live is not None else None
        if stacks is None:
            return cls(np.zeros(0, np.int64), (), None)
        used = np.unique(stacks.stack).tolist()
        written = [not _GENERATED.search(frame) for frame in stacks.frames]
        places = {
            row: user_frame([stacks.frames[frame] for frame in stacks.stacks[row] if written[frame]])
            for row in used
        }
        named = [places[row] for row in stacks.stack.tolist()]
        has = np.array([place is not None for place in named], np.bool_)
        return cls(stacks.time_ns[has], tuple(place for place in named if place), _thread(timeline, stacks))

    def __len__(self) -> int:
        return len(self.time_ns)

    def nearest(self, thread: int, start_ns: int, end_ns: int, time_ns: int) -> str | None:
        """The place of the sample nearest to a time, of those within an interval on a thread."""
        low, high = (int(np.searchsorted(self.time_ns, edge)) for edge in (start_ns, end_ns + 1))
        if thread != self.thread or low == high:
            return None
        nearest = int(np.argmin(np.abs(self.time_ns[low:high] - time_ns)))
        return self.place[low + nearest]

    def of_rows(self, table: Intervals, rows: Int64) -> str | None:
        """The place of most samples that fall into some rows of a host table, on the sampled thread."""
        if not len(self) or self.thread is None:
            return None
        rows = rows[table.thread[rows] == self.thread]
        return self._most(Spans.of(table.start_ns[rows], table.end_ns[rows]))

    def within(self, spans: Spans, windows: tuple[Int64, Int64]) -> str | None:
        """The place of most samples that fall into a set of times, within windows."""
        return self._most(spans & Spans.of(*windows)) if len(self) else None

    def _most(self, spans: Spans) -> str | None:
        found = Counter(self.place[row] for row in np.flatnonzero(spans.holds(self.time_ns)).tolist())
        return found.most_common(1)[0][0] if found else None


def _thread(timeline: Timeline, stacks: LiveStacks) -> int | None:
    return next(
        (row for row, text in enumerate(timeline.threads) if text.rpartition("/")[2] == stacks.thread), None
    )
