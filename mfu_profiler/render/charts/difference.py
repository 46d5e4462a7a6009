"""From one run's step to another's: a bridge with one bar per cause that grew or shrank."""

from __future__ import annotations

from mfu_profiler.analysis.comparing.comparison import CauseChange, PairComparison
from mfu_profiler.render.charts.figure import SCHEMA, Figure, Spec
from mfu_profiler.render.comparing.words import cause_label, headline_sentence
from mfu_profiler.render.names import shown_text
from mfu_profiler.units import time_text

__all__ = ["difference_figure"]

_LEAST_FRACTION = 0.0005
"""Of the longer step: a smaller change is no bar to be seen; those are one bar together."""
_ROW_HEIGHT = 26
_ROUNDING_S = 1e-9
_STEP, _LONGER, _SHORTER = "#6b7a90", "#d9482b", "#16a34a"


def difference_figure(pair: PairComparison) -> Figure | None:
    """The causes' changes between the two step times; None where a step time or its causes are unknown."""
    if not pair.causes:
        return None
    start = sum(row.time_a_s for row in pair.causes)
    end = sum(row.time_b_s for row in pair.causes)
    least = _LEAST_FRACTION * max(start, end)
    large = [row for row in pair.causes if abs(row.change_s) >= least]
    small = sum(row.change_s for row in pair.causes if abs(row.change_s) < least)
    bars, at = [_whole("A", start)], start
    for row in large:
        bars.append(
            _bar(_label(row), at, row.change_s, f"{time_text(row.time_a_s)} → {time_text(row.time_b_s)}")
        )
        at += row.change_s
    if abs(small) > _ROUNDING_S:
        bars.append(_bar("smaller changes", at, small, "together"))
    bars.append(_whole("B", end))
    return Figure(
        name="difference",
        title="From A's step to B's",
        caption=f"{headline_sentence(pair)}.",
        spec=_spec(bars),
    )


def _label(row: CauseChange) -> str:
    return shown_text(cause_label(row.cause), 30)


def _whole(name: str, seconds: float) -> Spec:
    text = time_text(seconds)
    return {"cause": f"step of {name}", "low": 0.0, "high": seconds * 1e3, "color": _STEP, "text": text,
            "change": text, "detail": ""}  # fmt: skip


def _bar(label: str, at: float, change: float, detail: str) -> Spec:
    text = f"{'+' if change > 0 else ''}{time_text(change)}"
    return {
        "cause": label,
        "low": 1e3 * min(at, at + change),
        "high": 1e3 * max(at, at + change),
        "color": _LONGER if change > 0 else _SHORTER,
        "text": text,
        "change": text,
        "detail": detail,
    }


def _spec(bars: list[Spec]) -> Spec:
    tooltip = [{"field": name, "type": "nominal"} for name in ("cause", "change", "detail")]
    return {
        "$schema": SCHEMA,
        "width": 640,
        "height": _ROW_HEIGHT * len(bars),
        "data": {"values": bars},
        "encoding": {"y": {"field": "cause", "type": "nominal", "sort": None, "title": None}},
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.72}, "cornerRadius": 2},
                "encoding": {
                    "x": {"field": "low", "type": "quantitative", "title": "ms per step",
                          "axis": {"tickCount": 6}},
                    "x2": {"field": "high"},
                    "color": {"field": "color", "type": "nominal", "scale": None},
                    "tooltip": tooltip,
                },
            },
            {
                "mark": {"type": "text", "align": "left", "baseline": "middle", "dx": 5, "fontSize": 12},
                "encoding": {
                    "x": {"field": "high", "type": "quantitative"},
                    "text": {"field": "text", "type": "nominal"},
                },
            },
        ],
    }  # fmt: skip
