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

from mfu_profiler.trace.events import NOTHING, Event, ExactEvent, Number
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

_KINDS = {"kernel": 0, "memcpy": 1, "memset": 2}

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
        """Append events of one category. Each column passes over them once, while they are in the cache."""
        group, start, duration = self._timed(group)
        if not group:
            return
        kind = _KINDS.get(table)
        parts = self._parts[table if kind is None else "activity"]
        names = self.names
        name_ids = [names[event.name] for event in group]
        parts["name"].append(np.array(name_ids, np.int32))
        parts["start"].append(start)
        parts["end"].append(start + duration)
        if kind is None:
            threads = self.threads
            parts["thread"].append(np.array([threads[event.pid, event.tid] for event in group], np.int32))
        if table in ("annotation", "python"):
            return
        arguments = [event.args for event in group]
        if table == "op":
            self._add_ops(parts, arguments, name_ids)
        else:
            _append_numbers(parts, "correlation", [one.correlation for one in arguments])
        if kind is not None:
            parts["kind"].append(np.full(len(group), kind, np.int8))
            self._add_activities(parts, arguments, group)
        external_ids = [
            one.external_id_2020 if one.external_id is None else one.external_id for one in arguments
        ]
        _append_numbers(parts, "external_id", external_ids)

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

    def _add_ops(self, parts: dict[str, list[Column]], arguments: list[Any], name_ids: list[int]) -> None:
        signatures, stacks = self.signatures, self.stacks
        wanted = self._wants_concrete
        wanted += [self._keeps_concrete(name) for name in islice(self.names, len(wanted), None)]
        rows = []
        for one, name in zip(arguments, name_ids, strict=True):
            dims = one.dims_2020 if one.dims is NOTHING else one.dims
            if dims is NOTHING:
                rows.append(0)
            else:
                concrete = bytes(one.concrete) if wanted[name] else b""
                rows.append(signatures[name, bytes(dims), bytes(one.types), concrete])
        parts["signature"].append(np.array(rows, np.int32))
        stack_ids = [0 if one.stack is NOTHING else stacks[bytes(one.stack)] for one in arguments]
        parts["stack"].append(np.array(stack_ids, np.int32))
        _append_numbers(parts, "sequence", [one.sequence for one in arguments])

    def _add_activities(self, parts: dict[str, list[Column]], arguments: list[Any], group: list[Any]) -> None:
        streams = self.streams
        stream_ids = [
            # The 2020 format has the stream number in the thread id as well ("stream 7").
            streams[event.pid, one.device, event.tid if one.stream is None else one.stream]
            for event, one in zip(group, arguments, strict=True)
        ]
        parts["stream"].append(np.array(stream_ids, np.int32))
        is_collective = [one.collective is not NOTHING for one in arguments]
        parts["is_collective"].append(np.array(is_collective, np.bool_))
        _append_numbers(parts, "byte", [one.byte for one in arguments])


def _append_numbers(parts: dict[str, list[Column]], name: str, values: list[Number]) -> None:
    """Append a whole-number column and the mask of the rows that have a number."""
    has = np.ones(len(values), np.bool_)
    numbers = np.zeros(len(values), np.int64)
    if None in values:
        has = np.array([value is not None for value in values], np.bool_)
        values = [value for value in values if value is not None]
    numbers[has], has[has] = _whole_numbers(values)
    parts[name].append(numbers)
    parts[f"has_{name}"].append(has)


def _whole_numbers(values: list[Number]) -> tuple[Column, Column]:
    """int64 of ids, and the mask of those that are whole numbers at all."""
    try:
        return np.array(values, dtype=np.int64), np.ones(len(values), np.bool_)
    except (TypeError, ValueError, OverflowError):
        whole = [_whole(value) for value in values]
        is_whole = np.array([value is not None for value in whole], np.bool_)
        return np.array([value or 0 for value in whole], dtype=np.int64), is_whole


def _whole(value: Number) -> int | None:
    """An id as int64. Larger ids wrap around, the same everywhere, so they still join."""
    try:
        number = int(value) if value is not None else None
    except (ValueError, OverflowError):
        return None
    return None if number is None else (number + 2**63) % 2**64 - 2**63
