"""What ``compare`` found, for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mfu_profiler.analysis.comparing.comparison import Comparison
from mfu_profiler.analysis.gate import GateResult
from mfu_profiler.render.comparing.page import CompareDocument, ComparePage, compare_document
from mfu_profiler.render.comparing.rows import CAUSE_COLUMNS, CauseLine, ChangeLine, ChangeTable
from mfu_profiler.render.console import LEAST_WIDTH, new_console, written_text
from mfu_profiler.render.console_parts import GAP, facts_table, print_heading
from mfu_profiler.render.names import fitted, fitted_names
from mfu_profiler.render.page import Overview
from mfu_profiler.render.plain_json import plain_json

__all__ = ["render_comparison", "render_comparison_json"]

_LEAST_NAME_WIDTH = 12
_TABLE_COLUMNS = ("A", "B", "change", "calls", "")


def render_comparison_json(found: Comparison) -> str:
    """The fields of ``Comparison``, with every op and kernel that differs; unknown is ``null``."""
    return plain_json(found)


def render_comparison(
    found: Comparison, results: Sequence[GateResult] = (), *, color: bool, width: int = 80, top: int = 10
) -> str:
    """The comparison as text of at most ``max(width, 60)`` columns.

    Args:
        found: two runs are a page for each rank and device, more are a table.
        results: of the gate, where there is one.
        color: whether to write ANSI colour codes.
        width: columns of the terminal.
        top: how many ops and kernels a page lists.

    """
    console = new_console(color=color, width=max(width, LEAST_WIDTH))
    document = compare_document(found, results, top)
    if document.overview is not None:
        _print_overview(console, document, document.overview)
    for page in document.pages:
        _print_page(console, page, with_heading=document.overview is not None)
    if document.gate:
        print_heading(console, document.gate_heading)
        console.print(facts_table(document.gate, bold_labels=True))
    print_heading(console, document.runs_heading)
    console.print(facts_table(document.runs, bold_labels=True))
    return written_text(console)


def _print_page(console: Console, page: ComparePage, *, with_heading: bool) -> None:
    if with_heading:
        print_heading(console, fitted(f"── {page.heading} ──", console.width))
    console.print(_indented(page.sentence, "bold"))
    console.print()
    console.print(facts_table(page.headline, bold_labels=True))
    if page.causes or page.causes_note:
        print_heading(console, page.causes_heading, "per step" if page.causes else "")
        if page.causes:
            console.print(_causes(page.causes))
        _print_notes(console, [page.causes_note])
    if page.findings:
        print_heading(console, page.findings_heading, "share of the step")
        console.print(facts_table(page.findings, bold_labels=False))
    for table in (page.ops, page.kernels):
        if table.lines or table.notes:
            print_heading(console, table.heading, "largest change first, per step")
            console.print(_changes(table, console.width))
            _print_notes(console, table.notes)
    if page.setting:
        print_heading(console, page.setting_heading, "A → B")
        console.print(facts_table(page.setting, bold_labels=False))


def _print_notes(console: Console, notes: Sequence[str]) -> None:
    for note in filter(None, notes):
        console.print(_indented(note, "dim"))


def _indented(line: str, style: str) -> Table:
    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    table.add_column(width=0, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("", Text(line, style=style))
    return table


def _causes(lines: Sequence[CauseLine]) -> Table:
    """The causes; the last line is the step."""
    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    table.add_column(width=0, no_wrap=True)
    for index in range(len(CAUSE_COLUMNS)):
        table.add_column(justify="right" if index else "left", no_wrap=index == 0, overflow="fold")
    table.add_row("", *(Text(title, style="dim") for title in CAUSE_COLUMNS))
    for line in lines:
        table.add_row(
            "",
            Text(line.label, style="bold" if line is lines[-1] else ""),
            *(Text(line.before), Text(line.after), Text(line.change, style=_change_style(line.change_s))),
            *(Text(share, style="dim") for share in (line.share_a, line.share_b, line.points)),
        )
    return table


def _change_style(change_s: float) -> str:
    return "bold green" if change_s < 0 else "bold yellow"


def _changes(table: ChangeTable, width: int) -> Text:
    """Rows laid out by hand, because the shapes of an op run under the whole row."""
    cells = [_TABLE_COLUMNS, *(_cells(line) for line in table.lines)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    name_width = max(_LEAST_NAME_WIDTH, width - GAP - sum(widths) - GAP * len(widths))
    shown = [line.name for line in table.lines]
    # Ops are told apart by their shapes.
    fit = (
        fitted_names(shown, name_width)
        if table.kind == "kernel"
        else [fitted(one, name_width) for one in shown]
    )
    names = [table.kind, *fit]
    text = Text(no_wrap=True, overflow="crop")
    for index, (name, row) in enumerate(zip(names, cells, strict=True)):
        padded = [f"{' ' * (size - cell_len(cell))}{cell}" for cell, size in zip(row, widths, strict=True)]
        padded[-1] = row[-1]
        first = name + " " * (name_width - cell_len(name))
        line = (" " * GAP).join(["", first, *padded]).rstrip()
        text.append(f"{fitted(line, width)}\n", style="dim" if index == 0 else "")
        if index > 0 and table.lines[index - 1].shapes:
            shapes = fitted(table.lines[index - 1].shapes, width - 2 * GAP)
            text.append(f"{' ' * 2 * GAP}{shapes}\n", style="dim")
    text.rstrip()
    return text


def _cells(line: ChangeLine) -> tuple[str, ...]:
    return line.before, line.after, line.change, line.calls, line.fate


def _print_overview(console: Console, document: CompareDocument, overview: Overview) -> None:
    print_heading(console, overview.heading)
    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    table.add_column(width=0, no_wrap=True)
    for index, title in enumerate(overview.columns):
        is_text = title in ("run", "largest loss", "against A")
        table.add_column(justify="left" if is_text else "right", no_wrap=index == 0, overflow="fold")
    table.add_row("", *(Text(title, style="dim") for title in overview.columns))
    for row in overview.rows:
        table.add_row("", *(Text(cell) for cell in row))
    console.print(table)
    _print_notes(console, [document.overview_note])
