"""What pages for a terminal are built of: headings, and labels with lines beside them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mfu_profiler.render.page import Fact

__all__ = ["GAP", "facts_table", "print_heading"]

GAP = 2
"""Cells between columns."""


def print_heading(console: Console, heading: str, aside: str = "") -> None:
    """An empty line and a heading; ``aside`` stands at the right edge."""
    space = " " * max(1, console.width - cell_len(heading) - cell_len(aside))
    console.print()
    console.print(Text.assemble((heading, "bold"), space if aside else "", (aside, "dim")))


def facts_table(facts: Sequence[Fact], *, bold_labels: bool) -> Table:
    """Labels and, beside them, lines that wrap under themselves."""
    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    table.add_column(width=0, no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for fact in facts:
        style = "bold red" if fact.alarm else "bold" if bold_labels else ""
        for index, line in enumerate(fact.lines):
            table.add_row("", Text(fact.label if index == 0 else "", style=style), Text(line))
    return table
