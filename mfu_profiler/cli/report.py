"""The ``report`` command: a trace or a saved report in, a report out and held against limits."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from mfu_profiler.cli.delivery import delivered
from mfu_profiler.cli.inputs import read_saved_reports
from mfu_profiler.cli.limits import limits_of
from mfu_profiler.cli.output import Target, check_targets
from mfu_profiler.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mfu_profiler.analysis.gate import GateResult
    from mfu_profiler.analysis.report import Report

__all__ = ["Peak", "Windows", "report"]

_MOST_TFLOPS = 1e5
"""No device reaches a tenth of this; a larger number was meant in FLOP/s."""
_OF_TRACE = ("device", "peak_tflops", "peak", "precision", "flop_per_step", "windows")
"""Options that say how a trace is read; a saved report has been made with its own."""


class Peak(str, Enum):
    """Where the peak of a known device comes from."""

    datasheet = "datasheet"
    estimate = "estimate"


class Windows(str, Enum):
    """What a step is; device windows are the default because the host runs ahead of the device."""

    device = "device"
    host = "host"
    span = "span"


def report(
    context: typer.Context,
    path: Annotated[
        str,
        typer.Argument(
            metavar="TRACE",
            help="Trace: .json, .json.gz, .zip, a folder, or - for stdin; or a report saved as JSON.",
        ),
    ],
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="The device, where the trace does not say it.")
    ] = None,
    peak_tflops: Annotated[
        float | None,
        typer.Option(metavar="X", help="Dense peak in TFLOP/s, e.g. 989.4; replaces the datasheet's."),
    ] = None,
    peak: Annotated[
        Peak, typer.Option(help="Peak of a device: its datasheet's or an estimate.")
    ] = Peak.datasheet,
    precision: Annotated[
        str | None,
        typer.Option(metavar="P", help="Precision of the peak, e.g. bf16; default: the matmuls' own."),
    ] = None,
    flop_per_step: Annotated[
        float | None, typer.Option(metavar="X", help="Model FLOP of a step, where shapes do not give it.")
    ] = None,
    windows: Annotated[
        Windows, typer.Option(help="Steps as the device ran them, by host marks, or the whole span as one.")
    ] = Windows.device,
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write JSON; - prints it instead.")] = None,
    markdown: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write Markdown; - prints it instead.")
    ] = None,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write one HTML page with charts; - prints it instead.")
    ] = None,
    junit: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the limits as JUnit XML; - prints it instead.")
    ] = None,
    fail_under_mfu: Annotated[
        str | None, typer.Option(metavar="X", help="Exit with 1 where the MFU is lower: 0.35 or 35%.")
    ] = None,
    fail_over_step_time: Annotated[
        str | None, typer.Option(metavar="X", help="Exit with 1 where a step takes longer: 0.12 or 120ms.")
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CAUSE:X", help="Exit with 1 where a cause takes more, as data-loading:5%; repeatable."
        ),
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Refuse a trace larger than this, decompressed.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    top: Annotated[int, typer.Option(metavar="N", min=0, help="Kernels to list.")] = 10,
) -> int:
    """Report MFU, where the rest of the step goes, and what to change first, from a torch.profiler trace."""
    _check_number("--peak-tflops", peak_tflops, "TFLOP/s, for example 989.4", most=_MOST_TFLOPS)
    _check_number("--flop-per-step", flop_per_step, "FLOP, for example 7.8e11")
    limits = limits_of(fail_under_mfu, fail_over_step_time, fail_on or (), junit)
    forms = {"json": json, "markdown": markdown, "html": html, "junit": junit}
    targets = [Target(form, file) for form, file in forms.items()]
    wanted = [target for target in targets if target.path is not None]
    check_targets(wanted, trace=path, force=force)

    from mfu_profiler.analysis.gate import gate_results

    reports = _saved(context, path, max_bytes) or _analyzed(
        path,
        device=device,
        peak_tflops=peak_tflops,
        peak=peak.value,
        precision=cast(Any, precision.lower() if precision else precision),
        flop_per_step=flop_per_step,
        windows=windows.value,
        max_bytes=max_bytes,
    )
    results = gate_results(reports, limits)
    return delivered(
        wanted,
        lambda form: _rendered(form, reports, results, top),
        lambda color, width: _page(reports, color, width, top),
        results,
        force=force,
    )


def _saved(context: typer.Context, path: str, max_bytes: int | None) -> tuple[Report, ...] | None:
    """The reports of a JSON file, or None where it is something else.

    Raises:
        OptionError: an option was given that only a trace can answer.

    """
    reports = read_saved_reports(path, max_bytes)
    given = [
        name for name in _OF_TRACE if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    if reports is not None and given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise OptionError(
            f"{options}: only for a trace, and {path} is a saved report", "give it:  report TRACE --json FILE"
        )
    return reports


def _analyzed(path: str, **options: Any) -> tuple[Report, ...]:
    from mfu_profiler.analysis import analyze_all
    from mfu_profiler.cli.progress import reading_progress

    with reading_progress(path) as progress:
        return analyze_all(path, progress=progress, **options)


def _check_number(option: str, value: float | None, unit: str, most: float = math.inf) -> None:
    if value is None:
        return
    if not (math.isfinite(value) and value > 0):
        raise OptionError(f"{option} must be a positive number, not {value:g}", f"unit: {unit}")
    if value > most:
        raise OptionError(f"{option} {value:g} is more than any device reaches", f"unit: {unit}")


def _rendered(form: str, reports: Sequence[Report], results: Sequence[GateResult], top: int) -> str:
    if form == "junit":
        from mfu_profiler.render.junit import render_junit

        return render_junit(results)
    if form == "html":
        from mfu_profiler.render.html import render_html

        return render_html(reports)
    from mfu_profiler.render import render_json, render_markdown

    return render_json(reports) if form == "json" else render_markdown(reports, top=top)


def _page(reports: Sequence[Report], color: bool, width: int, top: int) -> str:
    from mfu_profiler.render import render_terminal

    return render_terminal(reports, color=color, width=width, top=top)
