"""The causes of lost time, as a reader who never saw them before is told them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["PARTITION_LABELS", "cause_label", "cause_meaning"]

_MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "recomputation": "work done twice",
        "optimizer matmuls": "not the model's work",
        "precision": "not in the peak's precision",
        "clocks": "clock under the datasheet's",
        "matmul inefficiency": "slower than the peak",
        "other kernels": "kernels without matmuls",
        "compute": "kernels run",
        "exposed communication": "no compute beside it",
        "exposed copy": "no kernel beside it",
        "data loading": "idle: waits for a batch",
        "synchronization": "idle: host waited on it",
        "host-bound": "idle: launch came late",
        "launch latency": "idle: launch under way",
        "unexplained": "idle: no cause in trace",
        "profiler": "cost of recording",
    }
)
"""Cause (design.md, section 6) -> what it means in a few words. ``idle`` is the device's."""

PARTITION_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "compute": "compute",
        "communication": "exposed communication",
        "copy": "exposed copy",
        "idle_data_loading": "data loading",
        "idle_synchronization": "synchronization",
        "idle_host": "host-bound",
        "idle_launch": "launch latency",
        "idle_unexplained": "unexplained",
    }
)
"""Field of ``Partition`` -> its cause's label."""

_NOT_LOSSES = frozenset({"peak", "mfu"})


def cause_label(cause: str) -> str | None:
    """``exposed_communication`` -> ``exposed communication``; None for the ends of the waterfall."""
    label = cause.replace("_", " ")
    label = "host-bound" if label == "host bound" else label
    return None if label.lower() in _NOT_LOSSES else label


def cause_meaning(label: str) -> str:
    """A few words, or nothing for a cause that this table does not know."""
    return _MEANINGS.get(label.removeprefix("idle: "), "")
