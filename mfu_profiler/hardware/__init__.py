"""Datasheet facts of devices: names, dense peaks per precision, rates per architecture.

Data, each row with its sources and confidence, stands beside the code: ``peaks.csv`` (devices),
``arch_rates.csv`` (FLOP per clock and SM) and ``mig_profiles.csv`` (SMs of MIG slices). It is read
when first asked for.
"""

from __future__ import annotations

from mfu_profiler.hardware.catalog import devices, find_device
from mfu_profiler.hardware.estimate import estimated_device
from mfu_profiler.hardware.spec import (
    PRECISIONS,
    Backend,
    Confidence,
    DeviceMatch,
    DeviceSpec,
    Precision,
    unit_word,
)

__all__ = [
    "PRECISIONS",
    "Backend",
    "Confidence",
    "DeviceMatch",
    "DeviceSpec",
    "Precision",
    "devices",
    "estimated_device",
    "find_device",
    "unit_word",
]
