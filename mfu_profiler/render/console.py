"""The console that pages for a terminal are written on, and the text that then stands on it."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

__all__ = ["LEAST_WIDTH", "new_console", "written_text"]

LEAST_WIDTH = 60
"""Below this tables have no room; a narrower terminal wraps the lines itself."""


def new_console(*, color: bool, width: int) -> Console:
    """One that interprets nothing in what is written: names come from traces.

    Args:
        color: whether to write ANSI colour codes.
        width: columns.

    """
    return Console(
        file=StringIO(),
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )


def written_text(console: Console) -> str:
    """What was written, without blanks at the ends of lines and empty lines around it."""
    written = console.file
    assert isinstance(written, StringIO)
    return "\n".join(line.rstrip() for line in written.getvalue().strip("\n").split("\n")) + "\n"
