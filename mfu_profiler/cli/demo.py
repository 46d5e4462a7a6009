"""The ``demo`` command: a training with a deliberate bottleneck, tracked, and its report."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from mfu_profiler.cli.output import print_text, stdout_color, terminal_width
from mfu_profiler.errors import OptionError

__all__ = ["demo"]

_BEFORE = """\
Training a small GPT for {steps} steps on {device}. Its data loader is slow on purpose: it tokenizes text in
pure Python, in the training process. The report follows in about half a minute.
"""
_AFTER = """\
The trace and the report (JSON, HTML page) are in {folder}
  the same report again:      python -m mfu_profiler report {trace}
  around your own training:   with mfu_profiler.track(model):     or     python -m mfu_profiler run train.py
"""


def demo(
    out: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where trace and report go.")
    ] = "mfu_profiler_demo",
) -> None:
    """Train a small GPT with one deliberate bottleneck on what this machine has, and report on it."""
    _make(out)
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # torch's profiler says on stderr when it starts and stops
    try:
        from mfu_profiler.capture.demo_training import STEPS, demo_device, train_demo
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise OptionError("demo trains a model and needs torch: pip install torch") from error
    from mfu_profiler.render import render_terminal

    device = demo_device()
    _say(_BEFORE.format(steps=STEPS, device=device.upper()))
    run = train_demo(out, device)
    report, trace = run.report, run.trace_path
    if report is None or trace is None:
        raise OptionError("no report could be made; the lines above say why")
    print_text(render_terminal([report], color=stdout_color(os.environ), width=terminal_width()))
    sys.stdout.flush()
    _say("\n" + _AFTER.format(folder=out, trace=os.path.relpath(trace)))


def _make(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make the folder {folder}: {error.strerror or error}", _OTHER) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OptionError(f"no permission to write in {folder}", _OTHER)


_OTHER = "another one:  demo --out FOLDER"


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
