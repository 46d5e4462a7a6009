"""Small timelines, drawn: one character is one microsecond.

::

    timeline(
        compute="....aaa..bb",        # kernels a and b on a stream of their own
        copy=   "##.........",        # '#': an activity without a launch record
        launch= "..aab......",        # the calls that launched a and b, on the main thread
        next=   ".....nnn...",        # the main thread waits for the data loader
        step=   "00000111111",        # ProfilerStep#0 and #1
    )

Each run of one character is one event; ``.`` is nothing; blanks only align the rows. On the device a letter
names the launch (a character of ``launch`` or ``graph`` on any thread) that the activity belongs to; several
activities may share one. The records below are what pictures are made of; a test that needs more builds them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from mfu_profiler.analysis.activity_kinds import ActivityKinds, activity_kinds
from mfu_profiler.analysis.attribution import attribution
from mfu_profiler.analysis.build import timeline_report
from mfu_profiler.analysis.host_states import HostStates, host_states
from mfu_profiler.analysis.host_steps import host_steps
from mfu_profiler.analysis.options import Options
from mfu_profiler.analysis.partition import TimeParts, device_parts
from mfu_profiler.analysis.report import PARTS, Report
from mfu_profiler.analysis.windows import Windows, step_windows
from mfu_profiler.flops import has_formula
from mfu_profiler.trace.columns import RawSignature
from mfu_profiler.trace.nesting import sorted_by_nesting
from mfu_profiler.trace.timeline import (
    KERNEL,
    MEMCPY,
    Activities,
    DeviceProperties,
    HostCalls,
    HostOps,
    Intervals,
    Timeline,
    TraceFacts,
)

US = 1_000
"""One character in ns."""

COMPUTE_KERNEL = "my_kernel"
COLLECTIVE_KERNEL = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
COPY = "Memcpy HtoD (Pinned -> Device)"
LOADER = "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__"
MAIN, AUTOGRAD = 0, 1


@dataclass(frozen=True)
class Activity:
    """Something on the device; ``call`` is an index into the calls, None without a launch record."""

    name: str
    start_ns: int
    end_ns: int
    call: int | None = None
    stream: int = 0
    kind: int = KERNEL
    byte: int | None = None


@dataclass(frozen=True)
class Host:
    """An op, a runtime call or an annotation on a host thread."""

    name: str
    start_ns: int
    end_ns: int
    thread: int = MAIN
    dims: Sequence[Any] | None = None
    types: Sequence[str] | None = None
    concrete: Sequence[str] | None = None
    sequence: int | None = None


def assembled(
    activities: Sequence[Activity] = (),
    calls: Sequence[Host] = (),
    ops: Sequence[Host] = (),
    marks: Sequence[Host] = (),
    *,
    device: str | None = "Tesla V100-SXM2-32GB",
    stream_count: int = 8,
    thread_count: int = 8,
) -> Timeline:
    """The records as a ``Timeline``, in the orders that its tables promise."""
    interned: dict[str, int] = {}
    call_order = sorted(range(len(calls)), key=lambda row: (calls[row].start_ns, -calls[row].end_ns))
    row_of_call = {old: new for new, old in enumerate(call_order)}
    calls = [calls[row] for row in call_order]
    activities = sorted(activities, key=lambda activity: activity.start_ns)
    ops, marks = _by_nesting(ops), _by_nesting(marks)
    signatures = [RawSignature(-1, b"", b"", b"")]
    signature_of_op = []
    for op in ops:
        if op.dims is None:
            signature_of_op.append(0)
            continue
        types = op.types if op.types is not None else ["float"] * len(op.dims)
        concrete = b"" if op.concrete is None else json.dumps(list(op.concrete)).encode()
        name = interned.setdefault(op.name, len(interned))
        row = RawSignature(
            name, json.dumps(list(op.dims)).encode(), json.dumps(list(types)).encode(), concrete
        )
        if row not in signatures:
            signatures.append(row)
        signature_of_op.append(signatures.index(row))

    def host(table: Sequence[Host]) -> dict[str, Any]:
        return {
            "name": np.array([interned.setdefault(row.name, len(interned)) for row in table], np.int32),
            "start_ns": np.array([row.start_ns for row in table], np.int64),
            "end_ns": np.array([row.end_ns for row in table], np.int64),
            "thread": np.array([row.thread for row in table], np.int32),
        }

    def optional(values: Sequence[int | None]) -> tuple[Any, Any]:
        return (
            np.array([value or 0 for value in values], np.int64),
            np.array([value is not None for value in values], np.bool_),
        )

    def no_external(count: int) -> dict[str, Any]:
        return {"external_id": np.zeros(count, np.int64), "has_external_id": np.zeros(count, np.bool_)}

    sequence, has_sequence = optional([op.sequence for op in ops])
    byte, has_byte = optional([activity.byte for activity in activities])
    launched_by = [None if a.call is None else row_of_call[a.call] for a in activities]
    call, has_call = optional(launched_by)
    count = len(activities)
    return Timeline(
        facts=TraceFacts(
            path="picture",
            event_count=count + len(calls) + len(ops) + len(marks),
            truncated_because=None,
            dropped={},
            categories={},
            is_rocm=False,
            torch_version=None,
            recorded_shapes=len(signatures) > 1,
            recorded_stacks=False,
        ),
        rank=None,
        world_size=None,
        device_index=0 if count else None,
        device=None if device is None else DeviceProperties(device, None, None, None),
        streams=tuple(str(index) for index in range(stream_count)),
        threads=tuple(f"1/{index}" for index in range(thread_count)),
        signatures=tuple(signatures),
        stacks=(b"",),
        ops=HostOps(
            **host(ops),
            signature=np.array(signature_of_op, np.int32),
            stack=np.zeros(len(ops), np.int32),
            sequence=sequence,
            has_sequence=has_sequence,
            **no_external(len(ops)),
        ),
        marks=Intervals(**host(marks)),
        calls=HostCalls(
            **host(calls),
            correlation=np.arange(1, len(calls) + 1, dtype=np.int64),
            has_correlation=np.ones(len(calls), np.bool_),
            **no_external(len(calls)),
        ),
        python=Intervals(**host(())),
        activities=Activities(
            name=np.array([interned.setdefault(a.name, len(interned)) for a in activities], np.int32),
            start_ns=np.array([a.start_ns for a in activities], np.int64),
            end_ns=np.array([a.end_ns for a in activities], np.int64),
            kind=np.array([a.kind for a in activities], np.int8),
            stream=np.array([a.stream for a in activities], np.int32),
            byte=byte,
            has_byte=has_byte,
            is_collective=np.zeros(count, np.bool_),
            call=call.astype(np.int32),
            has_call=has_call,
            **no_external(count),
        ),
        names=tuple(interned),
    )


def _by_nesting(rows: Sequence[Host]) -> list[Host]:
    order = sorted_by_nesting(
        np.array([row.thread for row in rows], np.int32),
        np.array([row.start_ns for row in rows], np.int64),
        np.array([row.end_ns for row in rows], np.int64),
    )
    return [rows[index] for index in order.tolist()]


def runs(row: str) -> list[tuple[str, int, int]]:
    """(character, start, end) in ns of each run of one character."""
    found, place = [], 0
    for character, group in groupby(row.replace(" ", "")):
        length = len(list(group))
        if character != ".":
            found.append((character, place * US, (place + length) * US))
        place += length
    return found


@dataclass(frozen=True)
class Thread:
    """What one host thread did, as rows of a picture."""

    launch: str = ""
    graph: str = ""
    """Launches of whole graphs."""
    sync: str = ""
    """``cudaStreamSynchronize``."""
    blocking_copy: str = ""
    """``cudaMemcpy``."""
    calls: Mapping[str, str] | None = None
    """Other runtime calls by name."""
    next: str = ""
    """The wait for the data loader."""
    step: str = ""
    """``ProfilerStep#0`` for 0, and so on."""
    marks: Mapping[str, str] | None = None
    """Other annotations by name."""
    ops: Mapping[str, str] | None = None

    def events(self, thread: int) -> tuple[list[tuple[str, Host]], list[Host], list[Host]]:
        """(character, call), ops, marks."""
        named_calls = {
            "cudaLaunchKernel": self.launch,
            "cudaGraphLaunch": self.graph,
            "cudaStreamSynchronize": self.sync,
            "cudaMemcpy": self.blocking_copy,
            **(self.calls or {}),
        }
        calls = [
            (character, Host(name, start, end, thread))
            for name, row in named_calls.items()
            for character, start, end in runs(row)
        ]
        ops = [
            Host(name, start, end, thread)
            for name, row in (self.ops or {}).items()
            for _, start, end in runs(row)
        ]
        marks = [
            Host(name, start, end, thread)
            for name, row in {LOADER: self.next, **(self.marks or {})}.items()
            for _, start, end in runs(row)
        ]
        marks += [
            Host(f"ProfilerStep#{number}", start, end, thread) for number, start, end in runs(self.step)
        ]
        return calls, ops, marks


