"""Reports that hold what every chart needs, with names that a test chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mfu_profiler.analysis.report import (
    DeviceSamples,
    ModuleFlop,
    Report,
    StepTimeline,
    TimelineLane,
    WindowInfo,
)
from tests.render.sample import HOSTILE_NAME, LONG_NAME, hostile, kernel, resnet

__all__ = ["CHARTED", "charted", "charted_hostile", "modules", "window"]

_KINDS = ("compute", "idle_host", "op", "blocked")
_MS = 1_000_000


def window(label: str, length_ms: int, role: str = "averaged") -> WindowInfo:
    """Half of it compute, half host-bound."""
    half = length_ms * _MS // 2
    return WindowInfo(label, 0, 2 * half, role, half, 0, 0, 0, 0, half, 0, 0, None)


def modules(report: Report, *rows: tuple[str, float]) -> Report:
    """The report with own FLOP of modules, all of them forward."""
    by_module = tuple(ModuleFlop(name, flop, 0.0, 0.0) for name, flop in rows)
    return replace(report, flop=replace(report.flop, by_module=by_module))


def _with_all(report: Report, names: Sequence[str]) -> Report:
    """The report with a drawn step, modules, samples and kernels of these names; the peaks stay."""
    lanes = (
        TimelineLane("cause", "time by cause", ((0, 6 * _MS, 0, 0, 0), (6 * _MS, 4 * _MS, 1, 1, 0)), 0, 0),
        TimelineLane("stream", f"stream {names[0]}", ((0, 6 * _MS, 2, 0, 0),), 2, 500),
        TimelineLane(
            "host", f"thread {names[-1]}, launches", ((0, 9 * _MS, 2, 2, 0), (0, 4 * _MS, 3, 3, 1)), 3, 700
        ),
    )
    drawn = StepTimeline(
        names[0], 10 * _MS, lanes, 5, ("compute", "idle_host", names[0][:200], names[-1][:200]), _KINDS
    )
    kernels = tuple(
        kernel(name, kind, 1.0, 0.01, flop=flop, byte=1e9, achieved_flop_per_s=flop / 0.01, precision="fp32")
        for kind, flop in (("matmul", 1e11), ("attention", 1e9))
        for name in names
    )
    with_modules = modules(report, ("", 1e9), *((f"layers.{name}", 1e10) for name in names))
    return replace(
        with_modules,
        step_timeline=drawn,
        device_samples=DeviceSamples((0.0, 1.0), (1.4e9, None), (300.0, 290.0), (names[0], "")),
        device=replace(report.device, datasheet_clock_hz=1.5e9, power_limit_w=400.0),
        kernels=(*report.kernels, *kernels),
    )


def charted() -> Report:
    """A report with every chart."""
    return _with_all(resnet(), ("volta_sgemm_128x64_nn", "aten::mm"))


def charted_hostile() -> Report:
    """The same with every name out to do harm, in what charts draw as well."""
    return _with_all(hostile(), (HOSTILE_NAME, LONG_NAME, "'\\'];alert(1)//", "\ud800</script>", ""))


CHARTED = {"every chart": charted, "every chart, hostile": charted_hostile}
"""Name -> what makes a report with all of ``FIGURES``."""
