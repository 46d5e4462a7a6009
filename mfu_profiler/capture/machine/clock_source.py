"""Where clock samples of a device come from: NVML, or torch's own functions on ROCm."""

from __future__ import annotations

import math
import time
from typing import Protocol

import torch

from mfu_profiler.capture.machine.clock_sampler import ClockSampler
from mfu_profiler.capture.machine.device import LiveDevice, one_line
from mfu_profiler.hardware.nvml import ClockSample, NvmlDevice
from mfu_profiler.hardware.nvml_device import open_device

__all__ = ["ClockSource", "clock_sampler", "clock_source"]

_HZ_PER_MHZ = 1_000_000

_MOST_W = 4_000
"""``torch.cuda.power_draw`` gives milliwatts by its documentation, and watts on ROCm before it was mended
(pytorch/pytorch#197553). No device draws 4 kW, and none as little as 4 W while it is used."""


class ClockSource(Protocol):
    """A way to sample one device. Called by one thread at a time, whichever."""

    def __call__(self) -> ClockSample:
        """One sample."""

    def close(self) -> None:
        """To be called after the last sample."""


def clock_sampler(live: LiveDevice, interval_s: float = 0.1) -> ClockSampler:
    """A sampler of the device's clock, not started yet; without a source it will only say why."""
    source, because = clock_source(live)
    return ClockSampler(source, interval_s, because=because)


def clock_source(live: LiveDevice) -> tuple[ClockSource | None, str | None]:
    """How to sample the device, or why that cannot be done.

    Never raises. The source has answered once, since one that says nothing is none.
    """
    source = None
    try:
        source = _opened_source(live)
        if source is None:
            return None, f"clocks are not read on {live.backend or live.name}"
        if not source().is_empty:
            return source, None
        because = "the driver says neither clock nor power nor temperature"
    except Exception as error:  # whatever a driver does, the run goes on
        because = one_line(error)
    if source is not None:
        source.close()
    return None, because


def _opened_source(live: LiveDevice) -> ClockSource | None:
    index = 0 if live.index is None else live.index
    if live.backend == "cuda":
        return _NvmlSource(open_device(live.uuid, index))
    return _RocmSource(index) if live.backend == "rocm" else None


class _NvmlSource:
    def __init__(self, device: NvmlDevice) -> None:
        self._device = device

    def __call__(self) -> ClockSample:
        return self._device.sample()

    def close(self) -> None:
        self._device.close()


class _RocmSource:
    """torch's functions, which ask amdsmi for the right device. Throttle reasons they do not have."""

    def __init__(self, index: int) -> None:
        self._index = index

    def __call__(self) -> ClockSample:
        clock_mhz = _rocm_answer("clock_rate", self._index)
        power = _rocm_answer("power_draw", self._index)
        percent = _rocm_answer("utilization", self._index)
        return ClockSample(
            time_ns=time.time_ns(),
            sm_clock_hz=round(clock_mhz * _HZ_PER_MHZ) if clock_mhz else None,  # 0 stands for "N/A"
            power_w=(power / 1000 if power > _MOST_W else power) if power else None,  # here too
            temperature_c=_rocm_answer("temperature", self._index),
            utilization_fraction=None if percent is None else percent / 100,
        )

    def close(self) -> None:
        """Nothing: amdsmi stays with torch, which opened it."""


def _rocm_answer(function: str, index: int) -> float | None:
    try:
        value = getattr(torch.cuda, function)(index)
    except Exception:  # amdsmi is absent, or one of its own errors: costs this field
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)  # amdsmi says "N/A" too
    return float(value) if is_number and math.isfinite(value) else None
