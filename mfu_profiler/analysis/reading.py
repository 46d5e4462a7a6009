"""What is known of a timeline's device: by the trace's ``deviceProperties``, else by the live process."""

from __future__ import annotations

from typing import get_args

from mfu_profiler.analysis.host_device import names_an_accelerator
from mfu_profiler.hardware import Backend
from mfu_profiler.hardware.spec import DeviceReading
from mfu_profiler.trace.timeline import Timeline

__all__ = ["backend_of", "device_reading", "is_cpu_run"]


def is_cpu_run(timeline: Timeline) -> bool:
    """Whether the host itself is the device."""
    if len(timeline.activities):
        return False
    said = _live_backend(timeline)
    return said == "cpu" if said is not None else not names_an_accelerator(timeline)


def backend_of(timeline: Timeline) -> Backend | None:
    """Whose runtime recorded the trace; None where no device is named."""
    if timeline.facts.is_rocm:
        return "rocm"
    categories = timeline.facts.categories
    if "xpu_runtime" in categories or "xpu_driver" in categories:
        return "xpu"
    said = _live_backend(timeline)
    for known in get_args(Backend):
        if known == said:
            return known  # type: ignore[no-any-return]  # get_args says nothing of its values
    has_device = timeline.device_index is not None or timeline.device is not None
    return "cuda" if has_device else None


def device_reading(timeline: Timeline) -> DeviceReading | None:
    """Name and size of the device; None where nothing tells them. The name may be empty."""
    said, live = timeline.device, timeline.live.device if timeline.live is not None else None
    if live is not None and live.backend == "cpu":
        live = None
    if said is None and live is None:
        return None
    capability = None
    if said is not None and said.compute_capability is not None:
        major, minor = said.compute_capability.split(".")
        capability = (int(major), int(minor))
    return DeviceReading(
        name=(said.name if said is not None else None) or (live.name if live is not None else None) or "",
        sm_count=(said.sm_count if said else None) or (live.sm_count if live else None),
        compute_capability=capability or (live.compute_capability if live else None),
        memory_byte=(said.memory_byte if said else None) or (live.memory_byte if live else None),
        gfx=live.gfx if live else None,
        backend=backend_of(timeline),
    )


def _live_backend(timeline: Timeline) -> str | None:
    """``cpu`` or a ``Backend``; None where the process does not say it, or says something else."""
    live = timeline.live
    said = live.device.backend if live is not None and live.device is not None else None
    return said if said in ("cpu", *get_args(Backend)) else None
