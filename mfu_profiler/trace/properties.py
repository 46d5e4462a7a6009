"""What a trace says about itself and its devices, beside the events."""

from __future__ import annotations

from typing import Any

from mfu_profiler.trace.columns import ColumnBuilder
from mfu_profiler.trace.events import Metadata
from mfu_profiler.trace.timeline import DeviceProperties, TraceFacts

__all__ = ["device_properties", "trace_facts", "whole_number"]


def trace_facts(
    builder: ColumnBuilder,
    metadata: Metadata,
    *,
    path: str,
    truncated_because: str | None,
    call_names: list[str],
    has_python: bool,
) -> TraceFacts:
    """What holds for the whole trace. Args: call_names: distinct names of runtime calls."""
    version = metadata.torch_version or metadata.pytorch_version
    return TraceFacts(
        path=path,
        event_count=sum(builder.events_by_category.values()),
        truncated_because=truncated_because,
        dropped={reason: count for reason, count in builder.dropped.items() if count},
        categories=dict(builder.events_by_category),
        is_rocm=metadata.hip_runtime_version is not None
        or any(name.startswith("hip") for name in call_names),
        torch_version=version if isinstance(version, str) else None,
        recorded_shapes=len(builder.signatures) > 1,
        recorded_stacks=has_python or len(builder.stacks) > 1,
    )


def device_properties(properties: Any, device: int | None) -> DeviceProperties | None:
    """The entry of a device; where no id fits, the first entry if all are alike."""
    if not isinstance(properties, list):
        return None
    entries = [entry for entry in properties if isinstance(entry, dict)]
    fitting = [entry for entry in entries if device is not None and whole_number(entry.get("id")) == device]
    if not fitting and len({(str(entry.get("name")), str(entry.get("numSms"))) for entry in entries}) == 1:
        fitting = entries
    if not fitting:
        return None
    entry = fitting[0]
    major, minor = whole_number(entry.get("computeMajor")), whole_number(entry.get("computeMinor"))
    name = entry.get("name")
    return DeviceProperties(
        name=name if isinstance(name, str) and name else None,
        sm_count=_positive(entry.get("numSms")),
        memory_byte=_positive(entry.get("totalGlobalMem")),
        compute_capability=None if major is None or minor is None else f"{major}.{minor}",
    )


def whole_number(value: Any) -> int | None:
    """A number or its text as an int64; None for anything else."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if -(2**63) <= number < 2**63 else None


def _positive(value: Any) -> int | None:
    number = whole_number(value)
    return number if number is not None and number > 0 else None
