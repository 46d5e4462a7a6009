"""Finished columns -> one ``Timeline`` per device of each process, launches joined to activities."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mfu_profiler.trace.columns import ColumnBuilder, RawSignature
from mfu_profiler.trace.events import Metadata, Number
from mfu_profiler.trace.host_calls import (
    host_call_kind,
    is_data_loading,
    is_optimizer_step,
    is_zero_grad,
    step_number,
)
from mfu_profiler.trace.loose import count
from mfu_profiler.trace.nesting import sorted_by_nesting
from mfu_profiler.trace.processes import (
    DeviceRows,
    canonical_threads,
    device_rows,
    host_processes,
    looked_up,
    owners,
)
from mfu_profiler.trace.properties import device_properties, trace_facts, whole_number
from mfu_profiler.trace.read_live import live_facts
from mfu_profiler.trace.timeline import (
    Activities,
    Bool,
    HostCalls,
    HostOps,
    Int32,
    Int64,
    Intervals,
    Timeline,
    TraceFacts,
)

__all__ = ["timelines"]

Columns = dict[str, npt.NDArray[Any]]
Rows = npt.NDArray[np.intp]
Host = tuple[HostOps, Intervals, HostCalls, Intervals]
"""Ops, marks, calls and Python functions of one process."""

_TIMES: dict[str, npt.DTypeLike] = {"name": np.int32, "start": np.int64, "end": np.int64}
_EXTERNAL: dict[str, npt.DTypeLike] = {"external_id": np.int64, "has_external_id": np.bool_}
_CORRELATION: dict[str, npt.DTypeLike] = {"correlation": np.int64, "has_correlation": np.bool_}
_COLUMNS: dict[str, dict[str, npt.DTypeLike]] = {
    "op": {
        **_TIMES,
        **_EXTERNAL,
        "thread": np.int32,
        "signature": np.int32,
        "stack": np.int32,
        "sequence": np.int64,
        "has_sequence": np.bool_,
    },
    "annotation": {**_TIMES, "thread": np.int32},
    "call": {**_TIMES, **_EXTERNAL, **_CORRELATION, "thread": np.int32},
    "python": {**_TIMES, "thread": np.int32},
    "activity": {
        **_TIMES,
        **_EXTERNAL,
        **_CORRELATION,
        "kind": np.int8,
        "stream": np.int32,
        "byte": np.int64,
        "has_byte": np.bool_,
        "is_collective": np.bool_,
    },
}


def timelines(
    builder: ColumnBuilder, metadata: Metadata, path: str, truncated_because: str | None
) -> tuple[Timeline, ...]:
    """All timelines of a trace, ordered by process and device."""
    tables = {
        table: {name: builder.column(table, name, dtype) for name, dtype in columns.items()}
        for table, columns in _COLUMNS.items()
    }
    names = tuple(builder.names)
    _move_marks(tables, names)
    mapping, threads, processes = canonical_threads(list(builder.threads))
    for table in ("op", "annotation", "call", "python"):
        if len(mapping):
            tables[table]["thread"] = mapping[tables[table]["thread"]]
    call_name = tables["call"]["name"]
    tables["call"]["is_copy"] = _by_name(call_name, names, lambda name: host_call_kind(name) == "copy")
    facts = trace_facts(
        builder,
        metadata,
        path=path,
        truncated_because=truncated_because,
        call_names=[names[index] for index in _used(call_name)],
        has_python=len(tables["python"]["name"]) > 0,
    )
    hosts = host_processes(tables, processes)
    groups = device_rows(list(builder.streams), tables["activity"]["stream"])
    group_owners = owners(groups, tables, processes, hosts)
    shared = _SharedParts(builder, metadata, facts, names, threads, is_merged=len(hosts) > 1)
    result = []
    for host in hosts:
        owned = [group for group, owner in zip(groups, group_owners, strict=True) if owner == host]
        has_calls = bool(np.any(processes[tables["call"]["thread"]] == host))
        if owned or has_calls or not groups:  # a process that launched nothing is no rank
            parts = _host_tables(tables, processes, host if len(hosts) > 1 else None)
            result += shared.timelines(parts, tables["activity"], owned)
    return tuple(result)


class _SharedParts:
    """What all timelines of a trace have in common, and how one is made of its rows."""

    def __init__(
        self,
        builder: ColumnBuilder,
        metadata: Metadata,
        facts: TraceFacts,
        names: tuple[str, ...],
        threads: tuple[str, ...],
        *,
        is_merged: bool,
    ) -> None:
        self._facts = facts
        self._names = names
        self._threads = threads
        texts: dict[str, int] = {}
        streams = [texts.setdefault(_stream_text(key[2]), len(texts)) for key in builder.streams]
        self._stream_of_key = np.array(streams, np.int32)
        self._stream_texts = tuple(texts)
        self._signatures = tuple(RawSignature(*key) for key in builder.signatures)
        self._stacks = tuple(builder.stacks)
        self._is_merged = is_merged
        self._properties = metadata.device_properties
        self._distributed = metadata.distributed_info if isinstance(metadata.distributed_info, dict) else {}
        base_ns = count(metadata.base_time_nanoseconds) or 0
        # As with the rank: what one process wrote of itself is not true of the others in a merged file.
        self._live = None if is_merged else live_facts(metadata.live, base_ns)

    def timelines(self, host: Host, activity: Columns, owned: DeviceRows) -> list[Timeline]:
        """One timeline per device of a process; one without a device where it has none."""
        by_device: dict[int | None, list[Rows]] = {}
        for device, rows in owned:
            by_device.setdefault(device, []).append(rows)
        by_device = by_device or {None: [np.zeros(0, np.intp)]}
        is_only = len(by_device) == 1
        return [
            self._timeline(
                host, activity, np.sort(np.concatenate(by_device[device])), device, is_only=is_only
            )
            for device in sorted(by_device, key=lambda index: index or 0)
        ]

    def _timeline(
        self, host: Host, activity: Columns, rows: Rows, device: int | None, *, is_only: bool
    ) -> Timeline:
        ops, marks, calls, python = host
        rows = rows[np.argsort(activity["start"][rows], kind="stable")]
        used, stream = np.unique(self._stream_of_key[activity["stream"][rows]], return_inverse=True)
        call, has_call = _joined(calls, activity["correlation"][rows], activity["has_correlation"][rows])
        activities = Activities(
            name=activity["name"][rows],
            start_ns=activity["start"][rows],
            end_ns=activity["end"][rows],
            kind=activity["kind"][rows],
            stream=stream.astype(np.int32),
            byte=activity["byte"][rows],
            has_byte=activity["has_byte"][rows],
            is_collective=activity["is_collective"][rows],
            call=call,
            has_call=has_call,
            external_id=activity["external_id"][rows],
            has_external_id=activity["has_external_id"][rows],
        )
        return Timeline(
            facts=self._facts,
            # A merged file has one distributedInfo for several ranks: it tells none of them.
            rank=None if self._is_merged else whole_number(self._distributed.get("rank")),
            world_size=whole_number(self._distributed.get("world_size")),
            device_index=device,
            device=device_properties(self._properties, device),
            streams=tuple(self._stream_texts[index] for index in used.tolist()),
            names=self._names,
            threads=self._threads,
            signatures=self._signatures,
            stacks=self._stacks,
            ops=ops,
            marks=marks,
            calls=calls,
            python=python,
            activities=activities,
            live=self._live.of_device(device, is_only=is_only) if self._live is not None else None,
        )


def _move_marks(tables: dict[str, Columns], names: tuple[str, ...]) -> None:
    """Before 2022 step marks, loaders and optimizer steps were operators: make them annotations."""
    op, annotation = tables["op"], tables["annotation"]
    moved = _by_name(op["name"], names, _is_mark)
    if moved.any():
        for column in annotation:
            annotation[column] = np.concatenate([annotation[column], op[column][moved]])
        for column in op:
            op[column] = op[column][~moved]


def _is_mark(name: str) -> bool:
    return (
        step_number(name) is not None
        or is_data_loading(name)
        or is_optimizer_step(name)
        or is_zero_grad(name)
    )


def _by_name(column: Int32, names: tuple[str, ...], value: Callable[[str], bool]) -> Bool:
    """``value(name)`` for each row, asked once per name."""
    table = np.zeros(max(1, len(names)), np.bool_)
    for index in _used(column):
        table[index] = value(names[index])
    return table[column]


def _used(column: Int32) -> list[int]:
    """The name ids that occur."""
    return list(np.flatnonzero(np.bincount(column)).tolist())


def _host_tables(tables: dict[str, Columns], processes: Int32, host: int | None) -> Host:
    """The host side of one process (of all events where it is the only one)."""

    def rows_of(table: str, by_nesting: bool) -> Rows:
        columns = tables[table]
        rows = np.arange(len(columns["name"]))
        if host is not None:
            rows = rows[processes[columns["thread"]] == host]
        thread, start, end = (columns[name][rows] for name in ("thread", "start", "end"))
        order = sorted_by_nesting(thread, start, end) if by_nesting else np.lexsort((-end, start))
        return rows[order]

    def taken(table: str, rows: Rows, columns: dict[str, npt.DTypeLike]) -> Columns:
        renamed = {"start": "start_ns", "end": "end_ns"}
        return {renamed.get(name, name): tables[table][name][rows] for name in columns}

    ops, marks, calls, python = (
        taken(table, rows_of(table, by_nesting), _COLUMNS[table])
        for table, by_nesting in (("op", True), ("annotation", True), ("call", False), ("python", True))
    )
    return HostOps(**ops), Intervals(**marks), HostCalls(**calls), Intervals(**python)


def _joined(calls: HostCalls, correlation: Int64, has_correlation: Bool) -> tuple[Int32, Bool]:
    """The call with each activity's correlation id, and whether there is one."""
    order = np.flatnonzero(calls.has_correlation)
    order = order[np.argsort(calls.correlation[order], kind="stable")]
    place, found = looked_up(calls.correlation[order], correlation, has_correlation)
    if not len(order):
        return np.zeros(len(correlation), np.int32), found
    return np.where(found, order[place], 0).astype(np.int32), found


def _stream_text(stream: Number) -> str:
    return re.sub(r"^stream\s*", "", str(stream))
