"""The live MFU: FLOP of a step over step time and peak, all three known to the process itself.

Once the report is there, its FLOP and its peak are used: it knows the precision in which the kernels ran.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from mfu_profiler.analysis import Report
from mfu_profiler.capture.course import Course
from mfu_profiler.capture.flop.flop_count import FlopCount
from mfu_profiler.capture.machine.device import LiveDevice
from mfu_profiler.capture.settings import Settings
from mfu_profiler.errors import MfuProfilerError
from mfu_profiler.hardware import PRECISIONS, Precision, find_device
from mfu_profiler.hardware.ceilings import Ceiling

__all__ = ["LiveRate", "live_peak_flop_per_s", "utilization_fraction"]


class LiveRate:
    """The numbers of a block at this moment; cheap, and without any synchronization."""

    def __init__(self, course: Course) -> None:
        self._course = course
        outcome = course.outcome
        self._report: Report | None = outcome.report_if_ready if outcome is not None else None

    @property
    def step_time_s(self) -> float:
        """Mean over the last whole steps; NaN before the first."""
        course = self._course
        seconds = course.times.live_s(course.pending_ns())
        return math.nan if seconds is None else seconds

    @property
    def model_flop(self) -> float | None:
        """Of one step: given, of the report, or counted."""
        given, report, count = (
            self._course.settings.flop_per_step,
            self._report,
            self._course.counting.count,
        )
        if given is not None:
            return given
        if report is not None and report.flop.model_per_step is not None:
            return report.flop.model_per_step
        return None if count is None else float(count.model)

    @property
    def hardware_flop(self) -> float | None:
        """Everything that a step executes."""
        report, count = self._report, self._course.counting.count
        if report is not None and report.flop.hardware_per_step is not None:
            return report.flop.hardware_per_step
        return None if count is None else float(count.hardware)

    @property
    def peak_flop_per_s(self) -> float | None:
        """Given, of the report, measured, or the datasheet's."""
        if self._report is not None and self._report.device.peak_flop_per_s is not None:
            return self._report.device.peak_flop_per_s
        course = self._course
        if course.window is None:
            return None
        place = course.window.surroundings
        return live_peak_flop_per_s(course.settings, place.live, place.ceiling, course.counting.count)

    @property
    def mfu(self) -> float:
        """0 to 1; NaN while something is unknown."""
        return utilization_fraction(self.model_flop, self.step_time_s, self.peak_flop_per_s)

    @property
    def hfu(self) -> float:
        """0 to 1; NaN while something is unknown."""
        return utilization_fraction(self.hardware_flop, self.step_time_s, self.peak_flop_per_s)

    @property
    def pause_fraction(self) -> float:
        """Share of wall time that was evaluation, other pauses, or our own work."""
        wall_ns = time.time_ns() - self._course.started_ns
        return sum(self._course.times.pauses_ns.values()) / max(1, wall_ns)

    def metrics(self) -> dict[str, float]:
        """All of these by name, and the classes of time as ``time/...``; what is unknown is left out."""
        known = {
            "mfu": self.mfu,
            "hfu": self.hfu,
            "step_time_s": self.step_time_s,
            "steps": float(self._course.times.count),
            "model_flop_per_step": self.model_flop,
            "hardware_flop_per_step": self.hardware_flop,
            "peak_flop_per_s": self.peak_flop_per_s,
            "pause_fraction": self.pause_fraction,
        }
        if self._report is not None and self._report.partition is not None:
            known |= {f"time/{name}": share for name, share in asdict(self._report.partition).items()}
        return {name: value for name, value in known.items() if value is not None and math.isfinite(value)}


def live_peak_flop_per_s(
    settings: Settings, device: LiveDevice, ceiling: Ceiling | None, count: FlopCount | None
) -> float | None:
    """The peak that the live line divides by; None where none is known.

    Given, else measured (CPU), else the datasheet's, in the precision given or that of most counted FLOP.
    """
    if settings.peak_tflops is not None:
        return settings.peak_tflops * 1e12
    precision = settings.precision or _main_precision(device, count)
    if precision is None:
        return None
    return _peaks(settings, device, ceiling).get(precision)


def utilization_fraction(flop: float | None, step_s: float | None, peak_flop_per_s: float | None) -> float:
    """FLOP / (time x peak); NaN where something is unknown, or where over 1, which no device reaches."""
    if not flop or not step_s or not peak_flop_per_s:
        return math.nan
    fraction = flop / (step_s * peak_flop_per_s)
    return fraction if fraction <= 1 else math.nan


def _peaks(settings: Settings, device: LiveDevice, ceiling: Ceiling | None) -> Mapping[Precision, float]:
    if device.backend == "cpu":
        return ceiling.flop_per_s if ceiling is not None else {}
    try:
        if settings.device is not None:
            return find_device(settings.device).peak_flop_per_s
        return find_device(
            device.name or "",
            sm_count=device.sm_count,
            compute_capability=device.compute_capability,
            memory_byte=device.memory_byte,
            gfx=device.gfx,
            backend=device.backend,
        ).peak_flop_per_s
    except MfuProfilerError:  # the report says why
        return {}


def _main_precision(device: LiveDevice, count: FlopCount | None) -> Precision | None:
    """The precision of most executed FLOP; float32 is TF32 where torch may use it."""
    if count is None or not count.by_precision:
        return None
    name = max(count.by_precision, key=lambda precision: count.by_precision[precision])
    if name == "fp32" and (device.compute_capability or (0, 0)) >= (8, 0) and _allows_tf32(device):
        return "tf32"
    return next((known for known in PRECISIONS if known == name), None)


def _allows_tf32(device: LiveDevice) -> bool:
    """Asked of the newer setting (torch 2.9): once a program uses it, reading the older ones raises."""
    matmul: Any = torch.backends.cuda.matmul
    allowed = getattr(matmul, "fp32_precision", None)
    return device.backend == "cuda" and bool(matmul.allow_tf32 if allowed is None else allowed == "tf32")
