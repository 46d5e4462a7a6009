"""A peak from an architecture's rate, for devices without a sheet, and only where it was asked for.

    peak = FLOP per clock and SM  x  SMs  x  clock
           arch_rates.csv            read   read, else the lowest of the architecture

The rates reproduce the sheets of the catalog within 1 % where a tensor clock is published
(``tests/hardware`` asks every row). What they cannot know is a cap on the SKU, so capped variants
are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from types import MappingProxyType

from mfu_profiler.errors import OptionError, UnknownDeviceError
from mfu_profiler.hardware.names import split_mig
from mfu_profiler.hardware.rates import arch_rate_for, is_capped, row_of
from mfu_profiler.hardware.share import compute_units
from mfu_profiler.hardware.spec import (
    Backend,
    DeviceMatch,
    DeviceReading,
    DeviceSpec,
    unit_word,
)
from mfu_profiler.hardware.tables import ArchRate, read_devices
from mfu_profiler.hardware.unknown import unknown_device

__all__ = ["estimated_device"]

_CLOCK_RANGE_HZ = (1e8, 1e10)
"""Outside it, it is not a device's clock in Hz: MHz or kHz were given."""

_MOBILE = re.compile(r".*\b(Laptop|Mobile|Max-Q)\b.*", re.IGNORECASE)
"""Their clocks depend on the laptop; the lowest clock of desktop cards is no bound for them."""


@dataclass(frozen=True, slots=True)
class _Clock:
    hertz: float
    note: str
    """How it was found, where it was not read; may be empty."""


def estimated_device(
    name: str,
    *,
    sm_count: int | None = None,
    compute_capability: tuple[int, int] | None = None,
    clock_hz: float | None = None,
    gfx: str | None = None,
    backend: Backend | None = None,
) -> DeviceMatch:
    """A peak from the rate of the device's architecture; its source says ``estimate``.

    Args:
        name: as the driver says it; chooses between variants of an architecture (GeForce or not).
        sm_count: as the runtime reports it; needed unless the catalog has the device.
        compute_capability: ``(9, 0)``; means an architecture only together with the vendor.
        clock_hz: the clock at which to state the peak; None for the device's sheet or, where there
            is none, the lowest tensor clock of catalog devices of that architecture.
        gfx: AMD's instruction set, such as ``gfx1100``.
        backend: whose runtime this is; None where the name tells it.

    Raises:
        UnknownDeviceError: architecture, SM count or clock are not known, or the SKU is capped.
        OptionError: ``clock_hz`` is not a clock in Hz.

    """
    if clock_hz is not None and not _CLOCK_RANGE_HZ[0] <= clock_hz <= _CLOCK_RANGE_HZ[1]:
        raise OptionError(f"a clock of {clock_hz:g} Hz makes no sense; give it in Hz, such as 1.98e9.")
    reading = DeviceReading(name, sm_count, compute_capability, None, gfx, backend)
    spec, rate = row_of(reading), arch_rate_for(reading)
    if rate is None:
        raise _no_estimate(reading, "no rate is known for its architecture")
    if is_capped(name):
        raise _no_estimate(reading, "it is an export variant, whose rate its architecture does not tell")
    units = _units_of(spec, rate, reading)
    clock = _clock_of(spec, rate, reading, clock_hz)
    return _estimate(reading, spec, rate, units, clock)


def _no_estimate(reading: DeviceReading, because: str) -> UnknownDeviceError:
    spec = row_of(reading)
    known = spec is not None and bool(spec.peak_flop_per_s)
    way_out = "; its datasheet peak is known, so drop --peak estimate" if known else ""
    return unknown_device(reading, f"no estimate: {because}{way_out}", may_estimate=False)


def _units_of(spec: DeviceSpec | None, rate: ArchRate, reading: DeviceReading) -> int:
    reported = reading.sm_count
    is_slice = split_mig(reading.name)[1] is not None
    if reported is None and spec is not None and spec.sm_count is not None and not is_slice:
        return spec.sm_count // spec.torch_devices
    if reported is None or reported < 1:
        raise _no_estimate(reading, f"it needs the number of {unit_word(rate.vendor)}")
    if spec is not None:
        return compute_units(spec, reported)
    # RDNA reports work-group processors of two CUs, and the rates are per CU.
    return 2 * reported if (rate.gfx or "").startswith(("gfx11", "gfx12")) else reported


def _clock_of(
    spec: DeviceSpec | None, rate: ArchRate, reading: DeviceReading, clock_hz: float | None
) -> _Clock:
    if clock_hz is not None:
        return _Clock(clock_hz, "")
    if spec is not None and spec.tensor_clock_hz is not None:
        return _Clock(spec.tensor_clock_hz, "")
    clocks = [row.tensor_clock_hz for row in read_devices() if row.arch_rates_key == rate.key]
    known = [clock for clock in clocks if clock is not None]
    if not known or _MOBILE.fullmatch(reading.name):
        raise _no_estimate(reading, "it needs the clock, which neither trace nor sheet tells")
    return _Clock(min(known), f" (lowest clock of known {rate.key} devices)")


def _estimate(
    reading: DeviceReading, spec: DeviceSpec | None, rate: ArchRate, units: int, clock: _Clock
) -> DeviceMatch:
    per_clock = rate.flop_per_clock.items()
    peaks = MappingProxyType({precision: flop * units * clock.hertz for precision, flop in per_clock})
    row = spec if spec is not None else _row_for(reading, rate)
    whole = spec is not None and units == spec.sm_count
    return DeviceMatch(
        spec=replace(row, peak_flop_per_s=peaks, sm_count=units, confidence="low"),
        peak_flop_per_s=peaks,
        memory_byte_per_s=row.memory_byte_per_s if whole else None,
        sm_count=units,
        scaled_fraction=1.0,
        source=f"estimate: {rate.key} rate x {units} {unit_word(rate.vendor)}"
        f" x {clock.hertz / 1e9:.2f} GHz{clock.note}",
    )


def _row_for(reading: DeviceReading, rate: ArchRate) -> DeviceSpec:
    """A row for a device that the catalog does not have; its peaks are filled in by the estimate."""
    capability = rate.gfx or (rate.capabilities[0] if rate.capabilities else None)
    return DeviceSpec(
        name=reading.name,
        vendor=rate.vendor,
        arch=rate.key,
        capability=capability,
        driver_names=(reading.name,),
        peak_flop_per_s=MappingProxyType({}),
        memory_byte_per_s=None,
        sm_count=None,
        torch_devices=1,
        memory_gib=None,
        tensor_clock_hz=None,
        boost_clock_hz=None,
        confidence="low",
        source=rate.source,
        notes=rate.notes,
        shared_name=None,
        arch_rates_key=rate.key,
        source_row="",
    )
