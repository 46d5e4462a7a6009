"""Recording a run: ``track``, and what it needs. The only part of the package that imports torch.

Submodules are imported by what uses them; this one only names what is public.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfu_profiler.capture.run import Run, track

__all__ = ["Run", "track"]


def __getattr__(name: str) -> Any:
    """Late, so that a submodule without torch can be imported alone."""
    if name in __all__:
        return getattr(import_module("mfu_profiler.capture.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
