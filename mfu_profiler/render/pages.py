"""Reports -> pages: the one place where a report becomes words."""

from __future__ import annotations

from collections.abc import Sequence

from mfu_profiler.analysis.report import Report
from mfu_profiler.render.evidence import fixes, fixes_ladder, fixes_note, kernel_lines, numeric_options
from mfu_profiler.render.headline import headline, mfu_text
from mfu_profiler.render.losses import (
    losses,
    losses_details,
    losses_heading,
    losses_note,
)
from mfu_profiler.render.page import Overview, Page
from mfu_profiler.render.provenance import device_text, provenance
from mfu_profiler.units import percent_text, time_text

__all__ = ["overview", "page"]


def page(report: Report, top: int) -> Page:
    """Everything a page says about one report, with its ``top`` largest kernels."""
    unit, kernels = kernel_lines(report.kernels, top)
    return Page(
        heading=_heading(report),
        headline=headline(report),
        losses_heading=losses_heading(report),
        losses=losses(report),
        losses_note=losses_note(report),
        losses_details=losses_details(report),
        fixes_heading="What to fix first",
        fixes_aside="share of the step; a fix counts at most what its cause holds" if report.findings else "",
        fixes=fixes(report),
        fixes_ladder=fixes_ladder(report),
        fixes_note=fixes_note(report),
        options_heading="Options that change numerics",
        options=numeric_options(report),
        kernels_heading="Largest kernels, per step",
        rate_unit=unit,
        kernels=kernels,
        provenance_heading="Where the numbers come from",
        provenance=provenance(report),
    )


def overview(reports: Sequence[Report]) -> Overview | None:
    """One row a report, or None where a single page says it all."""
    if len(reports) == 1:
        return None
    return Overview(
        heading=f"{len(reports)} reports" if reports else "No report",
        columns=("rank", "device", "MFU", "step", "compute", "communication", "idle"),
        rows=tuple(_row(report) for report in reports),
    )


def _row(report: Report) -> tuple[str, ...]:
    part = report.partition
    shares = ("unknown",) * 3
    if part is not None:
        idle = part.idle_data_loading + part.idle_synchronization + part.idle_host
        idle += part.idle_launch + part.idle_unexplained
        shares = (percent_text(part.compute), percent_text(part.communication), percent_text(idle))
    return (
        "-" if report.trace.rank is None else str(report.trace.rank),
        "-" if report.device.index is None else str(report.device.index),
        mfu_text(report).replace("at least", "≥"),
        "unknown" if report.step_time_s is None else time_text(report.step_time_s),
        *shares,
    )


def _heading(report: Report) -> str:
    rank = None if report.trace.rank is None else f"rank {report.trace.rank}"
    device = None if report.device.index is None else f"device {report.device.index}"
    return " · ".join(part for part in (rank, device, device_text(report)) if part)
