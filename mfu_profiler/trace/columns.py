"""Events -> columns: the tables of one trace while it is being read.

Per block one list comprehension makes each column; names, threads, shapes and stacks are interned.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from mfu_profiler.trace.events import Event, ExactEvent, Number
from mfu_profiler.trace.stamps import nanoseconds, nanoseconds_of_text

__all__ = ["TABLE_OF_CATEGORY", "ColumnBuilder", "Interner", "RawSignature"]

Column = npt.NDArray[Any]
AnyEvents = Sequence[Event] | Sequence[ExactEvent]
Key = TypeVar("Key", bound=Hashable)

TABLE_OF_CATEGORY = {
    # 2021 and before (Kineto's first JSON logger)
    "Operator": "op",
    "Kernel": "kernel",
    "Memcpy": "memcpy",
    "Memset": "memset",
    "Runtime": "call",
    # since then: libkineto's ActivityType.cpp
    "cpu_op": "op",
    "user_annotation": "annotation",
    "kernel": "kernel",
    "gpu_memcpy": "memcpy",
    "gpu_memset": "memset",
    "cuda_runtime": "call",
    "cuda_driver": "call",
    "xpu_runtime": "call",
    "xpu_driver": "call",
    "privateuse1_runtime": "call",
    "privateuse1_driver": "call",
    "python_function": "python",
}
"""Which table an event's category belongs to. Others are counted and left out: they repeat what
another event says (``ac2g``, ``gpu_user_annotation``) or are no work (``overhead``, ``cuda_sync``).
"""

DAY_NS = 86_400 * 10**9
"""A longer event is no event: ROCm's duration overflows, for one (ROCm/roctracer reports 1.8e16 µs)."""


class Interner(dict[Key, int], Generic[Key]):
    """Hashable -> dense id, in order of first appearance."""

    def __missing__(self, key: Key) -> int:
        self[key] = index = len(self)
        return index


@dataclass(frozen=True, slots=True)
class RawSignature:
    """What an op event says about its arguments, as JSON text; empty where it says nothing."""

    name: int
    dims: bytes
    types: bytes
    concrete: bytes


