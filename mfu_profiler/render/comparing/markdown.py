"""What ``compare`` found as GitHub Markdown: the same words as on the terminal, names from traces inert."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mfu_profiler.analysis.comparing.comparison import Comparison
from mfu_profiler.analysis.gate import GateResult
from mfu_profiler.render.comparing.page import ComparePage, compare_document
from mfu_profiler.render.comparing.rows import CAUSE_COLUMNS, ChangeTable
from mfu_profiler.render.markdown import code_span, escaped, facts_list, markdown_table
from mfu_profiler.render.names import fitted, fitted_names, shown_text

__all__ = ["render_comparison_markdown"]

_NAME_WIDTH = 80
_SHAPES_WIDTH = 120


def render_comparison_markdown(
    found: Comparison, results: Sequence[GateResult] = (), *, top: int = 10
) -> str:
    """The comparison as one document.

    Args:
        found: two runs are a page for each rank and device, more are a table.
        results: of the gate, where there is one.
        top: how many ops and kernels a page lists.

    """
    document = compare_document(found, results, top)
    blocks: list[str] = []
    if document.overview is not None:
        overview = document.overview
        rows = [[escaped(cell) for cell in row] for row in overview.rows]
        blocks += [f"## {escaped(overview.heading)}", _table(overview.columns, "lrrrrll", rows)]
        blocks += _prose([document.overview_note])
    for page in document.pages:
        blocks += _page_blocks(page)
    if document.gate:
        blocks += [f"### {escaped(document.gate_heading)}", facts_list(document.gate)]
    blocks += [f"### {escaped(document.runs_heading)}", facts_list(document.runs)]
    return "\n\n".join(blocks) + "\n"


def _page_blocks(page: ComparePage) -> list[str]:
    blocks = [f"## {escaped(page.heading)}", f"**{escaped(page.sentence)}**", facts_list(page.headline)]
    if page.causes or page.causes_note:
        blocks.append(f"### {escaped(page.causes_heading)}")
    if page.causes:
        rows = [
            [
                *(escaped(cell) for cell in (line.label, line.before, line.after, line.change)),
                *(escaped(cell) for cell in (line.share_a, line.share_b, line.points)),
            ]
            for line in page.causes
        ]
        blocks.append(_table(CAUSE_COLUMNS, "lrrrrrr", rows))
    blocks += _prose([page.causes_note])
    if page.findings:
        blocks += [f"### {escaped(page.findings_heading)}", facts_list(page.findings)]
    for table in (page.ops, page.kernels):
        if table.lines or table.notes:
            blocks += [f"### {escaped(table.heading)}", *_changes(table), *_prose(table.notes)]
    if page.setting:
        blocks += [f"### {escaped(page.setting_heading)}", facts_list(page.setting)]
    return blocks


def _changes(table: ChangeTable) -> list[str]:
    with_shapes = any(line.shapes for line in table.lines)
    shown = [line.name for line in table.lines]
    # Ops are told apart by their shapes.
    names = [fitted(one, _NAME_WIDTH) for one in shown] if with_shapes else fitted_names(shown, _NAME_WIDTH)
    rows = []
    for name, line in zip(names, table.lines, strict=True):
        shapes = [code_span(shown_text(line.shapes, _SHAPES_WIDTH))] if with_shapes else []
        cells = (line.before, line.after, line.change, line.calls, line.fate)
        rows.append([code_span(name), *shapes, *(escaped(cell) for cell in cells)])
    columns = (table.kind, *(["shapes"] if with_shapes else []), "A", "B", "change", "calls", "")
    alignment = f"{'ll' if with_shapes else 'l'}rrrrl"
    return [_table(columns, alignment, rows)] if rows else []


def _prose(lines: Iterable[str]) -> list[str]:
    return [escaped(line) for line in lines if line]


def _table(columns: Sequence[str], alignment: str, rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are Markdown already."""
    return markdown_table(columns, alignment, rows, raw=frozenset(range(len(columns))))
