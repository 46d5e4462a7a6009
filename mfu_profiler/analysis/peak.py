"""Which device a timeline ran on, and its peaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mfu_profiler.analysis.options import Options
from mfu_profiler.errors import UnknownDeviceError
from mfu_profiler.hardware import (
    Backend,
    DeviceMatch,
    Precision,
    estimated_device,
    find_device,
)
from mfu_profiler.trace.timeline import DeviceProperties, Timeline

__all__ = ["DevicePeaks", "backend_of", "device_peaks"]

_GIVE_A_PEAK = (
    "give it:  report trace.json --peak-tflops X",
    'or name the device:  report trace.json --device "NVIDIA H100 80GB HBM3"',
)


@dataclass(frozen=True, slots=True)
class DevicePeaks:
    """Peaks of one device, or why there are none."""

    name: str | None
    backend: str | None
    flop_per_s: Mapping[Precision, float] = field(default_factory=dict)
    memory_byte_per_s: float | None = None
    sm_count: int | None = None
    source: str | None = None
    because: str | None = None
    """Why no peak is known; None where some are."""
    hints: tuple[str, ...] = ()


def device_peaks(timeline: Timeline, options: Options, is_cpu: bool) -> DevicePeaks:
    """Peaks by the name that the user gives, else by what the trace says of its device.

    Raises:
        UnknownDeviceError: the user's own ``device`` is not in the catalog.

    """
    if is_cpu:
        return DevicePeaks(
            "CPU",
            "cpu",
            because="no peak FLOP/s is known for a CPU from a trace alone, so MFU cannot be computed.",
            hints=(_GIVE_A_PEAK[0],),
        )
    said = timeline.device
    backend = backend_of(timeline)
    if options.device is not None:
        match = _matched(options.device, None, None, options)
        return _of_match(options.device, backend, match)
    name = said.name if said is not None else None
    if name is None and not (backend == "rocm" and said is not None and said.sm_count):
        because = "the trace does not name its device, so its peak and MFU are unknown."
        return DevicePeaks(None, backend, because=because, hints=_GIVE_A_PEAK)
    try:
        return _of_match(name, backend, _matched(name or "", said, backend, options))
    except UnknownDeviceError as error:
        sm_count = said.sm_count if said is not None else None
        return DevicePeaks(name, backend, sm_count=sm_count, because=error.message, hints=error.hints)


def backend_of(timeline: Timeline) -> Backend | None:
    """Whose runtime recorded the trace; None where no device is named."""
    if timeline.facts.is_rocm:
        return "rocm"
    categories = timeline.facts.categories
    if "xpu_runtime" in categories or "xpu_driver" in categories:
        return "xpu"
    has_device = timeline.device_index is not None or timeline.device is not None
    return "cuda" if has_device else None


def _matched(
    name: str, said: DeviceProperties | None, backend: Backend | None, options: Options
) -> DeviceMatch:
    capability = None
    if said is not None and said.compute_capability is not None:
        major, minor = said.compute_capability.split(".")
        capability = (int(major), int(minor))
    sm_count = said.sm_count if said is not None else None
    if options.peak == "estimate":
        return estimated_device(name, sm_count=sm_count, compute_capability=capability, backend=backend)
    return find_device(
        name,
        sm_count=sm_count,
        compute_capability=capability,
        memory_byte=said.memory_byte if said is not None else None,
        backend=backend,
    )


def _of_match(name: str | None, backend: str | None, match: DeviceMatch) -> DevicePeaks:
    return DevicePeaks(
        name=name or match.spec.name,
        backend=backend,
        flop_per_s=match.peak_flop_per_s,
        memory_byte_per_s=match.memory_byte_per_s,
        sm_count=match.sm_count,
        source=match.source,
    )
