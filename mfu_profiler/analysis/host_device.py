"""The partition where the host itself is the device: training on a CPU.

The innermost op on the marked thread decides; while the marked thread is in no op (it waits in backward,
say), the autograd threads do::

    marked thread    ├ next() ┤├ addmm ┤├relu┤                         ├ all_reduce ┤
    autograd thread                            ├ evaluate_function ... ┤
                     loading    compute         compute                 communication    rest: host-bound
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.host_states import HostStates
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.partition import TimeParts
from mfu_profiler.analysis.report import PARTS
from mfu_profiler.trace.host_calls import is_collective_op
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
    loading = host.loading.get(host.main_thread, Spans.nothing())
    on_main = _on_threads(ops, [host.main_thread])
    elsewhere = _on_threads(ops, autograd)
    communicating = _named(timeline, ops, is_collective_op, [host.main_thread, *autograd])
    communicating = communicating | _named(timeline, marks, is_collective_op, [host.main_thread, *autograd])
    busy = (on_main | (elsewhere - on_main)) & everything
    loading = loading & everything
    communication = (communicating & everything) - loading
    compute = busy - loading - communication
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


def _on_threads(table: Intervals, threads: list[int]) -> Spans:
    mask = np.isin(table.thread, threads)
    return Spans.of(table.start_ns[mask], table.end_ns[mask])


def _named(
    timeline: Timeline, table: Intervals, predicate: Callable[[str], bool], threads: list[int]
) -> Spans:
    mask = timeline.by_name(table.name, predicate, np.bool_) & np.isin(table.thread, threads)
    return Spans.of(table.start_ns[mask], table.end_ns[mask])
