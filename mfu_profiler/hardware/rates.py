"""Which architecture row a device follows when no datasheet peak is known for it."""

from __future__ import annotations

import re

from mfu_profiler.hardware.names import devices_named, split_mig, vendor_of
from mfu_profiler.hardware.spec import DeviceReading, DeviceSpec
from mfu_profiler.hardware.tables import ArchRate, read_arch_rates

__all__ = ["arch_rate_for", "is_capped", "row_of", "vendor_of_reading"]

_BACKEND_VENDORS = {"cuda": "NVIDIA", "rocm": "AMD", "xpu": "Intel"}

_CAPPED = re.compile(
    r".*\b(H20|H800|L2|B20|B30|B30A|B40|RTX 5090 ?D|RTX PRO [0-9]+ ?D|6000D)\b.*", re.IGNORECASE
)
"""Export variants with the SM count of an architecture but not its rate.

H20: 148 TFLOP/s where the formula says 585; H800: fp64 fused off (peaks.csv). The others were
made for the same export rules and have no sheet here: refused on suspicion.
"""


def vendor_of_reading(reading: DeviceReading) -> str | None:
    """The vendor by backend, else by name; None where neither tells."""
    if reading.backend is not None:
        return _BACKEND_VENDORS.get(reading.backend)
    return vendor_of(reading.name)


def is_capped(name: str) -> bool:
    """Whether a name is that of an export variant whose rate its architecture does not tell."""
    return _CAPPED.fullmatch(name) is not None


def row_of(reading: DeviceReading) -> DeviceSpec | None:
    """The catalog row that a name means, a MIG suffix apart; None where it means none or several."""
    rows = devices_named(split_mig(reading.name)[0])
    return rows[0] if len(rows) == 1 else None


def arch_rate_for(reading: DeviceReading) -> ArchRate | None:
    """The architecture row of a known name, or that a gfx id or compute capability means, or None.

    Capability 9.0 is H100 as well as MI250X, so without a vendor it means nothing. On AMD it is
    used only where one row has it (9.4 is gfx942, but 9.0 is gfx908 or gfx90a).
    """
    spec = row_of(reading)
    if spec is not None and spec.arch_rates_key is not None:
        return read_arch_rates()[spec.arch_rates_key]
    vendor = vendor_of_reading(reading)
    rows = [row for row in read_arch_rates().values() if row.vendor == vendor and _follows(row, reading)]
    special = [row for row in rows if row.name_regex is not None]
    usual = [row for row in rows if row.name_regex is None]
    named = [row for row in special if re.fullmatch(row.name_regex or "", reading.name, re.IGNORECASE)]
    return next(iter(named or usual), None)


def _follows(row: ArchRate, reading: DeviceReading) -> bool:
    if reading.gfx is not None:
        return row.gfx == reading.gfx.partition(":")[0]
    if reading.compute_capability is None:
        return False
    major, minor = reading.compute_capability
    return f"{major}.{minor}" in row.capabilities
