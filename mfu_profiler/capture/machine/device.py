"""The device in use, as torch and the driver describe it now: the member ``device`` of the trace.

A trace names its devices but not their power limit, and a CPU not at all.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch

from mfu_profiler.hardware.names import is_nameless
from mfu_profiler.hardware.nvml import NvmlUnavailableError
from mfu_profiler.hardware.nvml_device import open_device
from mfu_profiler.hardware.spec import Backend
from mfu_profiler.hardware.visible_devices import uuid_spellings

__all__ = ["LiveDevice", "cpu_name", "live_device", "one_line"]

_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class LiveDevice:
    """What is known of a device while a program runs on it; None for what is not."""

    name: str | None
    """As the driver says it; the model of a CPU."""

    index: int | None
    """torch's; None for a CPU."""

    backend: Backend | Literal["cpu"] | None
    """None where torch runs on something else."""

    sm_count: int | None = None
    """SMs, CUs (work-group processors on RDNA) or Intel's EUs: what torch sees, so a MIG slice's own."""

    memory_byte: int | None = None
    """Of the device; None for a CPU."""

    compute_capability: tuple[int, int] | None = None
    """``(8, 0)``; means nothing without ``backend``."""

    gfx: str | None = None
    """AMD's instruction set, such as ``gfx942:sramecc+:xnack-``."""

    uuid: str | None = None
    """NVML's ``GPU-...`` or ``MIG-...``; elsewhere as torch says it."""

    power_limit_w: float | None = None
    """The limit in force; under MIG the whole GPU's, as is the next."""

    default_power_limit_w: float | None = None
    """The limit that the device is delivered with."""

    driver: str | None = None
    """Its version."""

    nvml_because: str | None = None
    """Why fields are missing that an NVIDIA device has; None where they were read, or do not apply."""

    threads: int | None = None
    """Threads that torch computes with; CPU only."""

    def to_json(self) -> dict[str, Any]:
        """All fields, as JSON holds them."""
        values = asdict(self)
        if self.compute_capability is not None:
            values["compute_capability"] = list(self.compute_capability)
        return values


def live_device(device: torch.device) -> LiveDevice:
    """What torch, NVML and the operating system say of a device. Never raises: what fails is None.

    Args:
        device: one that the program already uses; CUDA is initialised by asking for its properties.

    """
    readers = {"cuda": _cuda_device, "xpu": _xpu_device, "cpu": _cpu_device}
    reader = readers.get(device.type)
    if reader is None:
        return LiveDevice(device.type, device.index, None)
    try:
        return reader(device)
    except Exception as error:  # whatever a driver does, the run goes on; the report says what is missing
        because = f"torch cannot describe the device: {one_line(error)}"
        return LiveDevice(None, device.index, _backend(device), nvml_because=because)


def cpu_name() -> str | None:
    """The model of this machine's CPU; on ARM, where Linux does not say it, the architecture."""
    try:
        text = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        text = ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return " ".join(value.split())
    return platform.processor() or platform.machine() or None


def one_line(error: BaseException) -> str:
    """An exception as part of a sentence: its type, and its message without line breaks."""
    text = " ".join(str(error).split())
    return text if isinstance(error, NvmlUnavailableError) else f"{type(error).__name__}: {text}"


def _backend(device: torch.device) -> Backend | Literal["cpu"]:
    if device.type == "cuda":
        return "cuda" if torch.version.hip is None else "rocm"
    return "xpu" if device.type == "xpu" else "cpu"


def _cuda_device(device: torch.device) -> LiveDevice:
    """A GPU of NVIDIA or AMD: torch calls both ``cuda``."""
    index = torch.cuda.current_device() if device.index is None else device.index
    properties: Any = torch.cuda.get_device_properties(index)
    backend = _backend(device)
    uuid = getattr(properties, "uuid", None)  # since torch 2.5
    live = LiveDevice(
        name=properties.name or None,
        index=index,
        backend=backend,
        sm_count=properties.multi_processor_count,
        memory_byte=properties.total_memory,
        compute_capability=(properties.major, properties.minor),
        uuid=None if uuid is None else str(uuid),
    )
    if backend == "rocm":
        # A CUDA build of torch puts the device's name here.
        gfx = getattr(properties, "gcnArchName", None) or None
        return replace(live, name=_rocm_name(properties.name, index), gfx=gfx)
    return _with_nvml(live)


def _with_nvml(live: LiveDevice) -> LiveDevice:
    index = 0 if live.index is None else live.index
    try:
        with open_device(live.uuid, index) as opened:
            reading = opened.reading()
    except Exception as error:  # a driver may raise anything; the report says that NVML could not be read
        because = one_line(error)
        uuid = None if live.uuid is None else uuid_spellings(live.uuid)[0]
        return replace(live, uuid=uuid, nvml_because=because)
    return replace(
        live,
        name=live.name or reading.name,
        uuid=reading.uuid or live.uuid,
        power_limit_w=reading.power_limit_w,
        default_power_limit_w=reading.default_power_limit_w,
        driver=reading.driver,
    )


def _rocm_name(name: str, index: int) -> str | None:
    """HIP's name; amdsmi's where HIP's says nothing, as "AMD Radeon Graphics" does."""
    if not is_nameless(name):
        return name
    try:
        handle = torch.cuda._get_amdsmi_handler(index)
        market_name = import_module("amdsmi").amdsmi_get_gpu_asic_info(handle)["market_name"]
    except Exception:  # no amdsmi, or one of its own errors: gfx id and CU count tell the device too
        return name or None
    # Without a name amdsmi gives the PCI device id, "0x74a1".
    is_name = isinstance(market_name, str) and not is_nameless(market_name) and market_name[:2] != "0x"
    return market_name if is_name else name or None


def _xpu_device(device: torch.device) -> LiveDevice:
    index = torch.xpu.current_device() if device.index is None else device.index
    properties: Any = torch.xpu.get_device_properties(index)
    counts = ("multi_processor_count", "gpu_eu_count", "max_compute_units")
    uuid = getattr(properties, "uuid", None)  # since torch 2.9
    return LiveDevice(
        name=properties.name or None,
        index=index,
        backend="xpu",
        sm_count=next((count for field in counts if (count := getattr(properties, field, None))), None),
        memory_byte=getattr(properties, "total_memory", None),
        uuid=None if uuid is None else str(uuid),
        driver=getattr(properties, "driver_version", None),
    )


def _cpu_device(device: torch.device) -> LiveDevice:
    return LiveDevice(cpu_name(), None, "cpu", threads=torch.get_num_threads())
