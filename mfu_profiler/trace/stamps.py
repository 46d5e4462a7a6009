"""Time stamps in µs -> int64 ns, exact to the nanosecond."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["EXACT_BELOW_US", "LIMIT_US", "float_stamps", "nanoseconds", "nanoseconds_of_text"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

LIMIT_US = float(2**52)
"""Beyond this (the year 2112), µs are no time stamp. Below, differences in ns fit int64."""
_LIMIT_NS = 2**52 * 1000
EXACT_BELOW_US = float(2**43)
"""Below this a float64 holds µs with three digits: its spacing is 2**-10 µs, under 1 ns."""
_LONGEST_TEXT = 40
"""Characters of a stamp; a longer one would widen the column of all others."""


def float_stamps(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    """µs as float64; NaN where there is none, or one that no float64 holds."""
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        usable = [value if value is not None and abs(value) < 2**63 else None for value in values]
        return np.array(usable, dtype=np.float64)


def nanoseconds(values: Sequence[float | None]) -> tuple[Int64, Bool]:
    """µs as float64 -> (ns, valid).

    Whole and fractional µs are converted apart, so that whole µs of any size stay exact; a fraction
    is exact below ``EXACT_BELOW_US``.
    """
    stamps = float_stamps(values)
    valid = np.abs(stamps) < LIMIT_US
    stamps = np.where(valid, stamps, 0.0)
    whole = np.floor(stamps)
    fraction = stamps - whole
    return whole.astype(np.int64) * 1000 + np.rint(fraction * 1000).astype(np.int64), valid


def nanoseconds_of_text(values: Sequence[msgspec.Raw]) -> tuple[Int64, Bool]:
    """µs as JSON text, e.g. ``1712195495519689.052`` -> (ns, valid); digits beyond ns are rounded.

    Kineto writes stamps of one length: these are a table of characters. Of others, all texts with the point
    in one place are converted together, digit column by digit column.
    """
    result = _equally_long_nanoseconds(values)
    return _any_nanoseconds(values) if result is None else (result, (result >= 0) & (result < _LIMIT_NS))


def _equally_long_nanoseconds(values: Sequence[msgspec.Raw]) -> Int64 | None:
    """Texts of one length with three digits after the point, in ns; None for others."""
    text = b",".join(values) + b","
    width = text.find(b",") + 1
    if not 6 <= width <= 21 or len(text) != width * len(values):
        return None
    table = np.frombuffer(text, np.uint8).reshape(-1, width)
    digits = table[:, [*range(width - 5), *range(width - 4, width - 1)]] - np.uint8(ord("0"))
    if np.any(digits > 9) or np.any(table[:, -5] != ord(".")) or np.any(table[:, -1] != ord(",")):
        return None
    return np.asarray(digits @ 10 ** np.arange(width - 3, -1, -1, dtype=np.int64), np.int64)


def _any_nanoseconds(values: Sequence[msgspec.Raw]) -> tuple[Int64, Bool]:
    texts = np.array(
        [text if len(text) < _LONGEST_TEXT else b"" for text in map(bytes, values)], dtype=np.bytes_
    )
    if texts.dtype.itemsize == 0:
        return np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
    digits = texts.view(np.uint8).reshape(len(values), -1)
    point = np.where(np.any(digits == ord("."), axis=1), np.argmax(digits == ord("."), axis=1), 0)
    result = np.zeros(len(values), np.int64)
    valid = np.zeros(len(values), np.bool_)
    for place in np.unique(point).tolist():
        rows = np.flatnonzero(point == place)
        if place and _is_plain(digits[rows], place):
            result[rows], valid[rows] = _plain_nanoseconds(digits[rows], place)
        else:
            for row in rows.tolist():
                result[row], valid[row] = _decimal_nanoseconds(bytes(texts[row]))
    return result, valid


def _is_plain(digits: npt.NDArray[np.uint8], place: int) -> bool:
    """At most 16 digits before the point and 3 after it; NUL fills the rest."""
    before, after = digits[:, :place], digits[:, place + 1 :]
    return bool(
        place <= 16
        and np.all((before >= 48) & (before <= 57))
        and np.all(((after[:, :3] >= 48) & (after[:, :3] <= 57)) | (after[:, :3] == 0))
        and not np.any(after[:, 3:])
    )


def _plain_nanoseconds(digits: npt.NDArray[np.uint8], place: int) -> tuple[Int64, Bool]:
    whole = np.zeros(len(digits), np.int64)
    for column in range(place):
        whole = whole * 10 + (digits[:, column].astype(np.int64) - 48)
    fraction = np.zeros(len(digits), np.int64)
    for column in range(place + 1, place + 4):
        is_there = column < digits.shape[1]
        digit = digits[:, column].astype(np.int64) if is_there else fraction * 0
        fraction = fraction * 10 + np.where(digit == 0, 0, digit - 48)
    valid = whole < int(LIMIT_US)
    return np.where(valid, whole, 0) * 1000 + np.where(valid, fraction, 0), valid


def _decimal_nanoseconds(text: bytes) -> tuple[int, bool]:
    try:
        stamp = Decimal(text.decode("ascii", "replace").strip('"'))
    except InvalidOperation:
        return 0, False
    if not stamp.is_finite() or stamp.copy_abs() >= LIMIT_US:
        return 0, False
    return int((stamp * 1000).to_integral_value()), True
