"""The data files beside this module, read once, when first asked for.

How a row's printed rates become the peak of a precision (the rate that a matmul in torch reaches):

=========  ==========================================================================================
fp64       the tensor (matrix) rate where there is one, since cuBLAS and rocBLAS run DGEMM there
           (A100: 19.5, not 9.7)
fp32       the matrix rate on CDNA1 and CDNA2 (MI210: 45.3, not 22.6), for the same reason; else the
           vector rate
fp16       as printed, always with fp32 accumulation. Where fp16 runs at 1/64 of fp32 (compute
           capability 6.1) torch's GEMMs convert and compute in fp32: there the fp32 peak. P100's
           21.2 is the half2 rate; torch accumulates in fp32, so an fp16 GEMM stays under 10.6 there
others     as printed; a precision that the sheet does not give has no peak
=========  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import cast

from mfu_profiler.hardware.spec import PRECISIONS, Confidence, DeviceSpec, Precision

__all__ = ["ArchRate", "MigProfile", "read_arch_rates", "read_devices", "read_mig_profiles"]

_FP16_IN_FP32_RATES = frozenset({"sm_61"})


@dataclass(frozen=True, slots=True)
class ArchRate:
    """What one SM (CU, Xe-core) of an architecture computes per clock."""

    key: str
    """For example ``sm_89_geforce``."""

    vendor: str
    """For example ``NVIDIA``."""

    capabilities: tuple[str, ...]
    """Compute capabilities, such as ``8.9``, that mean this row; empty where one would be ambiguous."""

    gfx: str | None
    """AMD's instruction set, such as ``gfx942``."""

    name_regex: str | None
    """Names that mean this variant; None for the variant that is meant otherwise."""

    flop_per_clock: Mapping[Precision, float]
    """FLOP per clock and SM of a dense matmul, by precision."""

    confidence: Confidence
    """How well the sources agree."""

    source: str
    """Who states or measured these rates."""

    notes: str
    """What else to know; may be empty."""


@dataclass(frozen=True, slots=True)
class MigProfile:
    """What a MIG profile gives on one device."""

    sm_count: int
    """SMs of the instance."""

    memory_fraction: float
    """Share of the memory slices, and so of bandwidth, 0 to 1."""


@cache
def read_devices() -> tuple[DeviceSpec, ...]:
    """All rows of ``peaks.csv``, in its order."""
    return tuple(_device(row) for row in _read_rows("peaks.csv"))


@cache
def read_arch_rates() -> Mapping[str, ArchRate]:
    """All rows of ``arch_rates.csv`` by key."""
    return MappingProxyType({row["key"]: _arch_rate(row) for row in _read_rows("arch_rates.csv")})


@cache
def read_mig_profiles() -> Mapping[tuple[str, str], MigProfile]:
    """All rows of ``mig_profiles.csv`` by (device name, profile)."""
    profiles = {}
    for row in _read_rows("mig_profiles.csv"):
        slices, total = row["memory_fraction"].split("/")
        profile = MigProfile(int(row["sm_count"]), int(slices) / int(total))
        for device in row["device"].split("|"):
            profiles[device, row["profile"]] = profile
    return MappingProxyType(profiles)


def _read_rows(file: str) -> Iterator[dict[str, str]]:
    # Imported here: most runs of the library's importers never look up a device.
    import csv
    from importlib.resources import files

    text = files("mfu_profiler.hardware").joinpath(file).read_text(encoding="utf-8")
    return iter(csv.DictReader(text.splitlines()))


def _device(row: Mapping[str, str]) -> DeviceSpec:
    sm_count, bandwidth = _number(row["sm_count"]), _number(row["memory_gb_per_s"])
    return DeviceSpec(
        name=row["name"],
        vendor=row["vendor"],
        arch=row["arch"],
        capability=row["capability"] or None,
        driver_names=tuple(row["driver_names"].split("|")),
        peak_flop_per_s=_peaks(row),
        memory_byte_per_s=None if bandwidth is None else bandwidth * 1e9,
        sm_count=None if sm_count is None else int(sm_count),
        torch_devices=int(row["torch_devices"]),
        memory_gib=_number(row["memory_gib"]),
        tensor_clock_hz=_hertz(row["tensor_clock_mhz"]),
        boost_clock_hz=_hertz(row["boost_clock_mhz"]),
        confidence=cast(Confidence, row["confidence"]),
        source=row["source"],
        notes=row["notes"],
        shared_name=row["shared_name"] or None,
        arch_rates_key=row["arch_rates_key"] or None,
        source_row=row["source_row"],
    )


def _peaks(row: Mapping[str, str]) -> Mapping[Precision, float]:
    rates = _matmul_rates(row, "_tflop_per_s")
    if row["arch_rates_key"] in _FP16_IN_FP32_RATES and "fp16" not in rates:
        rates["fp16"] = rates["fp32"]
    # By text: 66.9 * 1e12 is not 66.9e12.
    return MappingProxyType({precision: float(f"{rate}e12") for precision, rate in rates.items()})


def _arch_rate(row: Mapping[str, str]) -> ArchRate:
    rates = _matmul_rates(row, "_flop_per_clock")
    if row["key"] in _FP16_IN_FP32_RATES:
        rates["fp16"] = rates["fp32"]
    return ArchRate(
        key=row["key"],
        vendor=row["vendor"],
        capabilities=tuple(filter(None, row["capability"].split("|"))),
        gfx=row["gfx"] or None,
        name_regex=row["name_regex"] or None,
        flop_per_clock=MappingProxyType(rates),
        confidence=cast(Confidence, row["confidence"]),
        source=row["source"],
        notes=row["notes"],
    )


def _matmul_rates(row: Mapping[str, str], suffix: str) -> dict[Precision, float]:
    """The rate of each precision's matmuls; see the module's table."""
    columns: dict[Precision, tuple[str, ...]] = {precision: (precision,) for precision in PRECISIONS}
    columns |= {"fp64": ("fp64_tensor", "fp64"), "fp32": ("fp32_matrix", "fp32")}
    rates: dict[Precision, float] = {}
    for precision, names in columns.items():
        rate = next(filter(None, (row[name + suffix] for name in names)), None)
        if rate is not None:
            rates[precision] = float(rate)
    return rates


def _number(text: str) -> float | None:
    return float(text) if text else None


def _hertz(mhz: str) -> float | None:
    return float(mhz) * 1e6 if mhz else None
