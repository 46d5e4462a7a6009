"""Where the numbers come from: every one of them names its source here."""

from __future__ import annotations

from collections.abc import Iterable

from mfu_profiler.analysis.report import FlopInfo, Report, WindowInfo
from mfu_profiler.render.names import shown_name, shown_text
from mfu_profiler.render.page import Fact
from mfu_profiler.units import (
    byte_rate_text,
    count_text,
    flop_rate_text,
    flop_text,
    percent_text,
    time_text,
)

__all__ = ["device_text", "provenance"]

_MOST_WINDOWS = 4
"""Windows of one role that are named; the rest are counted."""

_WORDS = (
    "MFU: FLOP the model needs / (step time x peak). HFU: FLOP run",
    "exposed: no compute kernel runs. idle: nothing runs on the device",
)


def provenance(report: Report) -> tuple[Fact, ...]:
    """Device, peak, FLOP, conventions, steps, trace, checks and notes."""
    facts = (
        Fact("device", (_device(report), _peak(report))),
        Fact("FLOP", tuple(_flop(report))),
        Fact("other tools", _shown(report.conventions)),
        Fact("steps", tuple(_steps(report))),
        Fact("trace", tuple(_trace(report))),
        _checks(report),
        Fact("notes", _shown(report.notes)),
        Fact("words", _WORDS),
    )
    return tuple(fact for fact in facts if fact.lines)


def device_text(report: Report) -> str:
    """The driver's name of the device, or that it has none."""
    return shown_text(report.device.name, 80) if report.device.name else "unnamed device"


def _device(report: Report) -> str:
    device = report.device
    about = [
        " ".join(str(part) for part in (device.backend, device.index) if part is not None),
        f"{device.sm_count} multiprocessors" if device.sm_count is not None else "",
        f"memory {byte_rate_text(device.memory_byte_per_s)}" if device.memory_byte_per_s is not None else "",
    ]
    return shown_text(", ".join([device_text(report), *filter(None, about)]))


def _peak(report: Report) -> str:
    device = report.device
    if device.peak_flop_per_s is None:
        return "peak unknown"
    precision = f"dense {device.precision}, " if device.precision else ""
    source = ", ".join(part for part in (device.peak_source, device.peak_detail) if part) or "no source"
    return shown_text(f"peak {flop_rate_text(device.peak_flop_per_s)}, {precision}{source}")


def _flop(report: Report) -> list[str]:
    flop = report.flop
    if flop.model_per_step is None:
        return [f"unknown; {shown_text(flop.source)}" if flop.source else "unknown"]
    executed = ""
    if flop.hardware_per_step is not None and flop.hardware_per_step != flop.model_per_step:
        executed = f" for the model, {flop_text(flop.hardware_per_step)} executed"
    source = shown_text(flop.source) if flop.source else "no source"
    lines = [f"{flop_text(flop.model_per_step)} a step{executed} ({source})"]
    if flop.uncounted:
        lines.append(f"not counted: {', '.join(_uncounted(flop))}")
    return lines


def _uncounted(flop: FlopInfo) -> list[str]:
    return [f"{shown_name(kernel.name, 60)} ({percent_text(kernel.fraction)})" for kernel in flop.uncounted]


def _steps(report: Report) -> list[str]:
    steps = report.steps
    lines = [f"{shown_text(steps.source)}; {steps.count} averaged"]
    startup = [window for window in report.windows if window.role == "startup"]
    pauses = [window for window in report.windows if window.role == "pause"]
    if startup:
        lines.append(f"start-up, not averaged: {_windows(startup)}")
    if pauses:
        share = percent_text(steps.pause_fraction)
        lines.append(f"pauses, not averaged: {_windows(pauses)}; {share} of the recorded time")
    return lines


def _windows(windows: list[WindowInfo]) -> str:
    named = [
        f"{shown_text(window.label, 60)} ({time_text(window.duration_ns / 1e9)})"
        for window in windows[:_MOST_WINDOWS]
    ]
    more = len(windows) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _trace(report: Report) -> list[str]:
    trace = report.trace
    rank = "" if trace.rank is None else f"rank {trace.rank}"
    if rank and trace.world_size is not None:
        rank += f" of {trace.world_size}"
    torch = "" if trace.torch_version is None else f"torch {trace.torch_version}"
    about = [rank, f"{count_text(trace.events)} events", torch]
    return [shown_text(trace.path, 300), shown_text(", ".join(filter(None, about)))]


def _checks(report: Report) -> Fact:
    failed = [check for check in report.checks if not check.ok]
    passed = [shown_text(check.name) for check in report.checks if check.ok]
    lines = [shown_text(f"failed: {check.name}: {check.detail}") for check in failed]
    if passed:
        lines.append(f"passed: {', '.join(passed)}")
    return Fact("checks", tuple(lines), alarm=bool(failed))


def _shown(lines: Iterable[str], width: int = 600) -> tuple[str, ...]:
    return tuple(shown_text(line, width) for line in lines)
