"""What each fix would take away from the steps of a trace."""

from mfu_profiler.analysis.fixes.in_series import InSeries
from mfu_profiler.analysis.fixes.reliefs import Fixes, fixes_of
from mfu_profiler.analysis.fixes.steps import Steps

__all__ = ["Fixes", "InSeries", "Steps", "fixes_of"]
