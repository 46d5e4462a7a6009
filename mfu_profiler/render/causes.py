"""The causes of lost time, as a reader who never saw them before is told them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["ENDS", "cause_words"]

ENDS = frozenset({"peak", "mfu"})
"""Rows of the waterfall that are no losses."""

_WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "recomputation": ("recomputation", "work done twice"),
        "optimizer_matmul": ("optimizer matmuls", "not the model's work"),
        "precision": ("precision", "not in the peak's precision"),
        "clocks": ("clocks", "not the datasheet's clock"),
        "matmul_inefficiency": ("matmul inefficiency", "slower than the peak"),
        "uncounted_kernels": ("uncounted kernels", "their FLOP are unknown"),
        "other_kernels": ("other kernels", "kernels without matmuls"),
        "compute": ("compute", "kernels run"),
        "communication": ("exposed communication", "no compute beside it"),
        "copy": ("exposed copy", "no kernel beside it"),
        "idle_data_loading": ("data loading", "idle: waits for a batch"),
        "idle_synchronization": ("synchronization", "idle: host waited on it"),
        "idle_host": ("host-bound", "idle: launch came late"),
        "idle_launch": ("launch latency", "idle: launch under way"),
        "idle_unexplained": ("unexplained", "idle: no cause in trace"),
        "profiler": ("profiler", "profiled steps differ"),
    }
)
"""Cause (design.md, section 6) -> its label and what it means. ``idle`` is the device's."""


def cause_words(cause: str) -> tuple[str, str]:
    """Label and meaning of a cause; an unknown one is its own label and means what it says."""
    return _WORDS.get(cause, (cause.replace("_", " "), ""))
