"""Where the rest went: the waterfall, or the plain partition where no peak is known."""

from __future__ import annotations

from mfu_profiler.analysis.report import PARTS, Report
from mfu_profiler.render.causes import ENDS, cause_words
from mfu_profiler.render.names import shown_text
from mfu_profiler.render.page import Fact, Loss
from mfu_profiler.units import percent_text, time_text

__all__ = ["losses", "losses_details", "losses_heading", "losses_note"]

_LEAST_FRACTION = 0.0005
"""Half of the last digit shown: a smaller part gets no bar, only its name in the note."""


def losses_heading(report: Report) -> str:
    """What the bars are shares of."""
    if report.mfu is not None and report.waterfall:
        return f"Where the other {percent_text(1 - report.mfu)} went"
    return "Where the time of a step went"


def losses(report: Report) -> tuple[Loss, ...]:
    """The parts worth a bar, largest first, gains last."""
    shown = [loss for loss in _all_losses(report) if abs(loss.fraction) >= _LEAST_FRACTION]
    return tuple(sorted(shown, key=lambda loss: -loss.fraction))


def losses_note(report: Report) -> str:
    """The causes that took (almost) nothing, or why nothing is known."""
    parts = _all_losses(report)
    if not parts:
        because = report.partition_unknown_because or "the report does not say why"
        if because == report.mfu_unknown_because:
            return "unknown, for the same reason"
        return f"unknown: {shown_text(because)}"
    small = [loss.label for loss in parts if abs(loss.fraction) < _LEAST_FRACTION]
    return f"nothing or under 0.05 %: {', '.join(small)}" if small else ""


def losses_details(report: Report) -> tuple[Fact, ...]:
    """Host-bound idle by phase and reason; exposed copy by direction, if there are several."""
    idle = [(f"{part.phase} ({part.reason})", part.fraction) for part in report.host_idle]
    host, copies = _shares(idle), _shares(list(report.copy_by_direction.items()))
    facts = []
    if host:
        facts.append(Fact("host-bound", (f"by phase: {', '.join(host)}",)))
    if len(copies) > 1:
        facts.append(Fact("exposed copy", (f"by direction: {', '.join(copies)}",)))
    return tuple(facts)


def _shares(parts: list[tuple[str, float]]) -> list[str]:
    """``name 5.2 %``, largest first, without what is too small to show."""
    ranked = sorted(parts, key=lambda part: -part[1])
    return [
        f"{shown_text(name, 80)} {percent_text(fraction)}"
        for name, fraction in ranked
        if fraction >= _LEAST_FRACTION
    ]


def _all_losses(report: Report) -> list[Loss]:
    # A live run's step is not the one that was partitioned: its waterfall is in its terms, MFU or not.
    is_live = report.steps.profiled_step_time_s is not None
    is_of_step = report.waterfall and (report.mfu is not None or is_live)
    return _of_waterfall(report) if is_of_step else _of_partition(report)


def _of_waterfall(report: Report) -> list[Loss]:
    rows = [row for row in report.waterfall if row.cause not in ENDS]
    return [_loss(row.cause, row.fraction, row.time_s, row.detail) for row in rows]


def _of_partition(report: Report) -> list[Loss]:
    if report.partition is None:
        return []
    details = {row.cause: row.detail for row in report.waterfall}
    result: list[Loss] = []
    for cause in PARTS:
        fraction: float = getattr(report.partition, cause)
        seconds = None if report.step_time_s is None else fraction * report.step_time_s
        result.append(_loss(cause, fraction, seconds, details.get(cause, "")))
    return result


def _loss(cause: str, fraction: float, seconds: float | None, detail: str) -> Loss:
    label, meaning = cause_words(cause)
    return Loss(
        label=shown_text(label, 24),
        fraction=fraction,
        percent=percent_text(fraction),
        time="" if seconds is None else time_text(seconds),
        detail=shown_text(detail or meaning, 72),
    )
