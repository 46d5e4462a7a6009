"""The ``verify`` command: what a fix was predicted to give, and what it gave."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mfu_profiler.cli.output import (
    Target,
    check_targets,
    print_text,
    stdout_color,
    terminal_width,
    write_target,
)
from mfu_profiler.errors import OptionError, TraceError

if TYPE_CHECKING:
    from mfu_profiler.analysis.report import Report

__all__ = ["verify"]

_STDIN = "-"
_HINT = "verify reads traces, and reports made by:  report TRACE --json FILE"


def verify(
    before: Annotated[
        str, typer.Argument(metavar="BEFORE", help="Trace of the run before the fix, or its report as JSON.")
    ],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="The same of the run after it.")],
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write JSON; - prints it instead.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Check a prediction: which finding was fixed, the step time predicted, the one achieved, the error.

    Traces are read as `report` reads them; where that needs options, give the JSON it makes with them.
    """
    if before == after == _STDIN:
        raise OptionError("only one of BEFORE and AFTER can be standard input", "name a file for the other")
    target = Target("json", json)
    wanted = [target] if json is not None else []
    for path in (before, after):
        check_targets(wanted, trace=path, force=force)

    from mfu_profiler.analysis.verify import verifications
    from mfu_profiler.render.verify_view import render_verification, render_verification_json

    found = verifications(_reports(before), _reports(after))
    if json is not None:
        write_target(target, render_verification_json(found), force=force)
    if not target.is_stdout:
        print_text(render_verification(found, color=stdout_color(os.environ), width=terminal_width()))


def _reports(path: str) -> tuple[Report, ...]:
    """The reports of a trace, or those in a JSON file.

    Raises:
        TraceError: it is neither.

    """
    from mfu_profiler.analysis import analyze_all
    from mfu_profiler.cli.progress import reading_progress

    try:
        saved = _saved_reports(path)
        if saved is not None:
            return saved
        with reading_progress(path) as progress:
            return analyze_all(path, progress=progress)
    except TraceError as error:
        is_said = any("--json" in hint for hint in error.hints)
        raise type(error)(error.message, *error.hints, *([] if is_said else [_HINT])) from error


def _saved_reports(path: str) -> tuple[Report, ...] | None:
    """The reports in a JSON file, packed or not; None for anything else, which may be a trace.

    A pipe other than standard input can be read only once, so it is left to the reader of traces.
    """
    from mfu_profiler.analysis.saved import is_saved_report, saved_reports
    from mfu_profiler.trace.source import open_source

    peek = getattr(getattr(sys.stdin, "buffer", None), "peek", None)
    if path == _STDIN and (peek is None or not is_saved_report(peek())):
        return None
    if path != _STDIN and os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        return None
    with open_source(path) as source:
        blocks = source.blocks()
        head = next(blocks, b"")
        return saved_reports(b"".join([head, *blocks]), source.name) if is_saved_report(head) else None
