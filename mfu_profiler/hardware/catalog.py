"""From what a driver says of a device to its dense peaks."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from mfu_profiler.hardware.names import devices_named, is_nameless, split_mig
from mfu_profiler.hardware.rates import vendor_of_reading
from mfu_profiler.hardware.share import compute_units, share_of
from mfu_profiler.hardware.spec import (
    Backend,
    DeviceMatch,
    DeviceReading,
    DeviceSpec,
    unit_word,
)
from mfu_profiler.hardware.tables import read_devices
from mfu_profiler.hardware.unknown import unknown_device

__all__ = ["devices", "find_device"]

_AMD_GFX = {(9, 0): ("gfx908", "gfx90a"), (9, 4): ("gfx942",), (9, 5): ("gfx950",)}
"""gfx ids of Instinct parts by the capability that torch makes of them (arch_rates.csv)."""

_MEMORY_TOLERANCE = 1.05
"""``totalGlobalMem`` is a little under the nominal size; what exceeds it by 5 % is another card."""


def devices() -> tuple[DeviceSpec, ...]:
    """The whole catalog, in the order of ``peaks.csv``.

    A few rows have no peaks (MI308X) or not all (A100 SXM 64GB); they serve ``estimated_device``.
    """
    return read_devices()


def find_device(
    name: str,
    *,
    sm_count: int | None = None,
    compute_capability: tuple[int, int] | None = None,
    memory_byte: int | None = None,
    gfx: str | None = None,
    backend: Backend | None = None,
) -> DeviceMatch:
    """The catalog row of a device and its peaks, scaled to the part that the device may use.

    Args:
        name: as the driver says it, or a marketing name. Matched whole; case and repeated spaces
            do not matter. ROCm may leave it empty or say "AMD Radeon Graphics": then the gfx id (or
            the capability) and the CU count find the row.
        sm_count: ``multiProcessorCount`` (``numSms`` in traces): SMs, CUs, or EUs from torch.xpu.
        compute_capability: ``(9, 0)``; used only for a nameless AMD device, and for hints.
        memory_byte: total memory; tells apart parts that share everything else.
        gfx: AMD's instruction set, such as ``gfx942``.
        backend: whose runtime this is; None where it is not known.

    Raises:
        UnknownDeviceError: no row has this name, or the row does not fit the device.

    """
    reading = DeviceReading(name, sm_count, compute_capability, memory_byte, gfx, backend)
    bare_name, mig_profile = split_mig(name)
    candidates = devices_named(bare_name)
    if candidates:
        return _match(_decided_by_units(candidates, reading), reading, mig_profile)
    return _match_nameless(reading)


def _decided_by_units(candidates: tuple[DeviceSpec, ...], reading: DeviceReading) -> DeviceSpec:
    """The one row that a name means; where parts share it, their unit counts decide."""
    if len(candidates) == 1:
        return candidates[0]
    fitting = [spec for spec in candidates if spec.sm_count == reading.sm_count]
    if len(fitting) == 1:
        return fitting[0]
    counts = ", ".join(f"{spec.name} has {spec.sm_count}" for spec in candidates)
    raise unknown_device(reading, f"its {unit_word(candidates[0].vendor)} decide what it is: {counts}")


def _match(spec: DeviceSpec, reading: DeviceReading, mig_profile: str | None) -> DeviceMatch:
    if not spec.peak_flop_per_s:
        raise unknown_device(reading, f"no public sheet gives a peak of {spec.name}")
    if _has_more_memory(spec, reading.memory_byte):
        note = f" ({spec.shared_name})" if spec.shared_name else ""
        raise unknown_device(reading, f"it has more memory than {spec.name}{note}")
    share = share_of(spec, reading, mig_profile)
    bandwidth = spec.memory_byte_per_s
    scaled_bandwidth = (
        None if bandwidth is None or share.memory_fraction is None else bandwidth * share.memory_fraction
    )
    peaks = {precision: peak * share.fraction for precision, peak in spec.peak_flop_per_s.items()}
    return DeviceMatch(
        spec=spec,
        peak_flop_per_s=MappingProxyType(peaks),
        memory_byte_per_s=scaled_bandwidth,
        sm_count=share.sm_count,
        scaled_fraction=share.fraction,
        source=_source(spec, reading, share.text, share.is_certain),
    )


def _source(spec: DeviceSpec, reading: DeviceReading, part: str, part_is_certain: bool) -> str:
    doubts = []
    if spec.confidence == "low" or not part_is_certain:
        doubts.append("low confidence")
    if spec.shared_name and reading.sm_count is None and reading.memory_byte is None:
        doubts = ["low confidence", spec.shared_name]
    doubt = f" ({'; '.join(doubts)})" if doubts else ""
    return f"datasheet{doubt}" + (f", {part}" if part else "")


def _match_nameless(reading: DeviceReading) -> DeviceMatch:
    """An Instinct without a name: its gfx id and CU count must mean one set of peaks."""
    fitting = _instincts_like(reading)
    if not fitting:
        raise unknown_device(reading)
    fitting = [spec for spec in fitting if _has_memory(spec, reading.memory_byte)] or fitting
    names = " or ".join(spec.name for spec in fitting)
    spec = fitting[0]
    if any(other.peak_flop_per_s != spec.peak_flop_per_s for other in fitting):
        raise unknown_device(reading, f"it may be {names}: say which with --device NAME")
    match = _match(spec, replace(reading, memory_byte=None), None)
    source = f"{match.source}, {spec.capability} with {spec.sm_count} CUs: {names}"
    if any(other.memory_byte_per_s != spec.memory_byte_per_s for other in fitting):
        return replace(match, memory_byte_per_s=None, source=source)
    return replace(match, source=source)


def _instincts_like(reading: DeviceReading) -> list[DeviceSpec]:
    if not is_nameless(reading.name) or vendor_of_reading(reading) != "AMD":
        return []
    name = reading.name.strip().casefold()
    gfx = reading.gfx or (name if name.startswith("gfx") else None)
    by_capability = _AMD_GFX.get(reading.compute_capability or (0, 0), ())
    gfx_ids = by_capability if gfx is None else (gfx.partition(":")[0],)
    return [
        spec
        for spec in read_devices()
        if spec.capability in gfx_ids
        and spec.arch.startswith("CDNA")
        and reading.sm_count is not None
        and compute_units(spec, reading.sm_count) == spec.sm_count
    ]


def _has_more_memory(spec: DeviceSpec, memory_byte: int | None) -> bool:
    if spec.memory_gib is None or memory_byte is None:
        return False
    return memory_byte > _MEMORY_TOLERANCE * spec.memory_gib * 2**30


def _has_memory(spec: DeviceSpec, memory_byte: int | None) -> bool:
    if spec.memory_gib is None or memory_byte is None:
        return False
    nominal = spec.memory_gib * 2**30
    return nominal / _MEMORY_TOLERANCE <= memory_byte <= nominal * _MEMORY_TOLERANCE
