"""Values of unknown JSON as what they should be: a function gives the value, or None where it is another.

Booleans are no numbers, NaN and infinity are none, and everything has a largest size: the file may come from
anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = [
    "MOST_ITEMS",
    "amount",
    "count",
    "items",
    "masked_column",
    "members",
    "number",
    "positive",
    "switch",
    "text",
    "texts",
    "time_column",
]

MOST_ITEMS = 1_000_000
"""Entries of a list that are looked at: a sample each 10 ms for three hours."""
_MOST_TEXTS = 100
_LONGEST_TEXT = 2_000
"""Characters."""
_LIMIT = 2**62
"""Beyond it, sums and differences of two numbers leave int64."""

Value = TypeVar("Value")
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


def members(value: Any) -> Mapping[str, Any]:
    """A JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """A list, cut to a bearable length; an empty one for anything else."""
    return value[:MOST_ITEMS] if isinstance(value, list) else []


def text(value: Any) -> str | None:
    """A string that says something, cut to a bearable length."""
    return value[:_LONGEST_TEXT] if isinstance(value, str) and value.strip() else None


def texts(value: Any) -> tuple[str, ...]:
    """The strings of a list."""
    found = [text(item) for item in items(value)[:_MOST_TEXTS]]
    return tuple(item for item in found if item is not None)


def number(value: Any) -> float | None:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    try:
        found = float(value)
    except (OverflowError, ValueError):
        return None
    return found if math.isfinite(found) else None


def positive(value: Any) -> float | None:
    """A number above 0."""
    found = number(value)
    return found if found is not None and found > 0 else None


def amount(value: Any) -> float | None:
    """A number that is not below 0."""
    found = number(value)
    return found if found is not None and found >= 0 else None


def count(value: Any) -> int | None:
    """A whole number that is not below 0."""
    found = amount(value)
    if found is None or found >= _LIMIT or value != int(value):
        return None
    return int(value)


def switch(value: Any) -> bool | None:
    """True or false."""
    return value if isinstance(value, bool) else None


def masked_column(values: list[Any], read: Callable[[Any], float | None]) -> tuple[Float64, Bool]:
    """Numbers as a column and the mask of those that are there; 0 stands where none is."""
    read_values = [read(value) for value in values]
    has = np.array([value is not None for value in read_values], np.bool_)
    return np.array([value or 0.0 for value in read_values], np.float64), has


def time_column(values: list[Any], base_ns: int) -> tuple[Int64, Bool]:
    """Epoch ns as ns since ``base_ns``, exact, and the mask of those that are times."""
    times = [count(value) for value in values]
    has = np.array([time is not None for time in times], np.bool_)
    return np.array([0 if time is None else time - base_ns for time in times], np.int64), has
