"""A comparison of runs as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mfu_profiler.analysis.comparing.comparison import Comparison
from mfu_profiler.analysis.gate import GateResult
from mfu_profiler.render.charts.difference import difference_figure
from mfu_profiler.render.comparing.page import ComparePage, compare_document
from mfu_profiler.render.comparing.rows import CAUSE_COLUMNS, ChangeTable
from mfu_profiler.render.html.document import document
from mfu_profiler.render.names import fitted, fitted_names
from mfu_profiler.version import __version__

__all__ = ["render_comparison_html"]

_MOST_ROWS = 100
"""Of each table; a page has room for more than a terminal."""
_NAME_WIDTH = 120


def render_comparison_html(found: Comparison, results: Sequence[GateResult] = ()) -> str:
    """The comparison as a whole page.

    Args:
        found: two runs are a section for each rank and device, more are a table.
        results: of the gate, where there is one.

    """
    content = compare_document(found, results, _MOST_ROWS)
    figures = [difference_figure(pair) for pair in found.pairs][: len(content.pages)]
    ids = [f"difference-{number}" for number in range(1, len(figures) + 1)]
    return document(
        "compare.html.j2",
        {name: figure.spec for name, figure in zip(ids, figures, strict=True) if figure is not None},
        title=f"{len(found.names)} runs compared",
        content=content,
        pages=list(zip(map(_fitted, content.pages), figures, ids, strict=True)),
        cause_columns=CAUSE_COLUMNS,
        version=__version__,
    )


def _fitted(page: ComparePage) -> ComparePage:
    """The page with the names of its tables cut to what a column holds."""

    def cut(table: ChangeTable) -> ChangeTable:
        names = [line.name for line in table.lines]
        if table.kind == "op":  # ops of one name differ by their shapes; kernels need a number
            names = [fitted(name, _NAME_WIDTH) for name in names]
        else:
            names = fitted_names(names, _NAME_WIDTH)
        lines = tuple(replace(line, name=name) for line, name in zip(table.lines, names, strict=True))
        return replace(table, lines=lines)

    return replace(page, ops=cut(page.ops), kernels=cut(page.kernels))
