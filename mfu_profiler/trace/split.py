"""Finished columns -> one ``Timeline`` per device of each process, launches joined to activities."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from mfu_profiler.trace.columns import ColumnBuilder, RawSignature
from mfu_profiler.trace.events import Metadata, Number
from mfu_profiler.trace.host_calls import (
    is_data_loading,
    is_optimizer_step,
    is_zero_grad,
    step_number,
)
from mfu_profiler.trace.nesting import sorted_by_nesting
from mfu_profiler.trace.timeline import (
    Activities,
    Bool,
    DeviceProperties,
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
    threads, processes = _canonical_threads(builder, tables)
    facts = _facts(builder, metadata, path, truncated_because, names, tables)
    hosts = np.unique(processes[tables["op"]["thread"]]).tolist()
    hosts += [pid for pid in np.unique(processes[tables["call"]["thread"]]).tolist() if pid not in hosts]
    hosts = sorted(hosts) or [int(processes[0])] if len(processes) else [0]
    groups = _device_groups(builder, tables["activity"])
    owners = _owners(groups, tables, processes, hosts)
    shared = _SharedParts(builder, metadata, facts, names, threads)
    result = []
    for host in hosts:
        host_tables = _host_tables(tables, processes, host if len(hosts) > 1 else None)
        owned = [group for group, owner in zip(groups, owners, strict=True) if owner == host]
        by_device: dict[int | None, list[npt.NDArray[np.intp]]] = {}
        for device, rows in owned:
            by_device.setdefault(device, []).append(rows)
        for device in sorted(by_device, key=lambda index: -1 if index is None else index):
            rows = np.sort(np.concatenate(by_device[device]))
            result.append(shared.timeline(host_tables, tables["activity"], rows, device, len(hosts) > 1))
        if not owned:
            nothing = np.zeros(0, np.intp)
            result.append(shared.timeline(host_tables, tables["activity"], nothing, None, len(hosts) > 1))
    with_device = [timeline for timeline in result if timeline.device_index is not None]
    return tuple(with_device or result)


class _SharedParts:
    """What all timelines of a trace have in common, and how one is made of its rows."""

    def __init__(
        self,
        builder: ColumnBuilder,
        metadata: Metadata,
        facts: TraceFacts,
        names: tuple[str, ...],
        threads: tuple[str, ...],
    ) -> None:
        self._facts = facts
        self._names = names
        self._threads = threads
        self._streams = tuple(builder.streams)
        self._signatures = tuple(RawSignature(*key) for key in builder.signatures)
        self._stacks = tuple(builder.stacks)
        self._properties = metadata.device_properties
        self._distributed = metadata.distributed_info if isinstance(metadata.distributed_info, dict) else {}

    def timeline(
        self,
        host: tuple[HostOps, Intervals, HostCalls, Intervals],
        activity: Columns,
        rows: npt.NDArray[np.intp],
        device: int | None,
        is_merged: bool,
    ) -> Timeline:
        ops, marks, calls, python = host
        rows = rows[np.argsort(activity["start"][rows], kind="stable")]
        used, stream = np.unique(activity["stream"][rows], return_inverse=True)
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
            rank=None if is_merged else _whole(self._distributed.get("rank")),
            world_size=_whole(self._distributed.get("world_size")),
            device_index=device,
            device=_device_properties(self._properties, device),
            streams=tuple(_stream_text(self._streams[index][2]) for index in used.tolist()),
            names=self._names,
            threads=self._threads,
            signatures=self._signatures,
            stacks=self._stacks,
            ops=ops,
            marks=marks,
            calls=calls,
            python=python,
            activities=activities,
        )


def _move_marks(tables: dict[str, Columns], names: tuple[str, ...]) -> None:
    """Before 2022 step marks, loaders and optimizer steps were operators: make them annotations."""

    def is_mark(name: str) -> bool:
        return (
            step_number(name) is not None
            or is_data_loading(name)
            or is_optimizer_step(name)
            or is_zero_grad(name)
        )

    op, annotation = tables["op"], tables["annotation"]
    table = np.zeros(max(1, len(names)), np.bool_)
    for index in np.flatnonzero(np.bincount(op["name"], minlength=1)).tolist():
        table[index] = is_mark(names[index])
    moved = table[op["name"]]
    if moved.any():
        for column in annotation:
            annotation[column] = np.concatenate([annotation[column], op[column][moved]])
        for column in op:
            op[column] = op[column][~moved]


def _canonical_threads(builder: ColumnBuilder, tables: dict[str, Columns]) -> tuple[tuple[str, ...], Int32]:
    """Thread texts, and the process index of each thread; ``25738`` and ``"25738"`` are one."""
    keys = [(str(pid), str(tid)) for pid, tid in builder.threads]
    canonical: dict[tuple[str, str], int] = {}
    mapping = np.array([canonical.setdefault(key, len(canonical)) for key in keys], np.int32)
    for table in ("op", "annotation", "call", "python"):
        if len(mapping):
            tables[table]["thread"] = mapping[tables[table]["thread"]]
    pids: dict[str, int] = {}
    processes = np.array([pids.setdefault(pid, len(pids)) for pid, _ in canonical], np.int32)
    return tuple(f"{pid}/{tid}" for pid, tid in canonical), processes


def _host_tables(
    tables: dict[str, Columns], processes: Int32, host: int | None
) -> tuple[HostOps, Intervals, HostCalls, Intervals]:
    """The host side of one process (of all events where it is the only one)."""

    def rows_of(table: str, by_nesting: bool) -> npt.NDArray[np.intp]:
        columns = tables[table]
        rows = np.arange(len(columns["name"]))
        if host is not None:
            rows = rows[processes[columns["thread"]] == host]
        thread, start, end = (columns[name][rows] for name in ("thread", "start", "end"))
        order = sorted_by_nesting(thread, start, end) if by_nesting else np.lexsort((-end, start))
        return rows[order]

    def taken(table: str, rows: npt.NDArray[np.intp], columns: dict[str, npt.DTypeLike]) -> Columns:
        renamed = {"start": "start_ns", "end": "end_ns"}
        return {renamed.get(name, name): tables[table][name][rows] for name in columns}

    ops, marks, calls, python = (
        taken(table, rows_of(table, by_nesting), _COLUMNS[table])
        for table, by_nesting in (("op", True), ("annotation", True), ("call", False), ("python", True))
    )
    return HostOps(**ops), Intervals(**marks), HostCalls(**calls), Intervals(**python)


def _device_groups(
    builder: ColumnBuilder, activity: Columns
) -> list[tuple[int | None, npt.NDArray[np.intp]]]:
    """(device index, rows) for each pair of a device process and a device number."""
    streams = list(builder.streams)
    keys: dict[tuple[str, int | None], int] = {}
    group_of_stream = []
    for pid, device, _ in streams:
        index = _whole(device if device is not None else pid)
        group_of_stream.append(keys.setdefault((str(pid), index), len(keys)))
    if not streams:
        return []
    group = np.array(group_of_stream, np.int32)[activity["stream"]]
    return [
        (index, np.flatnonzero(group == number))
        for (_, index), number in keys.items()
        if np.any(group == number)
    ]


def _owners(
    groups: list[tuple[int | None, npt.NDArray[np.intp]]],
    tables: dict[str, Columns],
    processes: Int32,
    hosts: list[int],
) -> list[int]:
    """The process that drove each device group.

    Files merged from several ranks repeat correlation ids, so an id alone names no process: the owner
    is the process whose calls with those ids precede the activities most often and most closely.
    """
    if len(hosts) == 1:
        return [hosts[0]] * len(groups)
    calls, activity = tables["call"], tables["activity"]
    owners = []
    for _, rows in groups:
        scores = []
        for host in hosts:
            own = np.flatnonzero((processes[calls["thread"]] == host) & calls["has_correlation"])
            order = own[np.argsort(calls["correlation"][own], kind="stable")]
            place, found = _looked_up(
                calls["correlation"][order],
                activity["correlation"][rows],
                activity["has_correlation"][rows],
            )
            delay = (activity["start"][rows] - calls["start"][order[place]])[found]
            sensible = delay[(delay > -1_000_000) & (delay < 10 * 10**9)]
            typical = float(np.median(sensible)) if len(sensible) else 0.0
            scores.append((len(sensible), -typical))
        owners.append(hosts[max(range(len(hosts)), key=lambda index: scores[index])])
    return owners


def _joined(calls: HostCalls, correlation: Int64, has_correlation: Bool) -> tuple[Int32, Bool]:
    """The call with each activity's correlation id, and whether there is one."""
    order = np.flatnonzero(calls.has_correlation)
    order = order[np.argsort(calls.correlation[order], kind="stable")]
    place, found = _looked_up(calls.correlation[order], correlation, has_correlation)
    if not len(order):
        return np.zeros(len(correlation), np.int32), found
    return np.where(found, order[place], 0).astype(np.int32), found


