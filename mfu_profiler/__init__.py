"""Profiler-driven MFU diagnostics for PyTorch: how much of the machine training uses, and why not more.

::

    with mfu_profiler.track(model):                      # one line around a training loop
        for batch in loader: train_step(batch)

    report = mfu_profiler.analyze("trace.json.gz")       # or any torch.profiler trace
    report.mfu, report.partition, report.findings

Names are imported when first used, so that ``python -m mfu_profiler --help`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfu_profiler.analysis import Report, analyze, analyze_all
    from mfu_profiler.capture import Run, track
    from mfu_profiler.errors import MfuProfilerError

from mfu_profiler.version import __version__

__all__ = ["MfuProfilerError", "Report", "Run", "__version__", "analyze", "analyze_all", "track"]

_HOMES = {
    "MfuProfilerError": "mfu_profiler.errors",
    "Report": "mfu_profiler.analysis",
    "Run": "mfu_profiler.capture",
    "analyze": "mfu_profiler.analysis",
    "analyze_all": "mfu_profiler.analysis",
    "track": "mfu_profiler.capture",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError(f"mfu_profiler.{name} needs torch: pip install torch") from error


def __dir__() -> list[str]:
    return sorted(__all__)
