"""Time stamps in µs -> int64 ns, exact to the nanosecond."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["nanoseconds", "nanoseconds_of_text"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_LIMIT_US = float(2**53)
"""Beyond this, µs are no time stamp (and their ns overflow int64)."""


def nanoseconds(values: Sequence[float | None]) -> tuple[Int64, Bool]:
    """µs as float64 -> (ns, valid).

    Whole and fractional µs are converted apart, so that whole µs of any size stay exact; a fraction
    is exact below 2**43 µs, where a float64's spacing is under 1 ns.
    """
    stamps = np.array(values, dtype=np.float64)
    valid = np.abs(stamps) < _LIMIT_US
    stamps = np.where(valid, stamps, 0.0)
    whole = np.floor(stamps)
    fraction = stamps - whole
    return whole.astype(np.int64) * 1000 + np.rint(fraction * 1000).astype(np.int64), valid


def nanoseconds_of_text(values: Sequence[msgspec.Raw]) -> tuple[Int64, Bool]:
    """µs as JSON text, e.g. ``1712195495519689.052`` -> (ns, valid); digits beyond ns are rounded.

    All texts with the point in one place are converted together, digit column by digit column.
    """
    texts = np.array([bytes(value) for value in values], dtype=np.bytes_)
    if texts.dtype.itemsize == 0:
        return np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
    digits = texts.view(np.uint8).reshape(len(values), -1)
    point = np.where(np.any(digits == ord("."), axis=1), np.argmax(digits == ord("."), axis=1), 0)
    result = np.zeros(len(values), np.int64)
    valid = np.zeros(len(values), np.bool_)
    for place in np.unique(point).tolist():
        rows = np.flatnonzero(point == place)
        if place and _is_plain(digits[rows], place):
            result[rows] = _plain_nanoseconds(digits[rows], place)
            valid[rows] = True
        else:
            for row in rows.tolist():
                result[row], valid[row] = _decimal_nanoseconds(bytes(texts[row]))
    return result, valid


def _is_plain(digits: npt.NDArray[np.uint8], place: int) -> bool:
    """Digits on both sides of the point, at most 15 before and 3 after; NUL fills the rest."""
    before, after = digits[:, :place], digits[:, place + 1 :]
    return bool(
        place <= 15 + 1
        and np.all((before >= 48) & (before <= 57))
        and np.all(((after[:, :3] >= 48) & (after[:, :3] <= 57)) | (after[:, :3] == 0))
        and not np.any(after[:, 3:])
    )


def _plain_nanoseconds(digits: npt.NDArray[np.uint8], place: int) -> Int64:
    columns = [digits[:, index] for index in range(digits.shape[1]) if index != place][: place + 3]
    result = np.zeros(len(digits), np.int64)
    for column in columns:
        result = result * 10 + np.where(column == 0, 0, column.astype(np.int64) - 48)
    return np.asarray(result * 10 ** (place + 3 - len(columns)), np.int64)


def _decimal_nanoseconds(text: bytes) -> tuple[int, bool]:
    try:
        stamp = Decimal(text.decode("ascii", "replace").strip('"'))
    except InvalidOperation:
        return 0, False
    if not stamp.is_finite() or abs(stamp) >= 2**53:
        return 0, False
    return int((stamp * 1000).to_integral_value()), True