class ColumnBuilder:
    """Collects blocks of events into columns.

    Args:
        keeps_concrete: tells by op name whether its ``Concrete Inputs`` are wanted (they make most
            ops unique, so they are kept only where a formula reads them).

    """

    def __init__(self, keeps_concrete: Callable[[str], bool]) -> None:
        self.names: Interner[str] = Interner()
        self.threads: Interner[tuple[Number, Number]] = Interner()
        self.streams: Interner[tuple[Number, Number, Number]] = Interner()
        self.signatures: Interner[tuple[int, bytes, bytes, bytes]] = Interner()
        self.stacks: Interner[bytes] = Interner()
        self.events_by_category: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self._keeps_concrete = keeps_concrete
        self._wants_concrete: list[bool] = []  # by name id
        self._parts: dict[str, dict[str, list[Column]]] = defaultdict(lambda: defaultdict(list))
        # Row 0 of these tables is "none".
        self.signatures[(-1, b"", b"", b"")]
        self.stacks[b""]

    @property
    def holds_profiler_events(self) -> bool:
        """Whether any event is of a category that the profiler writes."""
        return any(category in TABLE_OF_CATEGORY for category in self.events_by_category)

    def add(self, events: AnyEvents) -> None:
        """Append one block."""
        by_category: dict[str | None, list[Any]] = defaultdict(list)
        by_phase: dict[str | None, int] = defaultdict(int)
        for event in events:
            if event.ph == "X":
                by_category[event.cat].append(event)
            else:
                by_phase[event.ph] += 1
        for phase, count in by_phase.items():
            self.events_by_category[str(phase)] += count
        for category, group in by_category.items():
            self.events_by_category[str(category)] += len(group)
            table = TABLE_OF_CATEGORY.get(category or "")
            if table is not None:
                self._add_group(table, group)

    def column(self, table: str, name: str, dtype: npt.DTypeLike) -> Column:
        """A finished column; empty where the trace has no such event."""
        parts = self._parts[table].pop(name, [])
        return np.concatenate(parts).astype(dtype, copy=False) if parts else np.zeros(0, dtype)

    def _add_group(self, table: str, group: list[Any]) -> None:
        group, start, duration = self._timed(group)
        if not group:
            return
        parts = self._parts["activity" if table in ("kernel", "memcpy", "memset") else table]
        names = self.names
        name_ids = [names[event.name] for event in group]
        parts["name"].append(np.array(name_ids, np.int32))
        parts["start"].append(start)
        parts["end"].append(start + duration)
        if table in ("kernel", "memcpy", "memset"):
            self._add_activities(parts, table, group)
        else:
            threads = self.threads
            parts["thread"].append(np.array([threads[event.pid, event.tid] for event in group], np.int32))
            if table == "op":
                self._add_ops(parts, group, name_ids)
            elif table == "call":
                _append_numbers(parts, "correlation", [event.args.correlation for event in group])
                self._add_external_ids(parts, group)

    def _timed(self, group: list[Any]) -> tuple[list[Any], Column, Column]:
        """The events that have a usable name, start and duration, and those two in ns."""
        convert = nanoseconds if isinstance(group[0], Event) else nanoseconds_of_text
        start, has_start = convert([event.ts for event in group])
        duration, has_duration = nanoseconds([event.dur for event in group])
        usable = has_start & has_duration & (duration >= 0) & (duration < DAY_NS)
        usable &= np.array([event.name is not None for event in group], np.bool_)
        if not usable.all():
            self.dropped["negative duration"] += int(np.count_nonzero(has_duration & (duration < 0)))
            self.dropped["impossible duration"] += int(np.count_nonzero(duration >= DAY_NS))
            self.dropped["without start, duration or name"] += int(
                np.count_nonzero(~usable & ~((duration < 0) | (duration >= DAY_NS)))
            )
            group = [event for event, keep in zip(group, usable.tolist(), strict=True) if keep]
            start, duration = start[usable], duration[usable]
        return group, start, duration

    def _add_ops(self, parts: dict[str, list[Column]], group: list[Any], name_ids: list[int]) -> None:
        signatures, stacks = self.signatures, self.stacks
        wanted = self._wants_concrete
        wanted += [self._keeps_concrete(name) for name in islice(self.names, len(wanted), None)]
        rows = []
        for event, name in zip(group, name_ids, strict=True):
            arguments = event.args
            dims = bytes(arguments.dims) or bytes(arguments.dims_2020)
            if dims:
                concrete = bytes(arguments.concrete) if wanted[name] else b""
                rows.append(signatures[name, dims, bytes(arguments.types), concrete])
            else:
                rows.append(0)
        parts["signature"].append(np.array(rows, np.int32))
        parts["stack"].append(np.array([stacks[bytes(event.args.stack)] for event in group], np.int32))
        _append_numbers(parts, "sequence", [event.args.sequence for event in group])
        self._add_external_ids(parts, group)

    def _add_activities(self, parts: dict[str, list[Column]], table: str, group: list[Any]) -> None:
        streams = self.streams
        parts["kind"].append(np.full(len(group), ("kernel", "memcpy", "memset").index(table), np.int8))
        parts["stream"].append(np.array([streams[e.pid, e.args.device, _stream(e)] for e in group], np.int32))
        parts["is_collective"].append(
            np.array([len(bytes(event.args.collective)) > 0 for event in group], np.bool_)
        )
        _append_numbers(parts, "correlation", [event.args.correlation for event in group])
        _append_numbers(parts, "byte", [event.args.byte for event in group])
        self._add_external_ids(parts, group)

    def _add_external_ids(self, parts: dict[str, list[Column]], group: list[Any]) -> None:
        values = [
            event.args.external_id if event.args.external_id is not None else event.args.external_id_2020
            for event in group
        ]
        _append_numbers(parts, "external_id", values)


def _stream(event: Any) -> Number:
    """The stream number; the 2020 format has it in the thread id as well (``stream 7``)."""
    return event.args.stream if event.args.stream is not None else event.tid  # type: ignore[no-any-return]


def _append_numbers(parts: dict[str, list[Column]], name: str, values: list[Number]) -> None:
    """Append a whole-number column and the mask of the rows that have a number."""
    try:
        numbers = np.array(values, dtype=np.int64)
        has = np.ones(len(values), np.bool_)
    except (TypeError, ValueError, OverflowError):
        numbers, has = _sparse_numbers(values)
    parts[name].append(numbers)
    parts[f"has_{name}"].append(has)


def _sparse_numbers(values: list[Number]) -> tuple[Column, Column]:
    """The same where some rows have none, or are no int64."""
    try:
        floats = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        floats = np.full(1, np.inf)
    has = ~np.isnan(floats)
    if np.any(np.abs(floats[has]) >= 2**53):
        whole = [_whole(value) for value in values]
        has = np.array([value is not None for value in whole], np.bool_)
        return np.array([value or 0 for value in whole], dtype=np.int64), has
    return np.where(has, floats, 0.0).astype(np.int64), has


def _whole(value: Number) -> int | None:
    """An id as int64. Larger ids wrap around, the same everywhere, so they still join."""
    try:
        number = int(value) if value is not None else None
    except (ValueError, OverflowError):
        return None
    return None if number is None else (number + 2**63) % 2**64 - 2**63
