"""The ``compare`` command: what differs between runs, and a gate on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mfu_profiler.cli.delivery import delivered
from mfu_profiler.cli.inputs import STDIN, read_reports
from mfu_profiler.cli.limits import fraction_of
from mfu_profiler.cli.output import Target, check_targets
from mfu_profiler.errors import OptionError

if TYPE_CHECKING:
    from mfu_profiler.analysis.comparing.comparison import Comparison
    from mfu_profiler.analysis.gate import GateResult

__all__ = ["compare"]

_OPTION = "--max-regression"


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [MORE...]", help="Traces, or reports saved as JSON; A is the first of all."
        ),
    ],
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write JSON; - prints it instead.")] = None,
    markdown: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write Markdown; - prints it instead.")
    ] = None,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write one HTML page with charts; - prints it instead.")
    ] = None,
    junit: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the limit as JUnit XML; - prints it instead.")
    ] = None,
    max_regression: Annotated[
        str | None,
        typer.Option(metavar="X", help="Exit with 1 where a step is longer than A's by more: 5% or 0.05."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    top: Annotated[int, typer.Option(metavar="N", min=0, help="Ops and kernels to list.")] = 10,
) -> int:
    """Compare runs: step time against its noise, causes, ops and kernels, setting; of more than two a table.

    Traces are read as `report` reads them; where that needs options, give the JSON it makes with them.
    """
    _check_runs(runs)
    limit = _limit(max_regression, junit)
    forms = {"json": json, "markdown": markdown, "html": html, "junit": junit}
    targets = [Target(form, file) for form, file in forms.items() if file is not None]
    for path in runs:
        check_targets(targets, trace=path, force=force)

    from mfu_profiler.analysis.comparing.compare import comparison
    from mfu_profiler.analysis.comparing.gate import regression_results

    found = comparison([(path, read_reports(path, "compare")) for path in runs])
    results = () if limit is None else regression_results(found, limit)
    return delivered(
        targets,
        lambda form: _rendered(form, found, results, top),
        lambda color, width: _page(found, results, color, width, top),
        results,
        force=force,
    )


def _check_runs(runs: Sequence[str]) -> None:
    if len(runs) < 2:
        raise OptionError(
            f"at least two runs are compared, not {len(runs)}", "give another:  compare A.json.gz B.json.gz"
        )
    if runs.count(STDIN) > 1:
        raise OptionError("only one of the runs can be standard input", "name a file for the others")


def _limit(text: str | None, junit: str | None) -> float | None:
    """The limit as a fraction; None where there is none."""
    example = f"{_OPTION} 5%  or  {_OPTION} 0.05"
    if text is None:
        if junit is not None:
            raise OptionError("--junit has nothing to say without a limit", f"give one:  {example}")
        return None
    try:
        limit = fraction_of(text)
    except OptionError as error:
        raise OptionError(f"{_OPTION} {text}: {error.message}", f"try:  {example}") from None
    if "%" not in text and limit >= 1:
        raise OptionError(f"{_OPTION} {text}: {limit:g} is {100 * limit:g} %", f"try:  {example}")
    return limit


def _rendered(form: str, found: Comparison, results: Sequence[GateResult], top: int) -> str:
    if form == "junit":
        from mfu_profiler.render.junit import render_junit

        return render_junit(results)
    if form == "html":
        from mfu_profiler.render.html.compare import render_comparison_html

        return render_comparison_html(found, results)
    if form == "markdown":
        from mfu_profiler.render.comparing.markdown import render_comparison_markdown

        return render_comparison_markdown(found, results, top=top)
    from mfu_profiler.render.comparing.view import render_comparison_json

    return render_comparison_json(found)


def _page(found: Comparison, results: Sequence[GateResult], color: bool, width: int, top: int) -> str:
    from mfu_profiler.render.comparing.view import render_comparison

    return render_comparison(found, results, color=color, width=width, top=top)
