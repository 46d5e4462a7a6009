"""Finding in NVML the device that torch uses: by UUID; by ``CUDA_VISIBLE_DEVICES`` only without one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mfu_profiler.hardware.nvml import Nvml, NvmlDevice, NvmlUnavailableError
from mfu_profiler.hardware.visible_devices import (
    ListedGpu,
    ListedSlice,
    device_at_index,
    device_named,
    uuid_spellings,
)

__all__ = ["open_device"]

_MIG_ENABLED = 1
"""``NVML_DEVICE_MIG_ENABLE``."""


def open_device(uuid: str | None, index: int = 0, environment: Mapping[str, str] | None = None) -> NvmlDevice:
    """The device in use, in an NVML that stays open until the device is closed.

    Args:
        uuid: of the GPU or MIG device, with or without its ``GPU-`` or ``MIG-``; None where torch is too
            old to say it.
        index: torch's index of the device; read only where the UUID leads nowhere.
        environment: ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER``; None is this process's.

    Raises:
        NvmlUnavailableError: no NVML, or it does not list the device.

    """
    nvml = Nvml()
    try:
        handle = _handle_with_uuid(nvml, uuid)
        if handle is None:
            handle = _listed_handle(nvml, uuid, index, os.environ if environment is None else environment)
        return NvmlDevice(nvml, handle)
    except BaseException:
        nvml.close()
        raise


def _handle_with_uuid(nvml: Nvml, uuid: str | None) -> Any:
    for spelling in () if uuid is None else uuid_spellings(uuid):
        handle = nvml.ask("nvmlDeviceGetHandleByUUID", spelling.encode())
        if handle is not None:
            return handle
    return None


def _listed_handle(nvml: Nvml, uuid: str | None, index: int, environment: Mapping[str, str]) -> Any:
    """The handle by way of the list of all devices.

    A UUID that is not in the list must be a MIG slice's: CUDA's and NVML's UUIDs of a slice may differ.
    """
    listed = _listed_gpus(nvml)
    spellings = () if uuid is None else uuid_spellings(uuid)
    found = next((device for name in spellings if (device := device_named(name, listed))), None)
    if found is None:
        try:
            found = device_at_index(index, environment, listed)
        except LookupError as error:
            raise NvmlUnavailableError(str(error)) from error
        if uuid is not None and isinstance(found, ListedGpu) and not found.is_mig:
            raise NvmlUnavailableError(f"NVML lists no device with the UUID {uuid}")
    if found.handle is None:
        raise NvmlUnavailableError("NVML lists the device but does not give access to it")
    return found.handle


def _listed_gpus(nvml: Nvml) -> list[ListedGpu]:
    """All GPUs in NVML's order, those without access included: they count in the index."""
    gpus = []
    for index in range(nvml.ask("nvmlDeviceGetCount") or 0):
        handle = nvml.ask("nvmlDeviceGetHandleByIndex", index)
        if handle is None:
            gpus.append(ListedGpu(uuid=None))
            continue
        mode = nvml.ask("nvmlDeviceGetMigMode", handle)
        is_mig = mode is not None and mode[0] == _MIG_ENABLED
        gpus.append(
            ListedGpu(
                uuid=nvml.text("nvmlDeviceGetUUID", handle),
                name=nvml.text("nvmlDeviceGetName", handle),
                is_mig=is_mig,
                slices=_listed_slices(nvml, handle) if is_mig else (),
                handle=handle,
            )
        )
    return gpus


def _listed_slices(nvml: Nvml, gpu: Any) -> tuple[ListedSlice, ...]:
    slices = []
    for index in range(nvml.ask("nvmlDeviceGetMaxMigDeviceCount", gpu) or 0):
        handle = nvml.ask("nvmlDeviceGetMigDeviceHandleByIndex", gpu, index)
        if handle is not None:
            slices.append(
                ListedSlice(
                    uuid=nvml.text("nvmlDeviceGetUUID", handle),
                    gpu_instance=nvml.ask("nvmlDeviceGetGpuInstanceId", handle),
                    compute_instance=nvml.ask("nvmlDeviceGetComputeInstanceId", handle),
                    handle=handle,
                )
            )
    return tuple(slices)
