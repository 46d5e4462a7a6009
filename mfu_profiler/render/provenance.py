"""Where the numbers come from: every one of them names its source here."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mfu_profiler.analysis.report import FlopInfo, Report, WindowInfo
from mfu_profiler.render.names import shown_name, shown_text
from mfu_profiler.render.page import Fact
from mfu_profiler.units import (
    byte_rate_text,
    clock_text,
    count_text,
    flop_rate_text,
    flop_text,
    percent_text,
    power_text,
    time_text,
)

__all__ = ["device_text", "provenance"]

_MOST_WINDOWS = 4
"""Windows of one role that are named; the rest are counted."""
_MOST_MODULES = 5
_LAYER = re.compile(r"(?<=\.)\d+(?=\.|$)")
"""A number within a module's name; the first is that of a layer: ``blocks.3.mlp.0``."""

_WORDS = (
    "MFU: FLOP the model needs / (step time x peak). HFU: FLOP run",
    "exposed: no compute kernel runs. idle: nothing runs on the device",
)


def provenance(report: Report) -> tuple[Fact, ...]:
    """Device, peak, FLOP, conventions, steps, trace, checks and notes."""
    facts = (
        Fact("device", (_device(report), _peak(report), *_clock(report), *_power(report))),
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


def _clock(report: Report) -> list[str]:
    """The clock that a live run sampled, or why it did not."""
    device = report.device
    if device.sampled_clock_hz is None:
        return [shown_text(f"clocks unknown: {device.nvml_because}")] if device.nvml_because else []
    what = "SM clock" if device.backend == "cuda" else "clock"
    text = f"{what} {clock_text(device.sampled_clock_hz)}"
    if device.datasheet_clock_hz is not None:
        text += f" of the datasheet's {clock_text(device.datasheet_clock_hz)}"
    if device.clock_because:
        text += f" ({device.clock_because})"
    if device.peak_at_clock_flop_per_s is not None:
        text += f": peak at that clock {flop_rate_text(device.peak_at_clock_flop_per_s)}"
    return [shown_text(text)]


def _power(report: Report) -> list[str]:
    device = report.device
    if device.mean_power_w is None:
        return []
    limit = "" if device.power_limit_w is None else f" of {power_text(device.power_limit_w)}"
    return [f"power {power_text(device.mean_power_w)}{limit}"]


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
        lack = "without shapes" if flop.basis == "counted" else "not counted"
        lines.append(f"{lack}: {', '.join(_uncounted(flop))}")
    return [*lines, *_modules(flop), *_analytic(flop)]


def _modules(flop: FlopInfo) -> list[str]:
    """The modules with most FLOP of their own, as a live run counted them; layers together."""
    executed: dict[str, float] = {}
    for row in flop.by_module:
        name = _LAYER.sub("*", row.name, count=1)
        executed[name] = executed.get(name, 0) + row.forward + row.backward + row.recomputed
    total = sum(executed.values())
    if not total:
        return []
    largest = sorted(executed.items(), key=lambda item: -item[1])[:_MOST_MODULES]
    shares = [
        f"{shown_text(name, 60) or 'the model itself'} {percent_text(count / total)}"
        for name, count in largest
        if count
    ]
    return [f"by module: {', '.join(shares)}"]


def _analytic(flop: FlopInfo) -> list[str]:
    """The transformer formula beside the count."""
    analytic, counted = flop.analytic_per_step, flop.model_per_step
    if analytic is None or not counted:
        return []
    difference = analytic / counted - 1
    more = "more" if difference > 0 else "less"
    apart = f", {percent_text(abs(difference))} {more}" if difference else ""
    return [f"PaLM's formula for transformers gives {flop_text(analytic)}{apart}"]


def _uncounted(flop: FlopInfo) -> list[str]:
    return [f"{shown_name(kernel.name, 60)} ({percent_text(kernel.fraction)})" for kernel in flop.uncounted]


def _steps(report: Report) -> list[str]:
    steps = report.steps
    is_live = steps.unprofiled_count is not None
    lines = [shown_text(steps.source) if is_live else f"{shown_text(steps.source)}; {steps.count} averaged"]
    startup = [window for window in report.windows if window.role == "startup"]
    pauses = [window for window in report.windows if window.role == "pause"]
    if startup:
        lines.append(f"start-up, not averaged: {_windows(startup)}")
    if steps.profiled_step_time_s is not None and steps.profiler_overhead_fraction is not None:
        profiled = time_text(steps.profiled_step_time_s)
        lines.append(f"a profiled step takes {profiled}: {_overhead(steps.profiler_overhead_fraction)}")
    if pauses:
        share = percent_text(steps.pause_fraction)
        lines.append(f"pauses, not averaged: {_windows(pauses)}; {share} of the recorded time")
    return lines


def _overhead(fraction: float) -> str:
    if fraction < 0:
        return f"{percent_text(-fraction)} less: the steps vary by more than the profiler costs"
    return f"the profiler costs {percent_text(fraction)}"


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
    passed = [shown_text(check.name) for check in report.checks if check.ok and check.applies]
    lines = [shown_text(f"failed: {check.name}: {check.detail}") for check in failed]
    if passed:
        lines.append(f"passed: {', '.join(passed)}")
    lines += [
        shown_text(f"not applicable: {check.name}: {check.detail}")
        for check in report.checks
        if not check.applies
    ]
    return Fact("checks", tuple(lines), alarm=bool(failed))


def _shown(lines: Iterable[str], width: int = 600) -> tuple[str, ...]:
    return tuple(shown_text(line, width) for line in lines)
