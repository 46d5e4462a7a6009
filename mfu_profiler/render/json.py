"""Reports as JSON: the keys are the fields of the report's dataclasses.

One report is its own object; several (or none) are ``{"schema_version": 1, "reports": [...]}``.
Fractions are 0 to 1, times seconds unless a key ends in ``_ns``, and what is unknown is ``null``:
``NaN`` and ``Infinity`` never appear, since JSON has no such numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import msgspec

from mfu_profiler.analysis.report import SCHEMA_VERSION, Report

__all__ = ["render_json"]

_SUSPECT = re.compile(r"[^\n -~]")
"""Whatever is not printable ASCII: some of it must be written as an escape."""
_NUMBERS = re.compile(r"\[\n\s*-?\d[\d\s,-]*\]")
"""A list of whole numbers, as an event of the drawn step is one, gets one line. No string holds a newline."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def render_json(reports: Sequence[Report]) -> str:
    """Indented by 2, UTF-8, with a final newline; safe to print on a terminal."""
    content: Any = reports[0] if len(reports) == 1 else {"schema_version": SCHEMA_VERSION, "reports": reports}
    try:
        encoded = msgspec.json.encode(content)
    except UnicodeEncodeError:  # a lone surrogate, from a file name or a "\ud800" in a trace
        encoded = msgspec.json.encode(_without_surrogates(msgspec.to_builtins(content)))
    indented = msgspec.json.format(encoded, indent=2).decode()
    text = _NUMBERS.sub(_on_one_line, indented)
    return _SUSPECT.sub(_escaped, text) + "\n"


def _on_one_line(numbers: re.Match[str]) -> str:
    return f"[{', '.join(numbers[0][1:-1].replace(',', ' ').split())}]"


def _escaped(match: re.Match[str]) -> str:
    """JSON's own escape for what does not print or turns the reading direction; the value is the same."""
    character = match[0]
    if unicodedata.category(character) not in {"Cc", "Cf", "Co", "Cn", "Zl", "Zp"}:
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _without_surrogates(value: Any) -> Any:
    """The same plain value; lone surrogates, which UTF-8 cannot hold, as the letters of their escape."""
    if isinstance(value, str):
        return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", value)
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_surrogates(item) for item in value]
    return value
