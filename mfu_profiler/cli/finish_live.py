"""The hidden ``finish-live`` command: what a live run hands over becomes a trace and a report.

It runs in a process beside the training, and imports no torch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfu_profiler.cli.output import Target, print_error, print_text, write_target, write_whole

if TYPE_CHECKING:
    from mfu_profiler.analysis.report import Report

__all__ = ["finish_live"]


def finish_live(
    raw: Annotated[Path, typer.Argument(help="Trace as torch exported it.")],
    live: Annotated[Path, typer.Argument(help="JSON of what only the live process knew.")],
    trace: Annotated[Path, typer.Argument(help="Where the whole trace goes.")],
    json_path: Annotated[Path | None, typer.Option("--json", help="Where the report goes as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="Where the report goes as a page.")] = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's event files.")] = None,
) -> None:
    """Write the trace of a live run whole, and report on it. Used by ``track``."""
    from mfu_profiler.trace.live_file import write_live_trace

    write_live_trace(raw, json.loads(live.read_text(encoding="utf-8")), trace)
    raw.unlink(missing_ok=True)
    live.unlink(missing_ok=True)
    if json_path is None:
        return
    from mfu_profiler.analysis import analyze_all
    from mfu_profiler.render import render_json, render_terminal

    reports = analyze_all(trace)
    write_target(Target("json", str(json_path)), render_json(reports), force=True)
    if html is not None:
        _write_page(reports, html)
    events = None if tensorboard is None else _write_scalars(reports[0], tensorboard, trace)
    try:
        print_text(render_terminal(reports, color=False))
    finally:  # last: where address space is short, drawing ends the process
        if events is not None:
            _write_images(reports[0], events)


@dataclass(frozen=True, slots=True)
class _Events:
    """The event file of the scalars."""

    path: Path
    wall_time_s: float


def _write_page(reports: Sequence[Report], path: Path) -> None:
    try:
        from mfu_profiler.render.html import render_html

        write_whole(str(path), render_html(reports).encode())
    except Exception as error:  # whatever is wrong with the page, trace and JSON are there and text follows
        _say(f"no page {path.name}", error)


def _write_scalars(report: Report, folder: Path, trace: Path) -> _Events | None:
    """Scalars and text; where TensorBoard is not installed, one line says so."""
    from mfu_profiler.errors import OptionError
    from mfu_profiler.render.tensorboard import event_file_name, render_tensorboard

    now_s = time.time()
    try:
        content = render_tensorboard(report, wall_time_s=now_s)
        folder.mkdir(exist_ok=True)
        events = _Events(folder / event_file_name(now_s, trace.name.split(".")[0]), now_s)
        write_whole(str(events.path), content)
    except (OptionError, OSError) as error:
        _say("no TensorBoard scalars", error)
        return None
    return events


def _write_images(report: Report, events: _Events) -> None:
    """A file whose name follows that of the scalars: TensorBoard reads files in that order."""
    from mfu_profiler.render.tensorboard_images import render_tensorboard_images

    try:
        content = render_tensorboard_images(report, wall_time_s=events.wall_time_s)
        if content is not None:
            write_whole(f"{events.path}.images", content)
    except Exception as error:  # whatever the package that draws raises; all else is written
        _say("no TensorBoard images", error)


def _say(what: str, error: Exception) -> None:
    print_error(f"{what}: {' '.join(str(error).split())}")
