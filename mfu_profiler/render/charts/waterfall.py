"""The waterfall: from 100 % of the peak down to the MFU, one bar per cause."""

from __future__ import annotations

from mfu_profiler.analysis.report import PARTS, Report
from mfu_profiler.render.causes import ENDS, cause_words
from mfu_profiler.render.charts.colors import color_of
from mfu_profiler.render.charts.figure import SCHEMA, Figure, Spec
from mfu_profiler.render.headline import mfu_text
from mfu_profiler.render.losses import losses_heading
from mfu_profiler.render.names import shown_text
from mfu_profiler.units import percent_text, time_text

__all__ = ["waterfall_figure"]

_LEAST_FRACTION = 0.0005
"""A smaller part is no bar to be seen."""
_ROW_HEIGHT = 26
_Row = tuple[str, float, float | None, str]
"""Cause, share, seconds, detail."""


def waterfall_figure(report: Report) -> Figure | None:
    """From peak to MFU; the parts of a step where no MFU is known; None where no times are."""
    rows = _rows(report)
    if not rows:
        return None
    bars, left = [], 1.0
    for cause, fraction, seconds, detail in rows:
        if cause in ENDS:
            bars.append(_bar(cause, fraction, (0.0, fraction), seconds, detail))
        else:
            bars.append(_bar(cause, fraction, (left - fraction, left), seconds, detail))
            left -= fraction
    lost = sorted((row for row in rows if row[0] not in ENDS), key=lambda row: -row[1])[:3]
    largest = ", ".join(
        f"{shown_text(cause_words(cause)[0], 30)} {percent_text(fraction)}" for cause, fraction, *_ in lost
    )
    return Figure(
        name="waterfall",
        title=losses_heading(report),
        caption=f"From 100 % of the step down to MFU {mfu_text(report)}. Largest: {largest}.",
        spec=_spec(bars),
    )


def _rows(report: Report) -> list[_Row]:
    """Those of the waterfall that ends at an MFU, else those of the partition; small ones left out."""
    if report.mfu is not None and report.waterfall:
        rows = [(row.cause, row.fraction, row.time_s, row.detail) for row in report.waterfall]
    elif report.partition is not None:
        parts = [(part, float(getattr(report.partition, part))) for part in PARTS]
        step_s = report.step_time_s
        rows = [(part, share, None if step_s is None else share * step_s, "") for part, share in parts]
    else:
        rows = []
    return [row for row in rows if row[0] in ENDS or abs(row[1]) >= _LEAST_FRACTION]


def _bar(cause: str, fraction: float, ends: tuple[float, float], seconds: float | None, detail: str) -> Spec:
    label, meaning = cause_words(cause) if cause not in ENDS else ({"peak": "peak", "mfu": "MFU"}[cause], "")
    share = percent_text(fraction)
    time = "" if seconds is None or cause == "peak" else time_text(seconds)
    low, high = sorted(ends)
    return {
        "cause": shown_text(label, 30),
        "low": low,
        "high": high,
        "color": color_of(cause) if fraction >= 0 else color_of("mfu"),
        "share": share,
        "time": time,
        "text": "" if cause == "peak" else " · ".join(filter(None, (share, time))),
        "detail": shown_text(detail or meaning, 120),
        # The text stands where there is room: left of bars in the right half, else right of them.
        "x": low if low > 0.45 else high,
        "align": "right" if low > 0.45 else "left",
        "dx": -5 if low > 0.45 else 5,
    }


def _spec(bars: list[Spec]) -> Spec:
    y = {"field": "cause", "type": "nominal", "sort": None, "title": None}
    x = {
        "field": "low",
        "type": "quantitative",
        "title": "share of the step at the peak",
        "axis": {"format": ".0%", "tickCount": 5},
    }
    tooltip = [{"field": name, "type": "nominal"} for name in ("cause", "share", "time", "detail")]
    return {
        "$schema": SCHEMA,
        "width": 640,
        "height": _ROW_HEIGHT * len(bars),
        "data": {"values": bars},
        "encoding": {"y": y},
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.72}, "cornerRadius": 2},
                "encoding": {
                    "x": x,
                    "x2": {"field": "high"},
                    "color": {"field": "color", "type": "nominal", "scale": None},
                    "tooltip": tooltip,
                },
            },
            {
                "mark": {
                    "type": "text",
                    "baseline": "middle",
                    "fontSize": 12,
                    "align": {"expr": "datum.align"},
                    "dx": {"expr": "datum.dx"},
                },
                "encoding": {
                    "x": {"field": "x", "type": "quantitative"},
                    "text": {"field": "text", "type": "nominal"},
                },
            },
        ],
    }
