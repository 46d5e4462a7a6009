"""Reports as one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mfu_profiler.analysis.report import Report
from mfu_profiler.render.charts import Figure, figures
from mfu_profiler.render.html.document import document, frame
from mfu_profiler.render.html.tables import SortedTable, kernel_table, op_table
from mfu_profiler.render.names import shown_text
from mfu_profiler.render.page import Fact, Page
from mfu_profiler.render.pages import overview, page
from mfu_profiler.version import __version__

__all__ = ["figure_frame", "render_html", "report_frame"]

_FIGURE_HEIGHT = 460


@dataclass(frozen=True, slots=True)
class _View:
    """One report on the page."""

    page: Page
    lost_first: Fact | None
    figures: dict[str, Figure]
    ids: dict[str, str]
    """Of the element that holds each figure's specification."""
    kernels: SortedTable
    ops: SortedTable


def render_html(reports: Sequence[Report]) -> str:
    """The reports as a whole page; several get a summary table first."""
    views = [_view(report, number) for number, report in enumerate(reports, start=1)]
    specs = {view.ids[name]: figure.spec for view in views for name, figure in view.figures.items()}
    return document(
        "report.html.j2",
        specs,
        title=_title(views),
        source=", ".join(dict.fromkeys(shown_text(report.trace.path, 300) for report in reports)),
        overview=overview(reports),
        views=views,
        version=__version__,
    )


def report_frame(report: Report) -> str:
    """The page of one report for a notebook."""
    return frame(render_html([report]), "MFU report")


def figure_frame(figure: Figure) -> str:
    """One chart for a notebook."""
    alone = document("figure.html.j2", {"chart": figure.spec}, title=figure.title, figure=figure, id="chart")
    return frame(alone, figure.title, _FIGURE_HEIGHT)


def _view(report: Report, number: int) -> _View:
    made = figures(report)
    content = page(report, top=10)
    return _View(
        page=content,
        lost_first=_lost_first(content),
        figures=made,
        ids={name: f"report-{number}-{name}" for name in made},
        kernels=kernel_table(report.kernels),
        ops=op_table(report.ops),
    )


def _lost_first(content: Page) -> Fact | None:
    """The largest loss, and the first fix."""
    if not content.losses or content.losses[0].fraction <= 0:
        return None
    largest = content.losses[0]
    fix = f"first fix: {content.fixes[0].title}" if content.fixes else ""
    lines = (f"{largest.time} of a step", largest.detail, fix)
    return Fact(f"lost first: {largest.label} {largest.percent}", tuple(filter(None, lines)))


def _title(views: Sequence[_View]) -> str:
    if len(views) != 1:
        return f"MFU report: {len(views)} devices"
    first = views[0].page
    return f"{first.headline[0].label} · {first.heading}"
