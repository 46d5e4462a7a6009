"""Where in the user's code an op was called, where the trace has stacks or a live run sampled them."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.sampled_places import SampledPlaces
from mfu_profiler.trace.nesting import Nesting
from mfu_profiler.trace.timeline import Intervals, Timeline

__all__ = ["Locations"]

Int64 = npt.NDArray[np.int64]

_FRAME = re.compile(r"\.py\(\d+\): ")
# Frames of libraries say how, not where: the innermost frame outside of them is the user's.
_LIBRARY = re.compile(
    r"(?:^|/)(?:torch|torchvision|functorch|python\d\.\d+|site-packages|dist-packages|accelerate|lightning"
    r"|pytorch_lightning|mfu_profiler/(?:cli|capture(?!/demo)))/|^<|^(?:runpy|threading|contextlib)\.py"
)


class Locations:
    """Looks up source lines for the few ops that a report shows."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._nesting: Nesting | None = None
        self._sampled = SampledPlaces.of(timeline, _user_frame)

    def of_op(self, row: int) -> str | None:
        """The innermost frame around an op outside of libraries, else its module; None without stacks."""
        timeline = self._timeline
        stack = timeline.stacks[int(timeline.ops.stack[row])]
        if stack:
            return _user_frame(_frames(stack))
        return _user_frame(self._enclosing(row)) if len(timeline.python) else None

    def of_ops(self, first: int, rows: Int64) -> str | None:
        """Where the first of some equal ops was called, else where most samples inside any of them were."""
        return self.of_op(first) or self._sampled.of_rows(self._timeline.ops, rows)

    def of_wait(self, table: Intervals, row: int, time_ns: int) -> str | None:
        """The sample nearest to a time, of those inside a call or op that waited; None for none inside."""
        span = int(table.start_ns[row]), int(table.end_ns[row])
        return self._sampled.nearest(int(table.thread[row]), *span, time_ns)

    def of_times(self, spans: Spans, windows: tuple[Int64, Int64]) -> str | None:
        """Where most samples within some times of the windows were; None for none."""
        return self._sampled.within(spans, windows)

    def _enclosing(self, row: int) -> list[str]:
        """Python functions around an op on its thread, innermost first."""
        timeline = self._timeline
        if self._nesting is None:
            self._nesting = Nesting.of(timeline.python)
        thread = timeline.ops.thread[row : row + 1]
        found, has = self._nesting.innermost(thread, timeline.ops.start_ns[row : row + 1])
        frames: list[str] = []
        here, exists = int(found[0]), bool(has[0])
        while exists:
            frames.append(timeline.names[int(timeline.python.name[here])])
            exists = bool(self._nesting.has_parent[here])
            here = int(self._nesting.parent[here])
        return frames


def _frames(stack: bytes) -> list[str]:
    """Frames of a ``Call stack`` argument, innermost first."""
    try:
        text = msgspec.json.decode(stack)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return text.split(";") if isinstance(text, str) else []


def _user_frame(frames: list[str]) -> str | None:
    users = [frame for frame in frames if _FRAME.search(frame) and not _LIBRARY.search(frame)]
    modules = [frame.removeprefix("nn.Module: ") for frame in frames if frame.startswith("nn.Module: ")]
    if users and modules:
        return f"{_short(users[0])} ({modules[0]})"
    if users:
        return _short(users[0])
    return modules[0] if modules else None


def _short(frame: str) -> str:
    """``/home/me/run/train.py(42): step`` -> ``train.py:42 in step``."""
    match = re.match(r"(?:.*/)?([^/]+\.py)\((\d+)\): (.*)", frame)
    return f"{match[1]}:{match[2]} in {match[3]}" if match else frame
