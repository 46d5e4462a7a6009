"""The only place where numbers become text.

Inside the library fractions are 0 to 1, times are seconds or int nanoseconds and counts are plain
numbers; percent signs, prefixes and rounding are made here. What is not zero never reads as zero.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "byte_rate_text",
    "byte_text",
    "clock_text",
    "count_text",
    "flop_rate_column",
    "flop_rate_text",
    "flop_text",
    "mfu_percent_text",
    "percent_beside",
    "percent_text",
    "points_text",
    "power_text",
    "time_beside",
    "time_text",
]

_DECIMAL_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_TIME_UNITS = ((1.0, "s"), (1e3, "ms"), (1e6, "µs"), (1e9, "ns"))
_LEAST_PERCENT_DIGITS = 3
"""Below 0.001 % only the order of magnitude is said."""
_SMALL_MFU = 0.01
_MOST_DIGITS = 12
"""Of a number beside a limit; more are noise of floating point."""
_ABSURD = 999_999.5
"""From here on a number with its unit is beyond every machine; an exponent keeps it short."""
_ROUNDS_UP_TO_ONE = 0.9995
"""From here on three digits show 1.00 of a unit, so that 1,000 of the smaller one never appears."""


def percent_text(fraction: float, digits: int = 1) -> str:
    """``0.281`` -> ``"28.1 %"``; ``0.0003`` -> ``"0.03 %"``, because it is not zero."""
    percent = 100 * fraction
    if abs(percent) >= _ABSURD:
        return f"{percent:.2e} %"
    for shown in range(digits, _LEAST_PERCENT_DIGITS + 1):
        if abs(percent) >= 0.5 * 10**-shown:
            return f"{percent:.{shown}f} %"
    if percent == 0:
        return f"{0:.{digits}f} %"
    return f"{'-' if percent < 0 else ''}<0.001 %"


def mfu_percent_text(fraction: float) -> str:
    """An MFU or HFU; one under 1 % has a second digit: ``0.0019`` -> ``"0.19 %"``."""
    return percent_text(fraction, 2 if abs(fraction) < _SMALL_MFU else 1)


def percent_beside(fraction: float, limit: float | None = None) -> str:
    """``0.35`` -> ``"35 %"``; beside a limit as many digits as show on which side of it the value is."""
    return f"{_number_beside(100 * fraction, None if limit is None else 100 * limit)} %"


def time_beside(seconds: float, limit: float | None = None) -> str:
    """``0.12`` -> ``"120 ms"``; digits as of ``percent_beside``."""
    scale, unit = (1, "s") if seconds >= 1 else (1000, "ms")
    return f"{_number_beside(scale * seconds, None if limit is None else scale * limit)} {unit}"


def points_text(fraction: float) -> str:
    """A difference of two percentages: ``0.052`` -> ``"+5.2 points"``."""
    sign = "+" if fraction > 0 else ""
    return f"{sign}{percent_text(fraction).removesuffix(' %')} points"


def time_text(seconds: float) -> str:
    """Three significant digits in the unit that suits: ``"176 ms"``, ``"4.10 s"``, ``"850 ns"``."""
    if seconds == 0:
        return "0 s"
    for scale, unit in _TIME_UNITS:
        if abs(seconds) * scale >= _ROUNDS_UP_TO_ONE or unit == "ns":
            return f"{_three_digits(seconds * scale)} {unit}"
    raise AssertionError("unreachable: the last unit takes everything")


def flop_text(flop: float) -> str:
    """``7.776e11`` -> ``"778 GFLOP"``."""
    return _with_prefix(flop, "FLOP")


def flop_rate_text(flop_per_s: float) -> str:
    """``15.7e12`` -> ``"15.7 TFLOP/s"``."""
    return _with_prefix(flop_per_s, "FLOP/s")


def flop_rate_column(rates: Sequence[float | None]) -> tuple[str, list[str | None]]:
    """One unit for a whole column, that of its largest rate but at most tera, and the bare numbers.

    ``[15.7e12, None, 4e11]`` -> ``("TFLOP/s", ["15.7", None, "0.40"])``.
    """
    largest = min(max((rate for rate in rates if rate is not None), default=1e12), 999e12)
    scale, prefix = _prefix(largest)
    return f"{prefix}FLOP/s", [None if rate is None else _three_digits(rate / scale) for rate in rates]


def byte_text(byte: float) -> str:
    """Decimal prefixes: ``19267584`` -> ``"19.3 MB"``."""
    return _with_prefix(byte, "B")


def byte_rate_text(byte_per_s: float) -> str:
    """Decimal prefixes: ``9e11`` -> ``"900 GB/s"``."""
    return _with_prefix(byte_per_s, "B/s")


def count_text(count: float) -> str:
    """Thousands separated: ``1462`` -> ``"1,462"``; a small mean keeps a digit: ``1.5`` -> ``"1.5"``."""
    if abs(count) >= 1e9:
        return f"{count:.2e}"
    if abs(count) >= 9.95 or abs(count - round(count)) < 0.005:
        return f"{count:,.0f}"
    return f"{count:.1f}" if abs(count) >= 0.95 else f"{count:.2f}"


def clock_text(hertz: float) -> str:
    """``1.83e9`` -> ``"1.83 GHz"``; always in GHz, so that two clocks compare."""
    return f"{_three_digits(hertz / 1e9)} GHz"


def power_text(watt: float) -> str:
    """``300.0`` -> ``"300 W"``."""
    is_plain = 9.95 <= watt < _ABSURD
    return f"{watt:,.0f} W" if is_plain else f"{_three_digits(watt)} W"


def _number_beside(value: float, limit: float | None) -> str:
    """All digits of a limit itself; three of a value, or as many as show on which side of its limit it is."""
    if limit is None:
        return f"{value:.{_MOST_DIGITS}g}"
    for digits in range(3, _MOST_DIGITS):
        shown = float(f"{value:.{digits}g}")
        if (shown > limit, shown < limit) == (value > limit, value < limit):
            return f"{shown:.{_MOST_DIGITS}g}"
    return f"{value:.{_MOST_DIGITS}g}"


def _with_prefix(value: float, unit: str) -> str:
    scale, prefix = _prefix(value)
    return f"{_three_digits(value / scale)} {prefix}{unit}"


def _prefix(value: float) -> tuple[float, str]:
    for scale, prefix in _DECIMAL_PREFIXES:
        if abs(value) >= _ROUNDS_UP_TO_ONE * scale:
            return scale, prefix
    return 1.0, ""


def _three_digits(value: float) -> str:
    magnitude = abs(value)
    if magnitude >= _ABSURD:
        return f"{value:.2e}"
    if magnitude >= 99.95:
        return f"{value:,.0f}"
    if magnitude >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}"
