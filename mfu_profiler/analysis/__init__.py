"""Pure functions from a timeline to a ``Report``. Nothing here prints, plots or imports torch."""

from mfu_profiler.analysis.analyze import analyze, analyze_all
from mfu_profiler.analysis.report import Report

__all__ = ["Report", "analyze", "analyze_all"]