def timeline(
    *,
    compute: str = "",
    second_stream: str = "",
    communication: str = "",
    copy: str = "",
    autograd: Thread | None = None,
    names: Mapping[str, str] | None = None,
    device: str | None = "Tesla V100-SXM2-32GB",
    **main: Any,
) -> Timeline:
    """A timeline from its picture.

    Args:
        compute, second_stream: kernels, on two streams.
        communication: NCCL kernels on a stream of their own.
        copy: copies from host to device on a stream of their own.
        autograd: what a second host thread did.
        names: names of activities by their character, instead of the usual ones.
        main: rows of the main thread, see ``Thread``.

    """
    calls, ops, marks = Thread(**main).events(MAIN)
    if autograd is not None:
        for mine, more in zip((calls, ops, marks), autograd.events(AUTOGRAD), strict=True):
            mine.extend(more)  # type: ignore[arg-type]
    launcher = {character: index for index, (character, _) in enumerate(calls)}
    named = names or {}
    activities = [
        Activity(named.get(character, usual), start, end, launcher.get(character), stream, kind)
        for stream, (row, usual, kind) in enumerate(
            (
                (compute, COMPUTE_KERNEL, KERNEL),
                (second_stream, COMPUTE_KERNEL, KERNEL),
                (communication, COLLECTIVE_KERNEL, KERNEL),
                (copy, COPY, MEMCPY),
            )
        )
        for character, start, end in runs(row)
    ]
    return assembled(activities, [call for _, call in calls], ops, marks, device=device)


