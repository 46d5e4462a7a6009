"""What the trace shows of each cause: counts, places and sizes, as the findings quote them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.host_states import pageable_copy_calls
from mfu_profiler.analysis.locations import Locations
from mfu_profiler.analysis.times import Times
from mfu_profiler.trace.host_calls import (
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

    # Synchronization ----------------------------------------------------------------------------

    def worst_syncs(self) -> tuple[str, ...]:
        """The three kinds of synchronization that cost the host most time, with counts and places."""
        calls = self.timeline.calls
        rows = self._rows(calls, lambda name: host_call_kind(name) == "sync")
        op, has_op = self.times.joined.nesting.innermost(calls.thread[rows], calls.start_ns[rows])
        places: dict[tuple[str, str | None], list[int]] = {}
        for row, around, has in zip(rows.tolist(), op.tolist(), has_op.tolist(), strict=True):
            name = self.timeline.names[int(calls.name[row])]
            places.setdefault((name, self._place(around) if has else None), []).append(row)
        worst = sorted(places.items(), key=lambda item: -int(_durations(calls, np.array(item[1])).sum()))
        return tuple(self._sync_text(name, place, found) for (name, place), found in worst[:3])

    def _place(self, op: int) -> str:
        """An op's name, and its source line where the trace has stacks."""
        name = self.timeline.names[int(self.timeline.ops.name[op])]
        location = self.locations.of_op(op)
        return f"{name} at {location}" if location else name

    def _sync_text(self, name: str, place: str | None, rows: list[int]) -> str:
        calls = self.timeline.calls
        total = float(_durations(calls, np.array(rows)).sum()) / 1e9 / self.step_count
        text = f"{count_text(len(rows) / self.step_count)} {name} a step, {time_text(total)}"
        if place is not None:
            text += f", in {place}"
        return text

    def reads_back(self) -> bool:
        """Whether a value is read back from the device (``.item()``, ``print(loss)``, ``if tensor``)."""
        ops = self.timeline.ops
        return len(self._rows(ops, lambda name: name in ("aten::item", "aten::_local_scalar_dense"))) > 0

    def synchronizes_explicitly(self) -> bool:
        """Whether the whole device is waited for, as ``torch.cuda.synchronize()`` does."""
        return len(self._rows(self.timeline.calls, lambda name: "DeviceSynchronize" in name)) > 0

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
        return any(self.timeline.names[index].startswith("triton_") for index in names)

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
