"""JSON that the fast decoder refuses: NaN, control characters, broken UTF-8, fields of the wrong type.

Slow (Python's own ``json``), so only for the few events around a fault, and for the members beside the
events.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from mfu_profiler.trace.events import Arguments, Event, ExactEvent
from mfu_profiler.trace.stamps import LIMIT_US

__all__ = ["lenient_event", "lenient_value", "value_end"]

_FIRST_BYTE = 2**12
_LONGEST_NUMBER = 300
"""Characters; int() is quadratic, and refuses 4,300 digits."""

_MOST = Decimal("1e300")
_NAN = re.compile(r"-?(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
_STRING_OR_NAN = re.compile(rf'"[^"\\]*(?:\\.[^"\\]*)*"|{_NAN.pattern}', re.IGNORECASE | re.DOTALL)


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(text) if len(text) < _LONGEST_NUMBER else None
    except InvalidOperation:
        return None


_SCANNER = json.JSONDecoder(strict=False, parse_float=str, parse_int=str)
_LENIENT = json.JSONDecoder(
    strict=False, parse_constant=lambda _: None, parse_float=_number, parse_int=_number
)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def value_end(data: bytes, start: int) -> int | None:
    """Where the JSON value at ``start`` ends; None where it is broken or goes on beyond the data."""
    size = _FIRST_BYTE
    while True:
        # One character per byte: a position in the text is one in the data.
        text = data[start : start + size].decode("latin-1")
        end = _scanned(text)
        if start + size >= len(data) or (end is not None and end < len(text)):
            return None if end is None else start + end
        size *= 8


def _scanned(text: str) -> int | None:
    """The end of the value that the text begins with; None where there is no whole value."""
    try:
        return _SCANNER.raw_decode(text)[1]
    except json.JSONDecodeError as error:
        return _scanned(_without_nan(text, '""')) if _NAN.match(text, error.pos) else None
    except (ValueError, RecursionError):
        return None


def _without_nan(text: str, instead: str) -> str:
    """The text without NaN and Infinity, in any spelling; of the same length where ``instead`` is short."""
    return _STRING_OR_NAN.sub(
        lambda match: match[0] if match[0].startswith('"') else instead.ljust(len(match[0])), text
    )


def lenient_value(text: bytes) -> Any:
    """A JSON value; what cannot be understood of it is None."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decoded(text)


def _decoded(text: bytes) -> Any:
    try:
        return _LENIENT.decode(_without_nan(text.decode("utf-8", "replace"), "null"))
    except (ValueError, RecursionError):
        return None


def lenient_event(text: bytes, kind: type[Event] | type[ExactEvent]) -> Event | ExactEvent | None:
    """An event, without those of its fields that have the wrong type; None for what is no event."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _decoded(text)
    if not isinstance(value, dict):
        return None
    fields: dict[str, Any] = {name: _text(value.get(name)) for name in ("ph", "cat", "name")}
    fields |= {name: _stamp(value.get(name)) for name in ("ts", "dur")}
    fields |= {name: _scalar(value.get(name)) for name in ("pid", "tid")}
    arguments = value.get("args")
    if isinstance(arguments, dict):
        fields["args"] = _arguments(arguments)
    try:
        return msgspec.json.decode(_ENCODER.encode(fields), type=kind)
    except (msgspec.DecodeError, msgspec.EncodeError, OverflowError, RecursionError):
        return None


def _arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """The used arguments. Those kept as JSON text may be anything, the others are one value each."""
    result: dict[str, Any] = {}
    for field in msgspec.structs.fields(Arguments):
        member = arguments.get(field.encode_name)
        member = _encodable(member) if field.type is msgspec.Raw else _scalar(member)
        if member is not None:
            result[field.encode_name] = member
    return result


def _text(member: Any) -> str | None:
    member = _scalar(member)
    return None if member is None else str(member)


def _scalar(member: Any) -> str | Decimal | None:
    """A string or a number within the range of a float64; None for all else."""
    if isinstance(member, str):
        return str(_encodable(member))
    return member if isinstance(member, Decimal) and member.copy_abs() < _MOST else None


def _stamp(member: Any) -> Decimal | None:
    """A stamp in µs, also one written as a string."""
    try:
        number = Decimal(member) if isinstance(member, (str, Decimal)) else Decimal("nan")
    except InvalidOperation:
        return None
    return number if number.is_finite() and number.copy_abs() < LIMIT_US else None


def _encodable(member: Any) -> Any:
    """The same without lone surrogates, which cannot be encoded again."""
    if isinstance(member, str):
        return member.encode("utf-8", "replace").decode()
    if isinstance(member, list):
        return [_encodable(item) for item in member]
    if isinstance(member, dict):
        return {_encodable(name): _encodable(item) for name, item in member.items()}
    return member
