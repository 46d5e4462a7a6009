"""One colour for each cause and kind, the same in every chart; all are legible on white and on near-black."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["color_of"]

_COLORS: Mapping[str, str] = MappingProxyType(
    {
        # What a device can do with its time.
        "peak": "#6b7a90",
        "mfu": "#16a34a",
        "gain": "#7bbf86",
        "compute": "#2f9e8f",
        "communication": "#7c6fe0",
        "copy": "#3f8fd9",
        "idle_data_loading": "#e2632b",
        "idle_synchronization": "#d9468f",
        "idle_host": "#d99a0b",
        "idle_launch": "#a8825e",
        "idle_unexplained": "#6f7885",
        # Losses while kernels run.
        "recomputation": "#5f8f3f",
        "optimizer_matmul": "#7f9f2f",
        "precision": "#2f8fae",
        "clocks": "#b0605f",
        "matmul_inefficiency": "#3fae9f",
        "uncounted_kernels": "#6f9f9a",
        "other_kernels": "#1f7f8f",
        "profiler": "#9aa3af",
        # What a host thread does.
        "op": "#a3c8ec",
        "mark": "#cdd4dc",
        "launch": "#c9b458",
        "data loading": "#e2632b",
        "blocked": "#93307a",
        # Kinds of kernels that have a place of their own.
        "matmul": "#2f9e8f",
        "convolution": "#3f8fd9",
        "attention": "#d99a0b",
    }
)
_OTHERS = "#87909c"


def color_of(name: str) -> str:
    """Of a cause, a kind of time, or a kind of kernel; grey for what has none of its own."""
    return _COLORS.get(name, _OTHERS)
