"""What the trace shows of each cause: counts, places and sizes, as the findings quote them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.findings.places import late_launches, reads_in, worst_syncs
from mfu_profiler.analysis.host_idle import is_compilation
from mfu_profiler.analysis.host_states import pageable_copy_calls
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.locations import Locations
from mfu_profiler.analysis.times import Times
from mfu_profiler.trace.host_calls import (
    DATA_MARK,
    host_call_kind,
    is_data_loading,
    is_optimizer_step,
)
from mfu_profiler.trace.timeline import MEMCPY, Activities, Intervals, Timeline
from mfu_profiler.units import byte_text, count_text, time_text

__all__ = ["Evidence"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_SIZED_BY_VALUES = frozenset(
    {
        "aten::nonzero",
        "aten::masked_select",
        "aten::_unique2",
        "aten::unique_consecutive",
        "aten::unique_dim",
        "aten::repeat_interleave",
        "aten::bincount",
    }
)
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
        return worst_syncs(self.times, self.locations)

    def reads_in(self, spans: Spans) -> tuple[float, tuple[str, ...]]:
        """(Values read back a step in some host time, the places where most are read)."""
        return reads_in(self.times, self.locations, spans)

    def late_launches(self) -> tuple[str, ...]:
        """The three ops that host-bound time ended with most."""
        return late_launches(self.times, self.locations)

    def reads_back(self) -> bool:
        """Whether a value is read back from the device (``.item()``, ``print(loss)``, ``if tensor``)."""
        ops = self.timeline.ops
        return len(self._rows(ops, lambda name: name in ("aten::item", "aten::_local_scalar_dense"))) > 0

    def sizes_on_host(self) -> bool:
        """Whether a result's size was read on the host (``nonzero``, ``x[mask]``, ``unique``)."""
        return len(self._rows(self.timeline.ops, _SIZED_BY_VALUES.__contains__)) > 0

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

    def has_python_stacks(self) -> bool:
        """Whether the profiler recorded every Python call."""
        return len(self.timeline.python) > 0

    def passes_per_update(self, wrapper: str) -> float:
        """Forward passes of a wrapper (``DistributedDataParallel``) to one optimizer step; 0 for none."""
        marks, ops = self.timeline.marks, self.timeline.ops
        forward = len(self._rows(ops, lambda name: name == f"{wrapper}.forward"))
        forward = forward or len(self._rows(marks, lambda name: name == f"{wrapper}.forward"))
        updates = len(self._rows(marks, is_optimizer_step))
        return forward / updates if updates else float(forward > 0)

    def allocations(self) -> tuple[str, ...]:
        """Calls that allocate from the driver, or give back to it: the three that take most time."""
        calls = self.timeline.calls
        rows = self._rows(calls, lambda name: host_call_kind(name) == "allocate")
        return self._by_name(calls, rows)

    def compilations(self) -> tuple[str, ...]:
        """What torch's compiler says of itself: the three that take most time."""
        return self._by_name(self.timeline.marks, self._rows(self.timeline.marks, is_compilation))

    def _by_name(self, table: Intervals, rows: Int64) -> tuple[str, ...]:
        texts = []
        for name in _most_time(table.name[rows], _durations(table, rows))[:3]:
            chosen = rows[table.name[rows] == name]
            time_s = float(_durations(table, chosen).sum()) / 1e9 / self.step_count
            count = count_text(len(chosen) / self.step_count)
            texts.append(f"{count} {self.timeline.names[name]} a step, {time_text(time_s)}")
        return tuple(texts)

    def names_any(self, part: str) -> bool:
        """Whether an op or annotation has this in its name (``DistributedDataParallel``, ``FSDP``)."""
        used = {*np.unique(self.timeline.ops.name).tolist(), *np.unique(self.timeline.marks.name).tolist()}
        return any(part in self.timeline.names[index] for index in used)

    def uses_graphs(self) -> bool:
        """Whether CUDA or HIP graphs are launched."""
        names = np.unique(self.timeline.calls.name).tolist()
        return any("GraphLaunch" in self.timeline.names[index] for index in names)

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
