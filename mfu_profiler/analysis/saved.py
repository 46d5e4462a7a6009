"""A report that was saved as JSON, back as a ``Report``."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import msgspec

from mfu_profiler.analysis.report import SCHEMA_VERSION, Report
from mfu_profiler.errors import TraceFormatError

__all__ = ["is_saved_report", "saved_reports"]

_BOM = b"\xef\xbb\xbf"
_FIRST_KEY = re.compile(rb'\s*\{\s*"([a-z_]+)"\s*:')
_KEYS = frozenset({"reports", *(field.name for field in fields(Report))})
"""None of them is a key of a trace, whose version is ``schemaVersion``."""
_LONGEST_VERSION = 20
_AGAIN = "make it from the trace:  report TRACE --json FILE"


def is_saved_report(head: bytes) -> bool:
    """Whether a file that begins so is a report as JSON rather than a trace; its first key tells."""
    found = _FIRST_KEY.match(head.removeprefix(_BOM))
    return found is not None and found[1].decode() in _KEYS


def saved_reports(content: bytes, name: str) -> tuple[Report, ...]:
    """The reports in a JSON file that ``report`` or ``track`` wrote. Keys of newer versions are ignored.

    Args:
        content: the whole file.
        name: of the file, for errors.

    Raises:
        TraceFormatError: no JSON, no report, or one of another schema version.

    """
    try:
        plain = msgspec.json.decode(content.removeprefix(_BOM))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TraceFormatError(f"{name}: a report that is cut off or no JSON ({error}).", _AGAIN) from None
    if not isinstance(plain, dict) or "schema_version" not in plain:
        raise TraceFormatError(f"{name}: no report of mfu_profiler: it has no schema_version.", _AGAIN)
    if plain["schema_version"] != SCHEMA_VERSION:
        version = str(plain["schema_version"])[:_LONGEST_VERSION]
        raise TraceFormatError(
            f"{name}: a report of schema version {version}; this mfu_profiler reads {SCHEMA_VERSION}.", _AGAIN
        )
    reports = _converted(plain.get("reports", [plain]), name)
    if not reports:
        raise TraceFormatError(f"{name}: the file holds no report.", _AGAIN)
    return reports


def _converted(plain: Any, name: str) -> tuple[Report, ...]:
    try:
        return msgspec.convert(plain, tuple[Report, ...])
    except msgspec.ValidationError as error:
        raise TraceFormatError(f"{name}: no report of mfu_profiler ({error}).", _AGAIN) from None
