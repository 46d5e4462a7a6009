"""The fields of a Kineto event that are used, as typed ``msgspec`` structs.

Everything else in an event is skipped by the decoder without making Python objects. Two spellings
of a field are two members here (``Input Dims`` since 2021, ``Input dims`` before).
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["NOTHING", "Arguments", "Event", "ExactEvent", "Metadata", "Number"]

Number = int | float | str | None

NOTHING = msgspec.Raw(b"")

_ARGUMENT_NAMES = {
    "external_id": "External id",
    "external_id_2020": "external id",
    "dims": "Input Dims",
    "dims_2020": "Input dims",
    "types": "Input type",
    "concrete": "Concrete Inputs",
    "sequence": "Sequence number",
    "stack": "Call stack",
    "collective": "Collective name",
    "byte": "bytes",
}


class Arguments(msgspec.Struct, frozen=True, gc=False, rename=_ARGUMENT_NAMES):
    """The used members of an event's ``args``. ``Raw`` members keep their JSON text."""

    correlation: Number = None
    external_id: Number = None
    external_id_2020: Number = None
    device: Number = None
    stream: Number = None
    sequence: Number = None
    byte: Number = None
    dims: msgspec.Raw = NOTHING
    dims_2020: msgspec.Raw = NOTHING
    types: msgspec.Raw = NOTHING
    concrete: msgspec.Raw = NOTHING
    stack: msgspec.Raw = NOTHING
    collective: msgspec.Raw = NOTHING


class _EventFields(msgspec.Struct, gc=False):
    ph: str | None = None
    cat: str | None = None
    name: str | None = None
    pid: Number = None
    tid: Number = None
    dur: float | None = None
    args: Arguments = Arguments()


class Event(_EventFields, gc=False):
    """An event whose stamp is exact to the nanosecond: whole µs (int), or µs below 2**43 (float)."""

    ts: int | float | None = None


class ExactEvent(_EventFields, gc=False):
    """An event with epoch µs *and* ns fractions: the stamp's text is kept (a float64 has 0.25 µs)."""

    ts: msgspec.Raw = NOTHING


class Metadata(msgspec.Struct, rename="camel"):
    """The used top-level keys beside ``traceEvents``."""

    device_properties: Any = None
    distributed_info: Any = msgspec.field(default=None)
    schema_version: Any = None
    trace_name: Any = None
    record_shapes: Any = msgspec.field(default=None, name="record_shapes")
    with_stack: Any = msgspec.field(default=None, name="with_stack")
    log: Any = msgspec.field(default=None, name="INFO")
    torch_version: Any = msgspec.field(default=None, name="torch_version")
    pytorch_version: Any = msgspec.field(default=None, name="pytorch_version")
    cuda_driver_version: Any = msgspec.field(default=None, name="cuda_driver_version")
    hip_runtime_version: Any = msgspec.field(default=None, name="hip_runtime_version")
    base_time_nanoseconds: Any = None
    live: Any = msgspec.field(default=None, name="mfu_profiler")

    def merged(self, other: Metadata) -> Metadata:
        """Self, with the keys that only ``other`` has."""
        fields = self.__struct_fields__
        values = {field: getattr(self, field) for field in fields}
        for field in fields:
            if values[field] is None:
                values[field] = getattr(other, field)
        return Metadata(**values)