def kinds_of(drawn: Timeline) -> ActivityKinds:
    """Which activities compute, communicate and copy."""
    return activity_kinds(drawn, attribution(drawn, has_formula))


def states_of(drawn: Timeline) -> HostStates:
    """When the host loaded data or was blocked."""
    steps = host_steps(drawn)
    return host_states(drawn, steps.thread if steps is not None else None)


def time_parts(drawn: Timeline, start_ns: int, end_ns: int) -> TimeParts:
    """The classes of a device's time."""
    return device_parts(drawn, kinds_of(drawn), states_of(drawn), (start_ns, end_ns))


def partition(drawn: Timeline, start: int, end: int) -> dict[str, int]:
    """Microseconds of each class that occurs, between two characters of the picture."""
    edges = np.array([start * US], np.int64), np.array([end * US], np.int64)
    parts = time_parts(drawn, min(0, start * US), end * US).within(*edges)
    return {name: int(parts[name][0]) // US for name in PARTS if parts[name][0]}


def windows_of(drawn: Timeline, mode: Any = "device", has_device: bool = True) -> Windows:
    """The windows of a timeline."""
    return step_windows(drawn, kinds_of(drawn), mode, has_device)


def drawn_windows(found: Windows) -> list[tuple[str, int, int]]:
    """(label, first, last character) of each window."""
    return [(window.label, window.start_ns // US, window.end_ns // US) for window in found.windows]


def report(drawn: Timeline, *, peak_tflops: float | None = None, **options: Any) -> Report:
    """The report of a timeline."""
    peak_flop_per_s = None if peak_tflops is None else peak_tflops * 1e12
    return timeline_report(drawn, Options(peak_flop_per_s=peak_flop_per_s, **options))
