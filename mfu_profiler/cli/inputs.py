"""What a command reads: traces, and reports that were saved as JSON."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from mfu_profiler.errors import TraceError

if TYPE_CHECKING:
    from mfu_profiler.analysis.report import Report

__all__ = ["STDIN", "read_reports", "read_saved_reports"]

STDIN = "-"


def read_reports(path: str, command: str) -> tuple[Report, ...]:
    """The reports of a trace, read with ``report``'s defaults, or those in a JSON file.

    Args:
        path: a file, a folder, or ``-``.
        command: that reads, for errors.

    Raises:
        TraceError: it is neither.

    """
    from mfu_profiler.analysis import analyze_all
    from mfu_profiler.cli.progress import reading_progress

    try:
        saved = read_saved_reports(path)
        if saved is not None:
            return saved
        with reading_progress(path) as progress:
            return analyze_all(path, progress=progress)
    except TraceError as error:
        is_said = any("--json" in hint for hint in error.hints)
        hint = f"{command} reads traces, and reports made by:  report TRACE --json FILE"
        raise type(error)(error.message, *error.hints, *([] if is_said else [hint])) from error


def read_saved_reports(path: str, max_byte: int | None = None) -> tuple[Report, ...] | None:
    """The reports in a JSON file, packed or not; None for anything else, which may be a trace.

    A pipe other than standard input can be read only once, so it is left to the reader of traces.

    Raises:
        TraceError: a report that cannot be read; a file that no reader could read.

    """
    from mfu_profiler.analysis.saved import is_saved_report, saved_reports
    from mfu_profiler.trace.source import open_source

    peek = getattr(getattr(sys.stdin, "buffer", None), "peek", None)
    if path == STDIN and (peek is None or not is_saved_report(peek())):
        return None
    if path != STDIN and not (os.path.isfile(path) or os.path.isdir(path)):
        return None
    with open_source(path, max_byte) as source:
        blocks = source.blocks()
        head = next(blocks, b"")
        return saved_reports(b"".join([head, *blocks]), source.name) if is_saved_report(head) else None
