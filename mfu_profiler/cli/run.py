"""The ``run`` command: an unchanged training script, tracked. What it runs and how: ``script``."""

from __future__ import annotations

import os
from enum import Enum
from typing import Annotated, Any

import typer

from mfu_profiler.cli.script import Script
from mfu_profiler.errors import OptionError

__all__ = ["ReportWhen", "run"]


class ReportWhen(str, Enum):
    """When the report is made."""

    now = "now"
    exit = "exit"
    never = "never"


def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCRIPT [ARGS]...", help="A training script and its arguments."),
    ] = None,
    is_module: Annotated[
        bool, typer.Option("-m", help="SCRIPT is a module or package, as for python -m.")
    ] = False,
    out: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Traces and TensorBoard files; default: mfu_traces.")
    ] = None,
    warmup: Annotated[int, typer.Option(metavar="N", help="Steps before anything is timed.")] = 5,
    timed: Annotated[int, typer.Option(metavar="N", help="Steps that are only timed.")] = 15,
    active: Annotated[int, typer.Option(metavar="N", help="Steps that are profiled.")] = 5,
    report: Annotated[ReportWhen, typer.Option(help="When to report.")] = ReportWhen.now,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Device name instead of the driver's.")
    ] = None,
    precision: Annotated[str | None, typer.Option(metavar="P", help="Precision of the peak.")] = None,
    peak_tflops: Annotated[float | None, typer.Option(metavar="X", help="Dense peak in TFLOP/s.")] = None,
    flop_per_step: Annotated[float | None, typer.Option(metavar="X", help="Model FLOP of a step.")] = None,
    with_stack: Annotated[bool, typer.Option("--with-stack", help="Record Python stacks.")] = False,
    profile_memory: Annotated[bool, typer.Option("--profile-memory", help="Record allocations.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print neither report nor closing line.")] = False,
) -> Script:
    """Run an unchanged script and report on it: run [OPTIONS] train.py ARGS..., or -m package ARGS."""
    if not words:
        raise OptionError("no script given", "try:  run train.py ARGS...", "or:   run -m package ARGS...")
    settings = {
        "out": out,
        "warmup": warmup,
        "timed": timed,
        "active": active,
        "report": report.value,
        "device": device,
        "precision": precision.lower() if precision else None,
        "peak_tflops": peak_tflops,
        "flop_per_step": flop_per_step,
        "with_stack": with_stack,
        "profile_memory": profile_memory,
        "quiet": quiet,
    }
    _check(settings)
    if not is_module and os.path.isdir(words[0]):
        script = os.path.join(
            words[0], "__main__.py" if os.path.isfile(os.path.join(words[0], "__main__.py")) else "..."
        )
        raise OptionError(f"{words[0]!r} is a folder.", f"python -m mfu_profiler run {script}")
    if not is_module and not os.path.isfile(words[0]):
        raise OptionError(f"can't open {words[0]!r}: no such file", "our own options stand before the script")
    return Script(tuple(words), is_module, settings)


def _check(settings: dict[str, Any]) -> None:
    """Bad options fail before the script runs; nothing of torch is imported for that."""
    from mfu_profiler.capture.settings import Settings

    Settings(**settings)
