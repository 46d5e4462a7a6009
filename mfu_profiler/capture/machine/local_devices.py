"""The devices of this machine that torch can use, with what was measured on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mfu_profiler.capture.machine.ceiling import device_ceiling, known_ceiling
from mfu_profiler.capture.machine.device import LiveDevice, live_device
from mfu_profiler.hardware.ceilings import Ceiling

__all__ = ["LocalDevice", "local_devices"]


@dataclass(frozen=True, slots=True)
class LocalDevice:
    """One device."""

    live: LiveDevice
    """What torch and the driver say of it now."""

    ceiling: Ceiling | None
    """Its measured matmul rate; None where it was never measured."""


def local_devices(*, measure: bool) -> tuple[LocalDevice, ...]:
    """The accelerators, and then the CPU.

    Args:
        measure: measures each device now, one after the other, and keeps the results in the cache.

    """
    accelerators = [
        torch.device(kind, index)
        for kind, module in (("cuda", torch.cuda), ("xpu", torch.xpu))
        if module.is_available()
        for index in range(module.device_count())
    ]
    return tuple(_local_device(device, measure) for device in (*accelerators, torch.device("cpu")))


def _local_device(device: torch.device, measure: bool) -> LocalDevice:
    live = live_device(device)
    ceiling = device_ceiling(device, measure_again=True) if measure else known_ceiling(device)
    return LocalDevice(live, ceiling)
