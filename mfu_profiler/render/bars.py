"""Bars of block characters, exact to an eighth of a cell.

::

    ████▌      4.5 cells lost
    ░░         2 cells gained
"""

from __future__ import annotations

__all__ = ["bar"]

_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
_FULL, _GAIN = "█", "░"


def bar(fraction: float, full_fraction: float, width: int) -> str:
    """A bar of ``width`` cells at ``full_fraction``; whatever is not 0 shows at least its smallest glyph."""
    if fraction == 0 or full_fraction <= 0:
        return ""
    cells = min(abs(fraction) / full_fraction, 1.0) * width
    if fraction < 0:
        return _GAIN * max(1, round(cells))
    eighths = max(1, round(8 * cells))
    return _FULL * (eighths // 8) + _EIGHTHS[eighths % 8]
