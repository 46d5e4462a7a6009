"""The charts of a report, each a pure function ``Report -> Figure | None``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from mfu_profiler.analysis.report import Report
from mfu_profiler.render.charts.figure import Figure
from mfu_profiler.render.charts.hardware import hardware_figure
from mfu_profiler.render.charts.modules import modules_figure
from mfu_profiler.render.charts.roofline import roofline_figure
from mfu_profiler.render.charts.steps import steps_figure
from mfu_profiler.render.charts.timeline import timeline_figure
from mfu_profiler.render.charts.waterfall import waterfall_figure

__all__ = ["FIGURES", "Figure", "figures"]

FIGURES: Mapping[str, Callable[[Report], Figure | None]] = MappingProxyType(
    {
        "waterfall": waterfall_figure,
        "steps": steps_figure,
        "timeline": timeline_figure,
        "roofline": roofline_figure,
        "modules": modules_figure,
        "hardware": hardware_figure,
    }
)
"""In the order of a page."""


def figures(report: Report) -> dict[str, Figure]:
    """The charts for which the report holds what they need, by name, in the order of a page."""
    made = {name: make(report) for name, make in FIGURES.items()}
    return {name: figure for name, figure in made.items() if figure is not None}
