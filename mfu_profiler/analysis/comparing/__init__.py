"""Runs held against one another: which ranks belong together, how long their steps are, and what differs."""

from __future__ import annotations

from mfu_profiler.analysis.comparing.compare import comparison
from mfu_profiler.analysis.comparing.comparison import Comparison, PairComparison

__all__ = ["Comparison", "PairComparison", "comparison"]
