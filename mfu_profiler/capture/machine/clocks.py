"""Clock, power and temperature of the device, from the timed phase to the end of the profiled window."""

from __future__ import annotations

from typing import Any

from mfu_profiler.capture.machine.clock_sampler import ClockSampler
from mfu_profiler.capture.machine.clock_source import clock_sampler
from mfu_profiler.capture.machine.device import LiveDevice

__all__ = ["Clocks"]


class Clocks:
    """Samples once, from ``start`` to ``stop``; a CPU has no such clocks."""

    def __init__(self, device: LiveDevice) -> None:
        self._device = device
        self._sampler: ClockSampler | None = None
        self._samples: dict[str, Any] | None = None

    def start(self) -> None:
        """Begin to sample; a second call changes nothing."""
        if self._sampler is None and self._samples is None and self._device.backend != "cpu":
            self._sampler = clock_sampler(self._device)
            self._sampler.start()

    def stop(self) -> dict[str, Any] | None:
        """End sampling; the samples as JSON, or why there are none. None on a CPU, and before the start."""
        sampler, self._sampler = self._sampler, None
        if sampler is not None:
            sampler.stop()
            self._samples = sampler.to_json()
        return self._samples
