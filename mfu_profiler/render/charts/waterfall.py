"""The waterfall: from 100 % of the peak down to the MFU, one bar per cause."""

from __future__ import annotations

from mfu_profiler.analysis.report import PARTS, Report
from mfu_profiler.render.causes import ENDS, cause_words
from mfu_profiler.render.charts.colors import color_of
from mfu_profiler.render.charts.figure import SCHEMA, Figure, Spec
from mfu_profiler.render.headline import mfu_text
from mfu_profiler.render.losses import losses_heading
from mfu_profiler.render.names import shown_text
from mfu_profiler.units import mfu_percent_text, percent_text, time_text

__all__ = ["waterfall_figure"]

_LEAST_FRACTION = 0.0005
"""A smaller part is no bar to be seen."""
_ROW_HEIGHT = 26
_NARROW = 280
"""Pixels."""
_Row = tuple[str, float, float | None, str]
"""Cause, share, seconds, detail."""


def waterfall_figure(report: Report) -> Figure | None:
    """From peak to MFU; the parts of a step where no MFU is known; None where no times are."""
    rows, bars, left = _rows(report), [], 1.0
    for cause, fraction, seconds, detail in rows:
        if cause in ENDS:
            bars.append(_bar(cause, fraction, (0.0, fraction), seconds, detail))
            continue
        if abs(fraction) >= _LEAST_FRACTION:
            bars.append(_bar(cause, fraction, (left - fraction, left), seconds, detail))
        left -= fraction  # also by what is too small for a bar, so that the last one ends at the MFU
    if not bars:
        return None
    x_title = "share of the step" if report.mfu is None else "share of the step at the peak"
    return Figure(
        name="waterfall",
        title=losses_heading(report),
        caption=_caption(report, [row for row in rows if row[0] not in ENDS]),
        spec=_spec(bars, x_title),
    )


def _caption(report: Report, causes: list[_Row]) -> str:
    """Where the bars lead, the largest of them, and how many causes are too small for one."""
    whole = "The time of a step by cause"
    said = [whole if report.mfu is None else f"From 100 % of the step down to MFU {mfu_text(report)}"]
    lost = sorted((row for row in causes if row[1] >= _LEAST_FRACTION), key=lambda row: -row[1])[:3]
    if lost:
        largest = [f"{shown_text(cause_words(row[0])[0], 30)} {percent_text(row[1])}" for row in lost]
        said.append(f"Largest: {', '.join(largest)}")
    small = sum(1 for row in causes if 0 < abs(row[1]) < _LEAST_FRACTION)
    if small:
        count = "1 cause" if small == 1 else f"{small} causes"
        said.append(f"Not drawn: {count} of under {percent_text(_LEAST_FRACTION, 2)}")
    return ". ".join(said) + "."


def _rows(report: Report) -> list[_Row]:
    """Those of the waterfall, which of a live run are in terms of its own step; else of the partition."""
    is_live = report.steps.profiled_step_time_s is not None
    if report.waterfall and (report.mfu is not None or is_live):
        rows = [(row.cause, row.fraction, row.time_s, row.detail) for row in report.waterfall]
        return rows if report.mfu is not None else [row for row in rows if row[0] not in ENDS]
    if report.partition is None:
        return []
    parts = [(part, float(getattr(report.partition, part))) for part in PARTS]
    step_s = report.step_time_s
    return [(part, share, None if step_s is None else share * step_s, "") for part, share in parts]


def _bar(cause: str, fraction: float, ends: tuple[float, float], seconds: float | None, detail: str) -> Spec:
    label, meaning = cause_words(cause) if cause not in ENDS else ({"peak": "peak", "mfu": "MFU"}[cause], "")
    share = mfu_percent_text(fraction) if cause == "mfu" else percent_text(fraction)
    time = "" if seconds is None or cause == "peak" else time_text(seconds)
    low, high = sorted(ends)
    return {
        "cause": shown_text(label, 30),
        "low": low,
        "high": high,
        "color": color_of("gain" if fraction < 0 and cause != "profiler" else cause),
        "share": share,
        "time": time,
        "text": "" if cause == "peak" else " · ".join(filter(None, (share, time))),
        "detail": shown_text(detail or meaning, 120),
        # The text stands where there is room: left of bars in the right half, else right of them.
        "x": low if low > 0.45 else high,
        "align": "right" if low > 0.45 else "left",
        "dx": -5 if low > 0.45 else 5,
    }


def _spec(bars: list[Spec], x_title: str) -> Spec:
    y = {"field": "cause", "type": "nominal", "sort": None, "title": None}
    x = {
        "field": "low",
        "type": "quantitative",
        "title": x_title,
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
                    # Where the bars are narrow, as on a phone, there is room for the share alone.
                    "text": {"expr": f"width < {_NARROW} && datum.text ? datum.share : datum.text"},
                },
                "encoding": {"x": {"field": "x", "type": "quantitative"}},
            },
        ],
    }
