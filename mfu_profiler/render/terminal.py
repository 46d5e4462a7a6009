"""Reports for a terminal: never wider than asked, and without colour the same words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mfu_profiler.analysis.report import Report
from mfu_profiler.render.bars import bar
from mfu_profiler.render.console import LEAST_WIDTH, new_console, written_text
from mfu_profiler.render.console_parts import GAP, facts_table, print_heading
from mfu_profiler.render.names import fitted, fitted_names
from mfu_profiler.render.page import Fix, KernelLine, Loss, Overview, Page
from mfu_profiler.render.pages import overview, page

__all__ = ["render_terminal"]

_BAR_WIDTH = 13
_FULL_BAR_FRACTION = 0.2
"""A full bar is at least this share, so that the largest of small losses does not look large."""
_INDENT = 2
_LEAST_NAME_WIDTH = 12


def render_terminal(reports: Sequence[Report], *, color: bool, width: int = 80, top: int = 10) -> str:
    """The reports as text of at most ``max(width, 60)`` columns.

    Args:
        reports: in the order in which they are shown; several get a summary table first.
        color: whether to write ANSI colour codes.
        width: columns of the terminal.
        top: how many kernels each report lists.

    """
    console = new_console(color=color, width=max(width, LEAST_WIDTH))
    summary = overview(reports)
    if summary is not None:
        _print_overview(console, summary)
    for report in reports:
        _print_page(console, page(report, top), with_heading=summary is not None)
    return written_text(console)


def _print_page(console: Console, content: Page, *, with_heading: bool) -> None:
    if with_heading:
        print_heading(console, fitted(f"── {content.heading} ──", console.width))
    console.print(facts_table(content.headline, bold_labels=True))
    print_heading(console, content.losses_heading)
    if content.losses:
        console.print(_losses(content.losses))
    _print_note(console, content.losses_note)
    if content.losses_details:
        console.print(facts_table(content.losses_details, bold_labels=False))
    if content.fixes or content.fixes_note:
        print_heading(console, content.fixes_heading, content.fixes_aside)
        if content.fixes:
            console.print(_fixes(content.fixes))
        _print_note(console, content.fixes_ladder)
        _print_note(console, content.fixes_note)
    if content.options:
        print_heading(console, content.options_heading)
        console.print(facts_table(content.options, bold_labels=False))
    if content.kernels:
        print_heading(console, content.kernels_heading)
        console.print(_kernels(content.kernels, content.rate_unit, console.width))
    print_heading(console, content.provenance_heading)
    console.print(facts_table(content.provenance, bold_labels=False))


def _print_note(console: Console, note: str) -> None:
    if note:
        table = _grid("")
        table.add_row("", Text(note, style="dim"))
        console.print(table)


def _grid(*justify: str) -> Table:
    """A borderless table, indented; the column named ``""`` takes what is left and wraps."""
    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    table.add_column(width=0, no_wrap=True)
    for side in justify:
        if side:
            table.add_column(justify="right" if side == "right" else "left", no_wrap=True)
        else:
            table.add_column(overflow="fold")
    return table


def _losses(losses: Sequence[Loss]) -> Table:
    table = _grid("left", "left", "right", "right", "")
    full = max(_FULL_BAR_FRACTION, *(abs(loss.fraction) for loss in losses))
    for loss in losses:
        drawn = bar(loss.fraction, full, _BAR_WIDTH)
        table.add_row(
            "",
            Text(loss.label),
            Text(drawn, style="green" if loss.fraction < 0 else "yellow"),
            Text(loss.percent, style="bold"),
            Text(loss.time),
            Text(loss.detail, style="dim"),
        )
    return table


def _fixes(fixes: Sequence[Fix]) -> Table:
    table = _grid("right", "", "right")
    table.columns[2].ratio = 1
    table.expand = True
    for number, fix in enumerate(fixes, start=1):
        table.add_row("", Text(str(number)), Text(fix.title, style="bold"), Text(fix.share, style="bold"))
        if fix.gain:
            table.add_row("", "", Text(fix.gain), "")
        for line in fix.evidence:
            table.add_row("", "", Text(line, style="dim"), "")
        for line in fix.advice:
            table.add_row("", "", Text(f"→ {line}", style="cyan"), "")
    return table


def _kernels(kernels: Sequence[KernelLine], unit: str, width: int) -> Text:
    """Rows laid out by hand, because a kernel's origin runs under the whole row."""
    cells = [("kind", "calls", "time", unit, "of peak")]
    cells += [(line.kind, line.calls, line.time, line.rate, line.of_peak) for line in kernels]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    name_width = max(_LEAST_NAME_WIDTH, width - _INDENT - sum(widths) - GAP * len(widths))
    names = ["kernel", *fitted_names([line.name for line in kernels], name_width)]
    text = Text(no_wrap=True, overflow="crop")
    for index, (name, row) in enumerate(zip(names, cells, strict=True)):
        padded = [_padded(row[0], widths[0]), *map(_padded_left, row[1:], widths[1:])]
        line = (" " * GAP).join([_padded(name, name_width), *padded])
        text.append(f"{' ' * _INDENT}{line}\n", style="dim" if index == 0 else "")
        if index > 0 and kernels[index - 1].origin:
            origin = fitted(kernels[index - 1].origin, width - 2 * _INDENT)
            text.append(f"{' ' * 2 * _INDENT}{origin}\n", style="dim")
    text.rstrip()
    return text


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _padded_left(text: str, width: int) -> str:
    return " " * (width - cell_len(text)) + text


def _print_overview(console: Console, summary: Overview) -> None:
    print_heading(console, summary.heading)
    if not summary.rows:
        return
    table = _grid(*(["right"] * len(summary.columns)))
    table.add_row("", *(Text(title, style="dim") for title in summary.columns))
    for row in summary.rows:
        table.add_row("", *(Text(cell) for cell in row))
    console.print(table)
