"""What the trace shows of each cause: counts, places and sizes, as the findings quote them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.host_states import blocking_calls, pageable_copy_calls
from mfu_profiler.analysis.locations import Locations
from mfu_profiler.analysis.times import Times
from mfu_profiler.trace.host_calls import (
    DATA_MARK,
    SYNC_OPS,
    host_call_kind,
    is_data_loading,
    is_optimizer_step,
)
from mfu_profiler.trace.nesting import Nesting
from mfu_profiler.trace.timeline import MEMCPY, Activities, Intervals, Timeline
from mfu_profiler.units import byte_text, count_text, time_text

__all__ = ["Evidence"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

WORKERS = 4
"""Of a data loader that has none, to begin with."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Questions about the averaged windows of one timeline; each answer is computed when asked."""

    times: Times
    locations: Locations

    @property
    def timeline(self) -> Timeline:
        """The trace."""
        return self.times.timeline

    @property
    def step_count(self) -> int:
        """Averaged windows."""
        return self.times.step_count

    # Data loading -------------------------------------------------------------------------------

    def loader(self) -> tuple[float, float, bool]:
        """(calls of next() a step, seconds each, whether the main process loads)."""
        marks = self.timeline.marks
        rows = self._rows(marks, is_data_loading)
        if not len(rows):
            return 0.0, 0.0, False
        single = any("SingleProcess" in self.timeline.names[index] for index in marks.name[rows].tolist())
        return len(rows) / self.step_count, float(_durations(marks, rows).mean()) / 1e9, single

    def workers(self) -> int:
        """How many workers to begin with: no more than the process has cores, where that is known."""
        live = self.timeline.live
        cores = live.run.cores if live is not None else None
        return min(WORKERS, max(1, cores or WORKERS))

    def unprofiled_wait_s(self) -> float | None:
        """What an unprofiled step waits for data; of live runs with a loader."""
        live = self.timeline.live
        wait_ns = live.run.data_wait_ns if live is not None else None
        return None if wait_ns is None else wait_ns / 1e9

    def marks_data_itself(self) -> bool:
        """Whether every wait for data is a ``run.data()`` span of the user's own."""
        marks = self.timeline.marks
        rows = self._rows(marks, is_data_loading)
        return len(rows) > 0 and {self.timeline.names[name] for name in marks.name[rows]} == {DATA_MARK}

    # Synchronization ----------------------------------------------------------------------------

    def worst_syncs(self) -> tuple[str, ...]:
        """What the host was blocked in when the device ran dry: the three that cost most idle time."""
        idle = self.times.parts.spans["idle_synchronization"]
        inside = self.times.inside(idle.start_ns)
        starts, lengths = idle.start_ns[inside], (idle.end_ns - idle.start_ns)[inside]
        cost: dict[str, list[int]] = {}
        places: dict[str, Counter[str]] = {}
        for (what, place), length in zip(self._blocked_in(starts), lengths.tolist(), strict=True):
            if what is not None:
                cost.setdefault(what, []).append(length)
                places.setdefault(what, Counter()).update([place] if place and " at " not in what else [])
        worst = sorted(cost.items(), key=lambda item: -sum(item[1]))[:3]
        return tuple(
            f"{count_text(len(found) / self.step_count)} {what}{_at(places[what])} a step, then"
            f" {time_text(sum(found) / 1e9 / self.step_count)} idle"
            for what, found in worst
        )

    def _blocked_in(self, time_ns: Int64) -> list[tuple[str | None, str | None]]:
        """The blocking call around each time, else the op that reads back, and where that was sampled."""
        calls, ops = self.timeline.calls, self.timeline.ops
        reads = self.timeline.by_name(ops.name, lambda name: name in SYNC_OPS, np.bool_)
        call, has_call = _holding(calls, blocking_calls(self.timeline), time_ns)
        read, has_read = _holding(ops, reads, time_ns)
        found: list[tuple[str | None, str | None]] = [(None, None)] * len(time_ns)
        for index in np.flatnonzero(has_call).tolist():
            row = int(call[index])
            found[index] = self._call_text(row), self.locations.of_wait(calls, row, int(time_ns[index]))
        for index in np.flatnonzero(has_read & ~has_call).tolist():
            row = int(read[index])
            found[index] = self._op_text(row), self.locations.of_wait(ops, row, int(time_ns[index]))
        return found

    def _call_text(self, call: int) -> str:
        calls = self.timeline.calls
        name = self.timeline.names[int(calls.name[call])]
        here = np.array([call])
        op, has_op = self.times.joined.nesting.innermost(calls.thread[here], calls.start_ns[here])
        return f"{name} in {self._op_text(int(op[0]))}" if has_op[0] else name

    def _op_text(self, op: int) -> str:
        """An op's name, and its source line where the trace has stacks."""
        name = self.timeline.names[int(self.timeline.ops.name[op])]
        location = self.locations.of_op(op)
        return f"{name} at {location}" if location else name

    def reads_back(self) -> bool:
        """Whether a value is read back from the device (``.item()``, ``print(loss)``, ``if tensor``)."""
        ops = self.timeline.ops
        return len(self._rows(ops, lambda name: name in ("aten::item", "aten::_local_scalar_dense"))) > 0

    @property
    def is_cpu(self) -> bool:
        """Whether the host itself was the device."""
        return self.times.is_cpu

    def sampled_at(self, cause: str) -> tuple[str, ...]:
        """Where the launching thread was during a class of time, if a live run sampled it then."""
        place = self.locations.of_times(self.times.parts.spans[cause], self.times.averaged)
        return (f"mostly at {place}",) if place else ()

    # Host ---------------------------------------------------------------------------------------

    def launches(self) -> tuple[float, float]:
        """(launches a step, median seconds between two of them)."""
        calls = self.timeline.calls
        rows = self._rows(calls, lambda name: host_call_kind(name) == "launch")
        gaps = np.diff(np.sort(calls.start_ns[rows])) if len(rows) > 1 else np.zeros(1)
        return len(rows) / self.step_count, float(np.median(gaps)) / 1e9

    def median_kernel_s(self) -> float:
        """Median duration of compute kernels."""
        activities = self.timeline.activities
        rows = self.times.kinds.is_compute & self.times.inside(activities.start_ns)
        lengths = (activities.end_ns - activities.start_ns)[rows]
        return float(np.median(lengths)) / 1e9 if len(lengths) else 0.0

    def is_compiled(self) -> bool:
        """Whether torch.compile made some of the kernels."""
        names = np.unique(self.timeline.activities.name).tolist()
        has_kernels = any(self.timeline.names[index].startswith("triton_") for index in names)
        return has_kernels or self.names_any("Torch-Compiled Region") or self.names_any("CompiledFunction")

    def names_any(self, part: str) -> bool:
        """Whether an op or annotation has this in its name (``DistributedDataParallel``, ``FSDP``)."""
        used = {*np.unique(self.timeline.ops.name).tolist(), *np.unique(self.timeline.marks.name).tolist()}
        return any(part in self.timeline.names[index] for index in used)

    def uses_graphs(self) -> bool:
        """Whether CUDA or HIP graphs are launched."""
        names = np.unique(self.timeline.calls.name).tolist()
        return any("GraphLaunch" in self.timeline.names[index] for index in names)

    def optimizer_launches(self) -> float:
        """Launches inside optimizer steps, per step."""
        marks, calls = self.timeline.marks, self.timeline.calls
        rows = self._rows(calls, lambda name: host_call_kind(name) == "launch")
        optimizer = self.timeline.by_name(marks.name, is_optimizer_step, np.bool_)
        _, inside = Nesting.of(marks).innermost(calls.thread[rows], calls.start_ns[rows], among=optimizer)
        return float(np.count_nonzero(inside)) / self.step_count

    def optimizer_name(self) -> str | None:
        """Class of the optimizer, by its mark."""
        rows = self._rows(self.timeline.marks, is_optimizer_step)
        if not len(rows):
            return None
        name = self.timeline.names[int(self.timeline.marks.name[rows[0]])]
        return name.removeprefix("Optimizer.step#").removesuffix(".step")

    # Copies -------------------------------------------------------------------

    def pageable_byte(self) -> float:
        """Bytes copied from pageable host memory, per step."""
        rows = np.unique(pageable_copy_calls(self.timeline))
        activities = self.timeline.activities
        mask = activities.has_call & np.isin(activities.call, rows) & self.times.inside(activities.start_ns)
        to_device = self.timeline.by_name(activities.name, lambda name: "HtoD" in name, np.bool_)
        return float(activities.byte[mask & to_device].sum()) / self.step_count

    def copies(self) -> tuple[str, ...]:
        """Copies by name, with sizes."""
        activities = self.timeline.activities
        rows = np.flatnonzero((activities.kind == MEMCPY) & self.times.inside(activities.start_ns))
        texts = []
        for name in _most_time(activities.name[rows], _durations_of(activities, rows))[:3]:
            chosen = rows[activities.name[rows] == name]
            size = float(activities.byte[chosen].sum()) / self.step_count
            time = float(_durations_of(activities, chosen).sum()) / 1e9 / self.step_count
            count = count_text(len(chosen) / self.step_count)
            texts.append(f"{count} {self.timeline.names[name]} a step, {byte_text(size)}, {time_text(time)}")
        return tuple(texts)

    def _rows(self, table: Intervals, predicate: Callable[[str], bool]) -> Int64:
        """Rows of a host table by name, in the averaged windows."""
        mask = self.timeline.by_name(table.name, predicate, np.bool_) & self.times.inside(table.start_ns)
        return np.flatnonzero(mask).astype(np.int64)


