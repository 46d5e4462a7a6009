"""What the ``peaks`` command shows, as plain values, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

__all__ = ["CatalogRow", "Datasheet", "MachineDevice", "Measured", "PeaksView", "render_peaks_json"]

_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Datasheet:
    """What the catalog says of a device of this machine."""

    name: str
    """The catalog's name of it."""
    peak_flop_per_s: Mapping[str, float]
    """Dense, by precision, of the part that torch may use."""
    memory_byte_per_s: float | None
    source: str
    """Such as ``datasheet, 42 of 108 SMs (MIG)``."""
    confidence: str
    """high, medium or low."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A measured matmul rate."""

    flop_per_s: Mapping[str, float]
    """By precision of the operands; without those that were not measured."""
    detail: str
    notes: tuple[str, ...]
    measured_at_s: float
    """Seconds of the Unix epoch."""


@dataclass(frozen=True, slots=True)
class MachineDevice:
    """One device of this machine; None for what is not known of it."""

    name: str | None
    index: int | None
    """torch's; None for a CPU."""
    backend: str | None
    """cuda, rocm, xpu or cpu."""
    sm_count: int | None
    threads: int | None
    """Of torch, on a CPU."""
    memory_byte: int | None
    power_limit_w: float | None
    default_power_limit_w: float | None
    driver: str | None
    datasheet: Datasheet | None
    because: tuple[str, ...]
    """Why there is no datasheet peak; lines."""
    ceiling: Measured | None
    """None where it was never measured."""


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """One device of the catalog; None for what no sheet gives."""

    name: str
    vendor: str
    arch: str
    capability: str | None
    driver_names: tuple[str, ...]
    peak_flop_per_s: Mapping[str, float]
    """Dense, by precision; int8 in operations."""
    memory_byte_per_s: float | None
    sm_count: int | None
    memory_gib: float | None
    tensor_clock_hz: float | None
    boost_clock_hz: float | None
    confidence: str
    source: str
    notes: str


@dataclass(frozen=True, slots=True)
class PeaksView:
    """All that the command shows."""

    devices: tuple[MachineDevice, ...] | None
    """None where this machine was not looked at."""
    devices_because: str | None
    """Why not."""
    catalog: tuple[CatalogRow, ...]
    is_selection: bool
    """Whether the rows were asked for by name: then everything known of them is shown."""


def render_peaks_json(view: PeaksView) -> str:
    """The fields of the view, indented by 2, in ASCII; unknown is ``null``, units are in the keys."""
    content = {"schema_version": _SCHEMA_VERSION, **_plain(view)}
    del content["is_selection"]
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
