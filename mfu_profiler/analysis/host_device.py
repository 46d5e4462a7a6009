"""The partition where the host itself is the device: training on a CPU.

The innermost op on the marked thread decides; while the marked thread is in no op (it waits in backward,
say), the autograd threads do::

    marked thread    ├ next() ┤├ addmm ┤├relu┤                         ├ all_reduce ┤
    autograd thread                            ├ evaluate_function ... ┤
                     loading    compute         compute                 communication    rest: host-bound
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.host_states import HostStates
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.partition import TimeParts
from mfu_profiler.analysis.report import PARTS
from mfu_profiler.trace.host_calls import is_collective_op
from mfu_profiler.trace.nesting import Nesting
from mfu_profiler.trace.timeline import Intervals, Timeline

__all__ = ["HostDevice", "host_device", "names_an_accelerator"]

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class HostDevice:
    """The classes of a CPU's time, and the threads that work for it."""

    parts: TimeParts
    threads: tuple[int, ...]
    """The marked thread and the autograd threads."""


def host_device(timeline: Timeline, host: HostStates, bounds: tuple[int, int]) -> HostDevice:
    """Classify the time of a process that computes on its CPU.

    Args:
        timeline: a trace without device activities.
        host: when its threads loaded data; its main thread is the marked one.
        bounds: (start, end) in ns of all time to classify.

    """
    ops, marks = timeline.ops, timeline.marks
    backward = timeline.by_name(ops.name, lambda name: name.startswith("autograd::engine::"), np.bool_)
    autograd = [t for t in np.unique(ops.thread[backward]).tolist() if t != host.main_thread]
    everything = Spans.one(*bounds)
    loading = host.loading.get(host.main_thread, Spans.nothing()) & everything
    compute, communication = _by_innermost_op(timeline, host.main_thread)
    waits = everything - compute - communication
    for thread in autograd:
        computing, communicating = _by_innermost_op(timeline, thread)
        compute, communication = compute | (computing & waits), communication | (communicating & waits)
    is_collective = timeline.by_name(marks.name, is_collective_op, np.bool_)
    is_collective = is_collective & np.isin(marks.thread, [host.main_thread, *autograd])
    communication = communication | Spans.of(marks.start_ns[is_collective], marks.end_ns[is_collective])
    compute = (compute & everything) - loading
    communication = (communication & everything) - loading - compute
    spans = {name: Spans.nothing() for name in PARTS}
    spans |= {"compute": compute, "communication": communication, "idle_data_loading": loading}
    spans["idle_host"] = everything - (compute | communication | loading)
    return HostDevice(TimeParts(spans), (host.main_thread, *autograd))


def names_an_accelerator(timeline: Timeline) -> bool:
    """Whether a trace without device activities names an accelerator, which should have had some."""
    if timeline.device is not None:
        return True
    texts = {timeline.names[index] for index in np.unique(timeline.ops.name).tolist()}
    texts |= {timeline.names[index] for index in np.unique(timeline.marks.name).tolist()}
    used = any("cudnn" in text or "miopen" in text or text.startswith("nccl:") for text in texts)
    return used or len(timeline.calls) > 0


def _by_innermost_op(timeline: Timeline, thread: int) -> tuple[Spans, Spans]:
    """When the innermost op on a thread computes, and when it is a collective."""
    ops = timeline.ops
    rows = np.flatnonzero((ops.thread == thread) & (ops.end_ns > ops.start_ns))
    if not len(rows):
        return Spans.nothing(), Spans.nothing()
    # Half-open: an op does not hold its end.
    table = Intervals(ops.name[rows], ops.start_ns[rows], ops.end_ns[rows] - 1, ops.thread[rows])
    edges = np.unique(np.concatenate([ops.start_ns[rows], ops.end_ns[rows]]))
    row, is_busy = Nesting.of(table).innermost(np.full(len(edges) - 1, thread, np.int32), edges[:-1])
    is_collective = timeline.by_name(table.name, is_collective_op, np.bool_)[row]

    def spans(mask: Bool) -> Spans:
        return Spans.of(edges[:-1][mask], edges[1:][mask])

    return spans(is_busy & ~is_collective), spans(is_busy & is_collective)