def _at(places: Counter[str]) -> str:
    """Where most of them were sampled; nothing where none was, or where the text has said it."""
    if not places:
        return ""
    return f"{' mostly' if len(places) > 1 else ''} at {places.most_common(1)[0][0]}"


def _holding(table: Intervals, mask: Bool, time_ns: Int64) -> tuple[Int64, Bool]:
    """The row, of a mask, that started last before each time, and whether it holds the time."""
    rows = np.flatnonzero(mask)
    if not len(rows):
        return np.zeros(len(time_ns), np.int64), np.zeros(len(time_ns), np.bool_)
    rows = rows[np.argsort(table.start_ns[rows], kind="stable")]
    place = np.searchsorted(table.start_ns[rows], time_ns, side="right") - 1
    row = rows[np.maximum(place, 0)]
    return row, np.asarray((place >= 0) & (time_ns < table.end_ns[row]), np.bool_)


def _durations(table: Intervals, rows: Int64) -> Int64:
    return np.asarray((table.end_ns - table.start_ns)[rows], np.int64)


def _durations_of(activities: Activities, rows: Int64) -> Int64:
    return np.asarray((activities.end_ns - activities.start_ns)[rows], np.int64)


def _most_time(name: npt.NDArray[np.int32], time_ns: Int64) -> list[int]:
    if not len(name):
        return []
    total = np.bincount(name, weights=time_ns)
    order = np.argsort(-total, kind="stable")
    return [int(index) for index in order[: len(np.unique(name))]]