def _looked_up(sorted_keys: Int64, keys: Int64, has_key: Bool) -> tuple[Int64, Bool]:
    """Positions of keys in a sorted column (0 where absent), and the mask of those found."""
    if not len(sorted_keys):
        return np.zeros(len(keys), np.int64), np.zeros(len(keys), np.bool_)
    place = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    found = has_key & (sorted_keys[place] == keys) & (keys != 0)
    return np.where(found, place, 0), found


def _facts(
    builder: ColumnBuilder,
    metadata: Metadata,
    path: str,
    truncated_because: str | None,
    names: tuple[str, ...],
    tables: dict[str, Columns],
) -> TraceFacts:
    calls = np.flatnonzero(np.bincount(tables["call"]["name"], minlength=1)).tolist()
    call_names = [names[index] for index in calls] if names else []
    version = metadata.torch_version or metadata.pytorch_version
    return TraceFacts(
        path=path,
        event_count=sum(builder.events_by_category.values()),
        truncated_because=truncated_because,
        dropped={reason: count for reason, count in builder.dropped.items() if count},
        categories=dict(builder.events_by_category),
        is_rocm=metadata.hip_runtime_version is not None
        or any(name.startswith("hip") for name in call_names),
        torch_version=version if isinstance(version, str) else None,
        recorded_shapes=len(builder.signatures) > 1,
        recorded_stacks=len(tables["python"]["name"]) > 0 or len(builder.stacks) > 1,
    )


def _device_properties(properties: Any, device: int | None) -> DeviceProperties | None:
    """The entry of a device; where no id fits, the first entry if all are alike."""
    if not isinstance(properties, list):
        return None
    entries = [entry for entry in properties if isinstance(entry, dict)]
    fitting = [entry for entry in entries if _whole(entry.get("id")) == device and device is not None]
    if not fitting and len({(entry.get("name"), entry.get("numSms")) for entry in entries}) == 1:
        fitting = entries
    if not fitting:
        return None
    entry = fitting[0]
    major, minor = _whole(entry.get("computeMajor")), _whole(entry.get("computeMinor"))
    name = entry.get("name")
    return DeviceProperties(
        name=name if isinstance(name, str) and name else None,
        sm_count=_whole(entry.get("numSms")) or None,
        memory_byte=_whole(entry.get("totalGlobalMem")) or None,
        compute_capability=None if major is None or minor is None else f"{major}.{minor}",
    )


def _stream_text(stream: Number) -> str:
    return re.sub(r"^stream\s*", "", str(stream))


def _whole(value: Any) -> int | None:
    try:
        return int(value) if value is not None and not isinstance(value, bool) else None
    except (TypeError, ValueError, OverflowError):
        return None
