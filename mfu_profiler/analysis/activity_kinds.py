"""Which activities compute, communicate or copy, and what kind of kernel each is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.attribution import Attribution
from mfu_profiler.trace.host_calls import is_collective_op
from mfu_profiler.trace.kernel_kinds import KERNEL_KINDS, kernel_kind
from mfu_profiler.trace.timeline import KERNEL, Timeline

__all__ = ["ActivityKinds", "activity_kinds"]

Bool = npt.NDArray[np.bool_]
Int8 = npt.NDArray[np.int8]

_COMMUNICATION = KERNEL_KINDS.index("communication")
_UNTOLD = [KERNEL_KINDS.index(kind) for kind in ("other",)]


@dataclass(frozen=True, slots=True)
class ActivityKinds:
    """Masks over ``Timeline.activities``; each activity is exactly one of the three."""

    is_compute: Bool
    is_communication: Bool
    is_copy: Bool
    """memcpy and memset."""
    kernel_kind: Int8
    """Index into ``KERNEL_KINDS``; of no meaning where ``is_copy``."""


def activity_kinds(timeline: Timeline, joined: Attribution) -> ActivityKinds:
    """Classify activities: communication by what the trace says first, by kernel name second.

    A kernel communicates if its event names a collective, if its name does, or if its name says nothing and
    it was launched inside a collective's record (``record_param_comms``): the casts and copies which a
    collective's wrapper launches keep their own kind.
    """
    activities = timeline.activities
    is_kernel = activities.kind == KERNEL
    kind = timeline.by_name(activities.name, lambda name: KERNEL_KINDS.index(kernel_kind(name)), np.int8)
    in_collective = np.zeros(len(activities), np.bool_)
    if len(timeline.ops):
        collective_op = timeline.by_name(timeline.ops.name, is_collective_op, np.bool_)
        in_collective = joined.has_op & collective_op[joined.op]
    told = activities.is_collective | (kind == _COMMUNICATION)
    communicates = is_kernel & (told | (in_collective & np.isin(kind, _UNTOLD)))
    kind = np.where(communicates, np.int8(_COMMUNICATION), kind)
    return ActivityKinds(
        is_compute=is_kernel & ~communicates,
        is_communication=communicates,
        is_copy=~is_kernel,
        kernel_kind=kind.astype(np.int8),
    )
