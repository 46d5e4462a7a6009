"""Small traces made to measure: events with times in ns, and every way a trace file may be written."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec

from mfu_profiler.trace.timeline import Intervals, Timeline

JsonObject = dict[str, Any]
Packing = Literal["json", "gz", "zip", "zipped gz", "folder"]

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_IDS = ("correlation", "External id", "stream", "device", "Sequence number", "bytes")

H100 = {"id": 0, "name": "NVIDIA H100 80GB HBM3", "totalGlobalMem": 85028372480, "numSms": 132}
H100 |= {"computeMajor": 9, "computeMinor": 0}


def microseconds(time_ns: int) -> Decimal:
    """Exactly, with three digits: a float64 would round epoch stamps to 250 ns."""
    return Decimal(time_ns).scaleb(-3)


def event(category: str, name: str, start_ns: int, duration_ns: int, **fields: Any) -> JsonObject:
    """A complete event; ``args`` and thread as given."""
    stamps = {"ts": microseconds(start_ns), "dur": microseconds(duration_ns)}
    return {"ph": "X", "cat": category, "name": name, "pid": 10, "tid": 10, **stamps, "args": {}} | fields


def op(
    name: str, start_ns: int, duration_ns: int, *, tid: int = 10, pid: int = 10, **args: Any
) -> JsonObject:
    return event("cpu_op", name, start_ns, duration_ns, pid=pid, tid=tid, args=args)


def mark(name: str, start_ns: int, duration_ns: int, *, pid: int = 10) -> JsonObject:
    return event("user_annotation", name, start_ns, duration_ns, pid=pid)


def launch(
    correlation: Any,
    start_ns: int,
    duration_ns: int = 5_000,
    *,
    name: str = "cudaLaunchKernel",
    pid: int = 10,
) -> JsonObject:
    return event("cuda_runtime", name, start_ns, duration_ns, pid=pid, args={"correlation": correlation})


def kernel(
    correlation: Any,
    start_ns: int,
    duration_ns: int,
    *,
    name: str = "gemm",
    device: int = 0,
    stream: int = 7,
    category: str = "kernel",
    **args: Any,
) -> JsonObject:
    args = {"device": device, "stream": stream, "correlation": correlation} | args
    return event(category, name, start_ns, duration_ns, pid=device, tid=stream, args=args)


def steps(
    count: int = 3, *, start_ns: int = 0, step_ns: int = 1_000_000, pid: int = 10, device: int = 0
) -> Any:
    """A training of ``count`` steps: a matmul of 100 x 100 x 100 each, its launch, and its kernel.

    ::

        host    ├── ProfilerStep#k ──────────────────┤
                  ├─ aten::mm ─┤
                     ├ launch ┤
        device             ├──── gemm ────┤
    """
    events = []
    for step in range(count):
        time = start_ns + step * step_ns
        shapes = {"Input Dims": [[100, 100], [100, 100]], "Input type": ["float", "float"]}
        events += [
            mark(f"ProfilerStep#{step}", time, step_ns - 10_000, pid=pid),
            op("aten::mm", time + 10_000, 50_000, pid=pid, **shapes),
            launch(step + 1, time + 20_000, pid=pid),
            kernel(step + 1, time + 40_000, step_ns // 2, device=device),
        ]
    return events


@dataclass(frozen=True)
class Layout:
    """How a trace is written."""

    packing: Packing = "json"
    is_array: bool = False
    is_pretty: bool = False
    has_text_ids: bool = False
    members_after: bool = False
    """Top-level members stand after the events, not before."""
    shuffle_seed: int | None = None
    """The members of every object stand in another order."""


def trace_bytes(events: list[JsonObject], layout: Layout, members: JsonObject | None = None) -> bytes:
    """The JSON text of a trace."""
    if layout.has_text_ids:
        events = [_with_text_ids(event) for event in events]
    if layout.shuffle_seed is not None:
        events = _shuffled(events, random.Random(layout.shuffle_seed))
    whole: Any = events
    if not layout.is_array:
        around = {"schemaVersion": 1, "deviceProperties": [H100]} if members is None else members
        whole = {"traceEvents": events}
        whole = whole | around if layout.members_after else around | whole
    text = _ENCODER.encode(whole)
    return msgspec.json.format(text, indent=2) if layout.is_pretty else text


def write_trace(
    folder: Path, events: list[JsonObject], layout: Layout = Layout(), members: JsonObject | None = None
) -> Path:
    """Write a trace into an empty folder; the path to read."""
    return pack(folder, trace_bytes(events, layout, members), layout.packing)


def pack(folder: Path, text: bytes, packing: Packing = "json") -> Path:
    """Write the text of a trace, packed; the path to read."""
    folder.mkdir(exist_ok=True)
    if packing == "zip":
        text = _zipped("rank0.pt.trace.json", text)
    elif packing == "zipped gz":
        text = _zipped("t.json.gz", gzip.compress(text, 1))
    elif packing == "gz":
        text = gzip.compress(text, 1)
    path = folder / {"json": "t.json", "gz": "t.json.gz", "folder": "t.json"}.get(packing, "t.zip")
    path.write_bytes(text)
    return folder if packing == "folder" else path


def rows(timelines: tuple[Timeline, ...]) -> list[tuple[Any, ...]]:
    """Every kept column of every event, as sorted plain rows that do not depend on any dense id."""
    return sorted((row for timeline in timelines for row in _timeline_rows(timeline)), key=repr)


def _timeline_rows(timeline: Timeline) -> list[tuple[Any, ...]]:
    ops, calls, activities = timeline.ops, timeline.calls, timeline.activities
    found: list[tuple[Any, ...]] = []
    for row, base in enumerate(_interval_rows(timeline, ops)):
        signature = timeline.signatures[ops.signature[row]]
        texts = tuple(_value(text) for text in (signature.dims, signature.types, signature.concrete))
        stack = _value(timeline.stacks[ops.stack[row]])
        ids = (_id(ops, "sequence", row), _id(ops, "external_id", row))
        found.append(("op", *base, *texts, stack, *ids))
    for row, base in enumerate(_interval_rows(timeline, calls)):
        found.append(("call", *base, _id(calls, "correlation", row), _id(calls, "external_id", row)))
    found += [("mark", *base) for base in _interval_rows(timeline, timeline.marks)]
    found += [("python", *base) for base in _interval_rows(timeline, timeline.python)]
    for row in range(len(activities)):
        kind = ("kernel", "memcpy", "memset")[activities.kind[row]]
        stamps = (int(activities.start_ns[row]), int(activities.end_ns[row]))
        place = (timeline.device_index, timeline.streams[activities.stream[row]])
        call = int(activities.call[row]) if activities.has_call[row] else None
        launched = None if call is None else (int(calls.start_ns[call]), _id(calls, "correlation", call))
        ids = (_id(activities, "byte", row), _id(activities, "external_id", row))
        is_collective = bool(activities.is_collective[row])
        found.append(
            (kind, timeline.names[activities.name[row]], *stamps, *place, launched, *ids, is_collective)
        )
    return found


def _interval_rows(timeline: Timeline, table: Intervals) -> list[tuple[Any, ...]]:
    return [
        (timeline.names[name], start, end, timeline.threads[thread])
        for name, start, end, thread in zip(
            table.name.tolist(),
            table.start_ns.tolist(),
            table.end_ns.tolist(),
            table.thread.tolist(),
            strict=True,
        )
    ]


def _id(table: Any, name: str, row: int) -> int | None:
    return int(getattr(table, name)[row]) if getattr(table, f"has_{name}")[row] else None


def _value(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text) if text else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return text


def _with_text_ids(event: JsonObject) -> JsonObject:
    args = {
        name: str(value) if name in _IDS and value is not None else value
        for name, value in event["args"].items()
    }
    return event | {"pid": str(event["pid"]), "tid": str(event["tid"]), "args": args}


def _shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, list):
        return [_shuffled(item, order) for item in value]
    if isinstance(value, dict):
        names = list(value)
        order.shuffle(names)
        return {name: _shuffled(value[name], order) for name in names}
    return value


def _zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()
