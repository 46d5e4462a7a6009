"""Steps as the host marks them: ``ProfilerStep``, else optimizer steps, else annotations that repeat."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.op_roles import EVALUATE_FUNCTION
from mfu_profiler.trace.host_calls import (
    EVALUATION_MARK,
    is_data_loading,
    is_optimizer_step,
    is_zero_grad,
    step_number,
)
from mfu_profiler.trace.nesting import Nesting
from mfu_profiler.trace.timeline import Timeline

__all__ = ["EVALUATION", "HostSteps", "host_steps"]

Int64 = npt.NDArray[np.int64]

EVALUATION = "evaluation"
"""Label of a stretch between two steps of a live run that is no step."""
REPEATED_COVER_FRACTION = 0.90
"""User annotations are steps only if they cover more than this share of the span (design, section 4)."""


@dataclass(frozen=True, slots=True)
class HostSteps:
    """Steps as the host marks them, in order and not overlapping."""

    label: tuple[str, ...]
    start_ns: Int64
    end_ns: Int64
    thread: int
    source: str

    def __len__(self) -> int:
        return len(self.label)


def host_steps(timeline: Timeline) -> HostSteps | None:
    """Steps as the host marks them: ``ProfilerStep``, else optimizer steps, else repeated annotations."""
    marks = timeline.marks
    if not len(marks):
        return None
    number = timeline.by_name(marks.name, lambda name: step_number(name) is not None, np.bool_)
    if number.any():
        between = timeline.by_name(marks.name, lambda name: name == EVALUATION_MARK, np.bool_)
        return _in_order(timeline, np.flatnonzero(number | between), "ProfilerStep")
    return _between_optimizer_steps(timeline) or _repeated_annotations(timeline)


def _in_order(timeline: Timeline, rows: npt.NDArray[np.intp], source: str) -> HostSteps | None:
    """Marks by start; one that begins inside its predecessor or has no length is left out."""
    marks = timeline.marks
    rows = rows[np.argsort(marks.start_ns[rows], kind="stable")]
    kept: list[int] = []
    for row in rows.tolist():
        begins_after = not kept or marks.start_ns[row] >= marks.end_ns[kept[-1]] - 1000
        if begins_after and marks.end_ns[row] > marks.start_ns[row]:
            kept.append(row)
    if not kept:
        return None
    return HostSteps(
        label=tuple(timeline.names[marks.name[row]].replace(EVALUATION_MARK, EVALUATION) for row in kept),
        start_ns=marks.start_ns[kept],
        end_ns=marks.end_ns[kept],
        thread=int(marks.thread[kept[0]]),
        source=source,
    )


def _between_optimizer_steps(timeline: Timeline) -> HostSteps | None:
    """A step ends where an optimizer step ends; of several optimizers the one that steps least often.

    Optimizers that step inside backward (a hook per parameter) mark no steps.
    """
    marks, ops = timeline.marks, timeline.ops
    rows = np.flatnonzero(timeline.by_name(marks.name, is_optimizer_step, np.bool_))
    if len(rows) and len(ops):
        backward = timeline.by_name(ops.name, lambda name: name.startswith(EVALUATE_FUNCTION), np.bool_)
        _, inside = Nesting.of(ops).innermost(marks.thread[rows], marks.start_ns[rows], among=backward)
        rows = rows[~inside]
    names, counts = np.unique(marks.name[rows], return_counts=True)
    repeated = names[counts > 1]
    if not len(repeated):
        return None
    chosen = repeated[np.argmin(counts[counts > 1])]
    rows = rows[marks.name[rows] == chosen]
    ends = np.sort(marks.end_ns[rows])
    return HostSteps(
        label=tuple(f"step {index + 1}" for index in range(len(ends) - 1)),
        start_ns=ends[:-1],
        end_ns=ends[1:],
        thread=int(marks.thread[rows[0]]),
        source=timeline.names[chosen],
    )


def _repeated_annotations(timeline: Timeline) -> HostSteps | None:
    marks = timeline.marks
    span = timeline.end_ns - timeline.start_ns

    def family(name: str) -> str:
        return re.sub(r"\d+", "#", name)

    groups: dict[str, list[int]] = {}
    for row, name in enumerate(marks.name.tolist()):
        text = timeline.names[name]
        if not _is_of_a_library(text):
            groups.setdefault(family(text), []).append(row)
    for text, rows in sorted(groups.items(), key=lambda item: len(item[1])):
        steps = _in_order(timeline, np.array(rows), f'annotation "{text}"')
        if steps is None or len(steps) < 2 or len(steps) < len(rows):
            continue
        if np.sum(steps.end_ns - steps.start_ns) > REPEATED_COVER_FRACTION * span:
            return steps
    return None


def _is_of_a_library(name: str) -> bool:
    """Annotations that torch writes: collectives, compiled graphs, loaders, optimizers."""
    return (
        name.startswith(("nccl:", "gloo:", "##"))
        or is_data_loading(name)
        or is_zero_grad(name)
        or is_optimizer_step(name)
    )
