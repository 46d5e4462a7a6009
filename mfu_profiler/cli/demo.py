"""The ``demo`` command: a training with a deliberate bottleneck, tracked, and its report."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from mfu_profiler.cli.output import print_text, stdout_color, terminal_width
from mfu_profiler.errors import OptionError

__all__ = ["demo"]


def demo(
    out: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where trace and report go.")
    ] = "mfu_profiler_demo",
) -> None:
    """Train a small GPT with one deliberate bottleneck on what this machine has, and report on it."""
    try:
        from mfu_profiler.capture.demo_training import train_demo
    except ModuleNotFoundError as error:
        raise OptionError(f"demo needs torch: {error}", "pip install torch") from error
    from mfu_profiler.render import render_terminal

    run = train_demo(out)
    if run.report is None:
        raise OptionError(f"no report could be made; see the lines above, and {out}")
    print_text(render_terminal([run.report], color=stdout_color(os.environ), width=terminal_width()))
