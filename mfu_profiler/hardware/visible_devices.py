"""Which GPU of NVML's list CUDA means by an index: UUIDs and ``CUDA_VISIBLE_DEVICES``.

NVML's index is not CUDA's. ``CUDA_VISIBLE_DEVICES`` hides and reorders devices, and without
``CUDA_DEVICE_ORDER=PCI_BUS_ID`` CUDA counts from the fastest device, by a rule of its own.

::

    NVML (bus order)          CUDA_VISIBLE_DEVICES     CUDA
    0  GPU-aaaa               "2,GPU-..." , "2,0"      0  GPU-cccc
    1  GPU-bbbb, in MIG mode                           1  GPU-aaaa
    2  GPU-cccc

Source: CUDA programming guide, "CUDA Environment Variables"; the corner cases as pytorch's tests of
its own parser found them in driver 525.60.13 (pytorch/pytorch#92315).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["ListedGpu", "ListedSlice", "device_at_index", "device_named", "uuid_spellings", "visible_entries"]

_NUMBER = re.compile(r"\s*([+-]?[0-9]+)")
"""CUDA reads an entry as C's ``strtoul`` does: ``1gpu2`` is 1."""

_LONGEST_INDEX = 20
"""Characters. What is longer names no device, and Python refuses to convert numbers without end."""

_OLD_SLICE = re.compile(
    r"MIG-(?P<gpu>GPU-[^/]+)/(?P<gpu_instance>[0-9]{1,9})/(?P<compute_instance>[0-9]{1,9})"
)
"""How drivers before 470 name a MIG device. Newer ones still take it."""


@dataclass(frozen=True, slots=True)
class ListedSlice:
    """One MIG device as NVML lists it."""

    uuid: str | None
    """``MIG-...``; drivers before 470 say ``MIG-GPU-<uuid of the GPU>/<gpu instance>/<compute instance>``."""

    gpu_instance: int | None = None
    compute_instance: int | None = None

    handle: Any = None
    """NVML's, handed through."""


@dataclass(frozen=True, slots=True)
class ListedGpu:
    """One GPU as NVML lists it, in the order of PCI bus ids."""

    uuid: str | None
    """``GPU-...``; None where the driver refuses it."""

    name: str | None = None
    """As the driver says it."""

    is_mig: bool = False
    """Whether it is split by MIG: CUDA then sees its slices, not the GPU."""

    slices: tuple[ListedSlice, ...] = ()
    """Its MIG devices."""

    handle: Any = None
    """NVML's, handed through; None where this process may not use the GPU."""


def visible_entries(value: str | None) -> tuple[int, ...] | tuple[str, ...] | None:
    """What ``CUDA_VISIBLE_DEVICES`` lists: indices, or UUIDs and their beginnings; None is "all".

    The first entry that is negative or no number ends a list of indices; so does anything but a UUID
    of the same kind in a list of UUIDs. A repeated entry makes the whole list void.
    """
    if value is None:
        return None
    for prefix in ("GPU-", "MIG-"):
        if value.startswith(prefix):
            return _without_repetition(_leading_uuids(value, prefix))
    return _without_repetition(_leading_numbers(value))


def uuid_spellings(uuid: str) -> tuple[str, ...]:
    """How NVML may write a UUID: torch's ``str(properties.uuid)`` lacks the ``GPU-`` or ``MIG-``."""
    return (uuid,) if uuid.startswith(("GPU-", "MIG-")) else (f"GPU-{uuid}", f"MIG-{uuid}")


def device_named(uuid: str, listed: Sequence[ListedGpu]) -> ListedGpu | ListedSlice | None:
    """The one device whose UUID is, or begins with, ``uuid``; None where there is none, or several."""
    old = _OLD_SLICE.fullmatch(uuid)
    if old is not None:
        wanted = int(old["gpu_instance"]), int(old["compute_instance"])
        for gpu in listed:
            for part in gpu.slices if gpu.uuid == old["gpu"] else ():
                if (part.gpu_instance, part.compute_instance) == wanted:
                    return part
    devices: list[ListedGpu | ListedSlice] = [*listed, *(part for gpu in listed for part in gpu.slices)]
    exact = [device for device in devices if device.uuid == uuid]
    fitting = exact or [device for device in devices if device.uuid and device.uuid.startswith(uuid)]
    return fitting[0] if len(fitting) == 1 else None


def device_at_index(
    index: int, environment: Mapping[str, str], listed: Sequence[ListedGpu]
) -> ListedGpu | ListedSlice:
    """The device that CUDA, and so torch, calls ``index``.

    Of a GPU with several MIG slices the GPU itself: which slice CUDA takes is not known from here.

    Raises:
        LookupError: nothing is visible there, or NVML's list cannot tell which device it is.

    """
    value = environment.get("CUDA_VISIBLE_DEVICES")
    entries = visible_entries(value)
    if entries is None or any(isinstance(entry, int) for entry in entries):
        _check_order(environment, listed)
    visible = _visible_devices(range(len(listed)) if entries is None else entries, listed)
    if not 0 <= index < len(visible):
        setting = "" if value is None else f' (CUDA_VISIBLE_DEVICES="{value[:200]}")'
        raise LookupError(f"NVML lists no device for index {index}{setting}")
    return visible[index]


def _leading_uuids(value: str, prefix: str) -> list[str]:
    entries: list[str] = []
    for entry in value.split(","):
        if not entry.startswith(prefix):
            break
        entries.append(entry)
    return entries


def _leading_numbers(value: str) -> list[int]:
    numbers: list[int] = []
    for entry in value.split(","):
        match = _NUMBER.match(entry)
        if match is None or len(match[1]) > _LONGEST_INDEX or int(match[1]) < 0:
            break
        numbers.append(int(match[1]))
    return numbers


def _without_repetition(entries: list[Any]) -> tuple[Any, ...]:
    return tuple(entries) if len(set(entries)) == len(entries) else ()


def _check_order(environment: Mapping[str, str], listed: Sequence[ListedGpu]) -> None:
    """Raises where an index does not tell the device."""
    if len(listed) < 2:
        return
    if any(gpu.is_mig for gpu in listed):
        raise LookupError(
            "some GPUs are split by MIG, so that a CUDA index does not tell the device;"
            " CUDA_VISIBLE_DEVICES=MIG-... or GPU-... does"
        )
    if environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return
    names = {gpu.name for gpu in listed}
    if len(names) > 1 or None in names:
        raise LookupError(
            "the GPUs differ, and CUDA then orders them by a rule of its own;"
            " CUDA_DEVICE_ORDER=PCI_BUS_ID makes the index tell the device"
        )


def _visible_devices(
    entries: Sequence[int] | Sequence[str], listed: Sequence[ListedGpu]
) -> list[ListedGpu | ListedSlice]:
    """The devices in CUDA's order; the first entry that names none ends them."""
    devices: list[ListedGpu | ListedSlice] = []
    for entry in entries:
        device: ListedGpu | ListedSlice | None
        if isinstance(entry, int):
            device = listed[entry] if entry < len(listed) else None
        else:
            device = device_named(entry, listed)
        if device is None:
            break
        if isinstance(device, ListedGpu) and device.is_mig and len(device.slices) == 1:
            device = device.slices[0]
        if any(device is known for known in devices):
            return []
        devices.append(device)
    return devices
