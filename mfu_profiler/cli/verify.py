"""The ``verify`` command: what a fix was predicted to give, and what it gave."""

from __future__ import annotations

from typing import Annotated

import typer

from mfu_profiler.cli.delivery import delivered
from mfu_profiler.cli.inputs import STDIN, read_reports
from mfu_profiler.cli.output import Target, check_targets
from mfu_profiler.errors import OptionError

__all__ = ["verify"]


def verify(
    before: Annotated[
        str, typer.Argument(metavar="BEFORE", help="Trace of the run before the fix, or its report as JSON.")
    ],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="The same of the run after it.")],
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write JSON; - prints it instead.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> int:
    """Check a prediction: which finding was fixed, the step time predicted, the one achieved, the error.

    Traces are read as `report` reads them; where that needs options, give the JSON it makes with them.
    """
    if before == after == STDIN:
        raise OptionError("only one of BEFORE and AFTER can be standard input", "name a file for the other")
    wanted = [Target("json", json)] if json is not None else []
    for path in (before, after):
        check_targets(wanted, trace=path, force=force)

    from mfu_profiler.analysis.verifying.verify import verifications
    from mfu_profiler.render.verify_view import render_verification, render_verification_json

    found = verifications(read_reports(before, "verify"), read_reports(after, "verify"))
    return delivered(
        wanted,
        lambda _: render_verification_json(found),
        lambda color, width: render_verification(found, color=color, width=width),
        force=force,
    )
