"""A trace as a struct of columns: what one device of one process did, and its host.

Columns of a table are equally long numpy arrays, read-only by convention. Times are int64 ns on one
clock. Names are ids into ``Timeline.names``. A ``has_x`` mask stands beside a column that may lack
values; row 0 of ``signatures`` and ``stacks`` means "none".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mfu_profiler.trace.columns import RawSignature
from mfu_profiler.trace.live import LiveFacts

__all__ = [
    "KERNEL",
    "MEMCPY",
    "MEMSET",
    "Activities",
    "DeviceProperties",
    "HostCalls",
    "HostOps",
    "Intervals",
    "Timeline",
    "TraceFacts",
]

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Int8 = npt.NDArray[np.int8]
Bool = npt.NDArray[np.bool_]

KERNEL, MEMCPY, MEMSET = 0, 1, 2
"""Values of ``Activities.kind``."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Named stretches of time on host threads; base of the other host tables."""

    name: Int32
    start_ns: Int64
    end_ns: Int64
    thread: Int32

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True, slots=True)
class HostOps(Intervals):
    """Operators (``cpu_op``), sorted by thread, start, and longest first: parents before children."""

    signature: Int32
    """Row of ``Timeline.signatures``."""
    stack: Int32
    """Row of ``Timeline.stacks``."""
    sequence: Int64
    """Autograd sequence number: a forward op and the backward of it share one."""
    has_sequence: Bool
    external_id: Int64
    has_external_id: Bool


@dataclass(frozen=True, slots=True)
class HostCalls(Intervals):
    """Runtime and driver calls (``cudaLaunchKernel``, ...), sorted by start."""

    correlation: Int64
    has_correlation: Bool
    external_id: Int64
    has_external_id: Bool


@dataclass(frozen=True, slots=True)
class Activities:
    """What ran on the device, sorted by start."""

    name: Int32
    start_ns: Int64
    end_ns: Int64
    kind: Int8
    """``KERNEL``, ``MEMCPY`` or ``MEMSET``."""
    stream: Int32
    """Dense index per stream of this device."""
    byte: Int64
    has_byte: Bool
    is_collective: Bool
    """The event itself names a collective."""
    call: Int32
    """Row of ``Timeline.calls`` that launched it."""
    has_call: Bool
    external_id: Int64
    has_external_id: Bool

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True, slots=True)
class DeviceProperties:
    """One entry of the trace's ``deviceProperties``."""

    name: str | None
    sm_count: int | None
    memory_byte: int | None
    compute_capability: str | None
    """``major.minor``; ROCm writes gfx942 as 9.4."""


@dataclass(frozen=True, slots=True)
class TraceFacts:
    """What holds for the whole trace."""

    path: str
    event_count: int
    truncated_because: str | None
    dropped: dict[str, int]
    """Events left out, by reason."""
    categories: dict[str, int]
    """All events, by category or phase."""
    is_rocm: bool
    torch_version: str | None
    recorded_shapes: bool
    recorded_stacks: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """One device of one process (or a process without a device), and the host side of it."""

    facts: TraceFacts
    rank: int | None
    world_size: int | None
    device_index: int | None
    """None where nothing ran on a device."""
    device: DeviceProperties | None
    streams: tuple[str, ...]
    """The driver's stream numbers, by dense index."""
    names: tuple[str, ...]
    threads: tuple[str, ...]
    """``pid/tid`` by id, for display."""
    signatures: tuple[RawSignature, ...]
    stacks: tuple[bytes, ...]
    ops: HostOps
    marks: Intervals
    """User annotations: step marks, loaders, optimizer steps, collectives, the user's own."""
    calls: HostCalls
    python: Intervals
    """Python functions, where stacks were recorded; sorted like ops."""
    activities: Activities
    live: LiveFacts | None = None
    """What ``track`` wrote beside the events; None where something else recorded the trace."""

    @property
    def start_ns(self) -> int:
        """Start of the first event of any table."""
        starts = [table.start_ns for table in self._tables() if len(table.start_ns)]
        return min((int(start.min()) for start in starts), default=0)

    @property
    def end_ns(self) -> int:
        """End of the last event of any table."""
        ends = [table.end_ns for table in self._tables() if len(table.end_ns)]
        return max((int(end.max()) for end in ends), default=0)

    def by_name(self, column: Int32, value: Callable[[str], Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """``value(name)`` for each row of a name column, asked once per name."""
        table = np.zeros(max(1, len(self.names)), dtype)
        for index in np.flatnonzero(np.bincount(column, minlength=1)).tolist():
            table[index] = value(self.names[index])
        return table[column]

    def _tables(self) -> tuple[Intervals | Activities, ...]:
        return self.ops, self.marks, self.calls, self.python, self.activities
