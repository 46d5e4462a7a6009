"""The refusal: no peak is known for a device, why, and what the user can type."""

from __future__ import annotations

from mfu_profiler.errors import UnknownDeviceError
from mfu_profiler.hardware.names import (
    devices_named,
    is_nameless,
    nearest_driver_names,
    shown_name,
    split_mig,
)
from mfu_profiler.hardware.rates import arch_rate_for, is_capped
from mfu_profiler.hardware.spec import DeviceReading, unit_word

__all__ = ["unknown_device"]

_GIVE_IT = 'give it:       report trace.json --peak-tflops X     or     --device "NAME"'


def unknown_device(
    reading: DeviceReading, because: str | None = None, *, may_estimate: bool = True
) -> UnknownDeviceError:
    """The error for a device without a known peak; nothing is guessed.

    Args:
        reading: what is known of the device.
        because: why, where the name alone does not say it.
        may_estimate: whether an estimate is still worth a hint.

    """
    name = shown_name(reading.name)
    shown = f'"{name}"' if name.strip() else "a device without a name"
    return UnknownDeviceError(
        f"no peak FLOP/s is known for {shown}, so MFU cannot be computed.",
        *([f"why:           {because}"] if because else []),
        *_nearest(reading),
        _GIVE_IT,
        *(_estimate(reading) if may_estimate else []),
    )


def _nearest(reading: DeviceReading) -> list[str]:
    bare_name, _ = split_mig(reading.name)
    if devices_named(bare_name) or is_nameless(bare_name):  # the name is not what is wrong
        return []
    names = nearest_driver_names(bare_name)
    return [f"nearest known: {', '.join(names)}"] if names else []


def _estimate(reading: DeviceReading) -> list[str]:
    rate = arch_rate_for(reading)
    if rate is None or is_capped(reading.name):
        return []
    formula = f"{rate.key} rate x {unit_word(rate.vendor)} x clock"
    return [f"or estimate:   report trace.json --peak estimate     ({formula})"]
