"""How much of a catalog row one torch device may use: all of it, a MIG slice, a partition, a tile."""

from __future__ import annotations

from dataclasses import dataclass

from mfu_profiler.hardware.spec import DeviceReading, DeviceSpec, unit_word
from mfu_profiler.hardware.tables import read_mig_profiles
from mfu_profiler.hardware.unknown import unknown_device

__all__ = ["Share", "compute_units", "share_of"]

_EU_PER_XE_CORE = 8
"""torch.xpu counts execution units. Source: torchtitan; Intel Max 1550: 128 Xe-cores, 1024 EU."""

_CU_PER_WORK_GROUP_PROCESSOR = 2
"""HIP reference, hipDeviceAttributeMultiprocessorCount: in WGP mode half of the CUs."""


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a device's row that one torch device may use."""

    fraction: float
    """Of the peak, 0 to 1."""

    memory_fraction: float | None
    """Of memory bandwidth, 0 to 1; None where it is not known."""

    sm_count: int | None
    """SMs, CUs or Xe-cores of the part."""

    text: str
    """What part it is, to be appended to ``datasheet``; empty for a whole device."""

    is_certain: bool = True
    """False where fewer units than the row's may also mean another card of the same name."""


def share_of(spec: DeviceSpec, reading: DeviceReading, mig_profile: str | None) -> Share:
    """The part of ``spec`` that the device in ``reading`` has.

    Raises:
        UnknownDeviceError: it has more units than the row, or a MIG slice does not say its SMs.

    """
    reported = reading.sm_count
    units = None if reported is None else compute_units(spec, reported)
    if spec.sm_count is None:
        return Share(1.0, 1.0, None, "")
    if units is not None and not 0 < units <= spec.sm_count:
        raise unknown_device(reading, _misfit(spec, reported))
    if mig_profile is not None:
        return _mig_share(spec, reading, mig_profile, units, spec.sm_count)
    if spec.torch_devices > 1:
        return _tile_share(spec, units, spec.sm_count)
    if units is None or units == spec.sm_count:
        return Share(1.0, 1.0, spec.sm_count, "")
    return _partition_share(spec, units, spec.sm_count)


def compute_units(spec: DeviceSpec, reported: int) -> int:
    """SMs, CUs or Xe-cores, from the count that the runtime reports.

    RDNA runtimes report work-group processors (in CU mode CUs), torch.xpu execution units.
    """
    if spec.sm_count is None:
        return reported
    if spec.arch.startswith("RDNA") and _CU_PER_WORK_GROUP_PROCESSOR * reported <= spec.sm_count:
        return _CU_PER_WORK_GROUP_PROCESSOR * reported
    if spec.arch.startswith("Xe") and reported > spec.sm_count and reported % _EU_PER_XE_CORE == 0:
        return reported // _EU_PER_XE_CORE
    return reported


def _misfit(spec: DeviceSpec, reported: int | None) -> str:
    note = f" ({spec.shared_name})" if spec.shared_name else ""
    word = unit_word(spec.vendor)
    return f"it reports {reported} {word}, and {spec.name} has {spec.sm_count}{note}"


def _mig_share(spec: DeviceSpec, reading: DeviceReading, profile: str, units: int | None, full: int) -> Share:
    """A MIG slice: SMs as reported, else as the profile is documented; memory by memory slices.

    ``7g`` of an A100 has 98 of 108 SMs: it is a slice too.
    """
    # A compute instance ("1c.3g.40gb") has some SMs of its GPU instance and all of its memory.
    documented = read_mig_profiles().get((spec.name, profile.rpartition("c.")[2]))
    if units is None and documented is not None and "c." not in profile:
        units = documented.sm_count
    if units is None:
        raise unknown_device(reading, f"the SM count of MIG profile {profile} on {spec.name} is needed")
    memory_fraction = units / full if documented is None else documented.memory_fraction
    return Share(units / full, memory_fraction, units, f"{units} of {full} SMs (MIG)")


def _tile_share(spec: DeviceSpec, units: int | None, full: int) -> Share:
    """One tile unless more units are seen (``ZE_FLAT_DEVICE_HIERARCHY=COMPOSITE`` shows the card)."""
    a_tile = full // spec.torch_devices
    units = a_tile if units is None else units
    memory_fraction = 1 / spec.torch_devices if units <= a_tile else 1.0
    part = "(tile)" if units <= a_tile else "visible"
    text = "" if units == full else f"{units} of {full} {unit_word(spec.vendor)} {part}"
    return Share(units / full, memory_fraction, units, text)


def _partition_share(spec: DeviceSpec, units: int, full: int) -> Share:
    """Fewer units than the row: an equal partition on AMD (DPX, QPX, CPX); elsewhere it may be another card.

    NVIDIA's MPS can hide SMs, but a lesser card of the same name looks the same: low confidence,
    and the bandwidth is not known.
    """
    text = f"{units} of {full} {unit_word(spec.vendor)}"
    fraction = units / full
    if spec.vendor == "AMD" and full % units == 0:
        return Share(fraction, fraction, units, f"{text} (partition)")
    return Share(fraction, None, units, f"{text} visible", is_certain=False)
