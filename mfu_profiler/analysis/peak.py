"""Which device a timeline ran on, and its peaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mfu_profiler.analysis.options import Options
from mfu_profiler.analysis.reading import backend_of, device_reading
from mfu_profiler.errors import UnknownDeviceError
from mfu_profiler.hardware import (
    PRECISIONS,
    DeviceMatch,
    Precision,
    estimated_device,
    find_device,
)
from mfu_profiler.hardware.spec import DeviceReading
from mfu_profiler.trace.timeline import Timeline

__all__ = ["DevicePeaks", "device_peaks"]

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
    tensor_clock_hz: float | None = None
    """Clock at which the datasheet's matrix peaks hold; None where no sheet says, and of estimates."""
    vector_clock_hz: float | None = None
    """Clock at which NVIDIA's fp32 peak holds: it is a vector rate."""
    is_measured: bool = False
    """Rates of a benchmark, which a run may exceed; not those of a sheet."""

    def clock_hz(self, precision: Precision | None) -> float | None:
        """The clock at which the peak of a precision holds."""
        is_vector = precision == "fp32" and self.vector_clock_hz is not None
        return self.vector_clock_hz if is_vector else self.tensor_clock_hz


def device_peaks(timeline: Timeline, options: Options, is_cpu: bool) -> DevicePeaks:
    """Peaks by the name that the user gives, else by what is known of the device.

    Raises:
        UnknownDeviceError: the user's own ``device`` is not in the catalog.

    """
    if is_cpu:
        return _cpu_peaks(timeline)
    said = device_reading(timeline)
    backend = backend_of(timeline)
    if options.device is not None:
        match = _matched(DeviceReading(options.device), options)
        return _of_match(options.device, backend, match)
    if said is None or not (said.name or (backend == "rocm" and said.sm_count)):
        because = "the trace does not name its device, so its peak and MFU are unknown."
        return DevicePeaks(None, backend, because=because, hints=_GIVE_A_PEAK)
    try:
        return _of_match(said.name or None, backend, _matched(said, options))
    except UnknownDeviceError as error:
        name, units = said.name or None, said.sm_count
        return DevicePeaks(name, backend, sm_count=units, because=error.message, hints=error.hints)


def _cpu_peaks(timeline: Timeline) -> DevicePeaks:
    """The rates that a live run measured; no sheet gives those of a CPU."""
    live = timeline.live
    name = live.device.name if live is not None and live.device is not None else None
    unknown = DevicePeaks(
        name or "CPU",
        "cpu",
        because="no peak FLOP/s is known for a CPU from a trace alone, so MFU cannot be computed.",
        hints=(_GIVE_A_PEAK[0],),
    )
    if live is None:
        return unknown
    rates = {known: live.ceiling.flop_per_s.get(known) for known in PRECISIONS} if live.ceiling else {}
    peaks = {precision: rate for precision, rate in rates.items() if rate is not None}
    if live.ceiling is None or not peaks:
        because = "the matmul rate of this CPU was not measured, so its peak and MFU are unknown."
        return replace(unknown, because=because)
    detail = f", {live.ceiling.detail}" if live.ceiling.detail else ""
    return replace(
        unknown, flop_per_s=peaks, source=f"measured{detail}", because=None, hints=(), is_measured=True
    )


def _matched(reading: DeviceReading, options: Options) -> DeviceMatch:
    if options.peak == "estimate":
        return estimated_device(
            reading.name,
            sm_count=reading.sm_count,
            compute_capability=reading.compute_capability,
            gfx=reading.gfx,
            backend=reading.backend,
        )
    return find_device(
        reading.name,
        sm_count=reading.sm_count,
        compute_capability=reading.compute_capability,
        memory_byte=reading.memory_byte,
        gfx=reading.gfx,
        backend=reading.backend,
    )


def _of_match(name: str | None, backend: str | None, match: DeviceMatch) -> DevicePeaks:
    is_of_sheet = match.source.startswith("datasheet")
    is_nvidia = match.spec.vendor == "NVIDIA"
    return DevicePeaks(
        name=name or match.spec.name,
        backend=backend,
        flop_per_s=match.peak_flop_per_s,
        memory_byte_per_s=match.memory_byte_per_s,
        sm_count=match.sm_count,
        source=match.source,
        tensor_clock_hz=match.spec.tensor_clock_hz if is_of_sheet else None,
        vector_clock_hz=match.spec.boost_clock_hz if is_of_sheet and is_nvidia else None,
    )
