"""The hidden ``finish-live`` command: what a live run hands over becomes a trace and a report.

It runs in a process beside the training, and imports no torch.
"""

from __future__ import annotations

import json
import sys
import time
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
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard scalars and text.")] = None,
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
    if tensorboard is not None:
        _write_tensorboard(reports[0], tensorboard, trace)
    print_text(render_terminal(reports, color=False))


def _write_tensorboard(report: Report, folder: Path, trace: Path) -> None:
    """Scalars and text; where TensorBoard is not installed, one line says so."""
    from mfu_profiler.errors import OptionError
    from mfu_profiler.render.tensorboard import event_file_name, render_tensorboard

    now_s = time.time()
    try:
        content = render_tensorboard(report, wall_time_s=now_s)
        folder.mkdir(exist_ok=True)
        write_whole(str(folder / event_file_name(now_s, trace.name.split(".")[0])), content)
    except (OptionError, OSError) as error:
        print_error(f"no TensorBoard scalars: {error}")
        sys.stderr.flush()
