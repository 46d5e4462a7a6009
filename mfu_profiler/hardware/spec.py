"""What a datasheet says of one device, and how much of it one torch device may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = [
    "PRECISIONS",
    "Backend",
    "Confidence",
    "DeviceMatch",
    "DeviceReading",
    "DeviceSpec",
    "Precision",
    "unit_word",
]

Precision = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "fp4", "int8"]
"""The precision of a matmul's inputs. int8 counts operations, the others FLOP."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

Backend = Literal["cuda", "rocm", "xpu"]
"""Whose runtime recorded the device. It decides what a bare capability such as 9.0 means."""

Confidence = Literal["high", "medium", "low"]

_UNIT_WORDS: Mapping[str, str] = {"NVIDIA": "SMs", "AMD": "CUs", "Intel": "Xe-cores"}


def unit_word(vendor: str) -> str:
    """What a vendor calls the units that peaks scale with: SMs, CUs or Xe-cores."""
    return _UNIT_WORDS.get(vendor, "cores")


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """Datasheet limits of one device (one GPU; one GCD on MI250X; the whole card on Max 1550)."""

    name: str
    """Marketing name, unique in the catalog."""

    vendor: str
    """For example ``NVIDIA``."""

    arch: str
    """For example ``Hopper`` or ``CDNA3``."""

    capability: str | None
    """Compute capability (``9.0``) or gfx id (``gfx942``); None where neither exists."""

    driver_names: tuple[str, ...]
    """Whole names under which drivers report it, the usual one first."""

    peak_flop_per_s: Mapping[Precision, float]
    """Dense peak per precision of the rate that torch's matmuls run at; see ``tables.py``.

    Never the figure with 2:4 sparsity. A precision without a known peak is not in the mapping.
    """

    memory_byte_per_s: float | None
    """Peak bandwidth of device memory; None where no sheet gives it."""

    sm_count: int | None
    """SMs, CUs or Xe-cores of the whole device."""

    torch_devices: int
    """How many torch devices one such device shows as: 2 on Max 1550 (its tiles), else 1."""

    memory_gib: float | None
    """Memory size in GiB, given only where it tells two devices apart."""

    tensor_clock_hz: float | None
    """Clock at which the tensor (matrix) peaks hold; None where no sheet says."""

    boost_clock_hz: float | None
    """Clock at which the vector peaks hold."""

    confidence: Confidence
    """How well the sources agree on the peaks."""

    source: str
    """Who states these figures."""

    notes: str
    """Where sources disagree, and what else to know; may be empty."""

    shared_name: str | None
    """Which device outside the catalog reports the same name; the SM count or memory tells."""

    arch_rates_key: str | None
    """Row of ``arch_rates.csv`` that its peaks follow; None where no such row exists."""

    source_row: str
    """The row of the reference table (``marketing_name``) that its numbers come from."""


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """What a driver or a trace says of a device; everything but the name may be absent."""

    name: str
    """As the driver says it; empty on some ROCm versions."""

    sm_count: int | None = None
    """``multiProcessorCount``: SMs, CUs (work-group processors on RDNA), Intel's EUs or Xe-cores."""

    compute_capability: tuple[int, int] | None = None
    """``(9, 0)`` on H100, but also on MI250X."""

    memory_byte: int | None = None
    """``totalGlobalMem``."""

    gfx: str | None = None
    """AMD's instruction set, such as ``gfx942`` or ``gfx942:sramecc+:xnack-``."""

    backend: Backend | None = None
    """None where it is not known."""


@dataclass(frozen=True, slots=True)
class DeviceMatch:
    """A catalog row applied to one torch device: whole, a MIG slice, a partition or a tile."""

    spec: DeviceSpec
    """The row itself, unscaled."""

    peak_flop_per_s: Mapping[Precision, float]
    """Dense peaks of the part that this torch device may use."""

    memory_byte_per_s: float | None
    """Memory bandwidth of that part; None where it is not known."""

    sm_count: int | None
    """SMs, CUs or Xe-cores of that part."""

    scaled_fraction: float
    """Share of the row's peak that the part has, 0 to 1; 1.0 for a whole device."""

    source: str
    """Where the peak comes from, such as ``datasheet, 42 of 108 SMs (MIG)``."""
