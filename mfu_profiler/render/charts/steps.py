"""One bar per step, stacked by what its time went into."""

from __future__ import annotations

from collections.abc import Iterable

from mfu_profiler.analysis.report import PARTS, Report, WindowInfo
from mfu_profiler.render.causes import cause_words
from mfu_profiler.render.charts.colors import color_of
from mfu_profiler.render.charts.figure import SCHEMA, Figure, Spec
from mfu_profiler.render.names import shown_text
from mfu_profiler.units import count_text, time_text

__all__ = ["class_scale", "steps_figure"]

MOST_STEPS = 200
"""Bars that can be told apart."""
_OUTLIER = 1.15
"""A step that takes so many times the median is named."""
_ROLES = {"startup": "start-up", "pause": "pause"}


def steps_figure(report: Report) -> Figure | None:
    """The windows in order, those that are not averaged pale; None where there are none."""
    shown = [window for window in report.windows if window.duration_ns > 0][:MOST_STEPS]
    if not shown:
        return None
    median_ns = sorted(window.duration_ns for window in shown)[len(shown) // 2]
    named = [_named(window, median_ns) for window in shown]
    rest = len(report.windows) - len(shown)
    outliers = [f"{_label(window)} ({name})" for window, name in zip(shown, named, strict=True) if name]
    said = [f"{count_text(len(shown))} steps, median {time_text(median_ns / 1e9)}"]
    said += [f"apart: {', '.join(outliers[:6])}"] if outliers else []
    said += [f"{count_text(rest)} more are not drawn"] if rest else []
    return Figure(
        name="steps",
        title="Step by step",
        caption="; ".join(said) + ".",
        spec=_spec(
            [row for window in shown for row in _rows(window)],
            [
                {"step": _label(window), "total": window.duration_ns / 1e6, "name": name}
                for window, name in zip(shown, named, strict=True)
                if name
            ],
        ),
    )


def _label(window: WindowInfo) -> str:
    return shown_text(window.label.removeprefix("ProfilerStep#"), 24)


def _named(window: WindowInfo, median_ns: int) -> str:
    """Why a step is not like the others; nothing where it is."""
    if window.role in _ROLES:
        return _ROLES[window.role]
    return "slow" if window.duration_ns > _OUTLIER * median_ns else ""


def _rows(window: WindowInfo) -> list[Spec]:
    label = _label(window)
    lengths = [(part, int(getattr(window, f"{part}_ns"))) for part in PARTS]
    return [
        {
            "step": label,
            "class": cause_words(part)[0],
            "order": order,
            "ms": length / 1e6,
            "time": time_text(length / 1e9),
            "of": time_text(window.duration_ns / 1e9),
            "averaged": window.role == "averaged",
        }
        for order, (part, length) in enumerate(lengths)
        if length
    ]


def class_scale(classes: Iterable[str]) -> Spec:
    """The colours of some classes of the partition, in the order of precedence."""
    used = set(classes)
    known = [part for part in PARTS if cause_words(part)[0] in used]
    return {
        "domain": [cause_words(part)[0] for part in known],
        "range": [color_of(part) for part in known],
    }


def _spec(rows: list[Spec], names: list[Spec]) -> Spec:
    x = {"field": "step", "type": "ordinal", "sort": None, "title": "step", "axis": {"labelAngle": 0}}
    return {
        "$schema": SCHEMA,
        "width": 640,
        "height": 220,
        "layer": [
            {
                "data": {"values": rows},
                "mark": {"type": "bar"},
                "encoding": {
                    "x": x,
                    "y": {"field": "ms", "type": "quantitative", "stack": "zero", "title": "ms"},
                    "order": {"field": "order", "type": "quantitative"},
                    "color": {
                        "field": "class",
                        "type": "nominal",
                        "scale": class_scale(row["class"] for row in rows),
                        "legend": {"title": None, "orient": "bottom", "symbolType": "square"},
                    },
                    "opacity": {"condition": {"test": "datum.averaged", "value": 1}, "value": 0.45},
                    "tooltip": [
                        {"field": name, "type": "nominal"} for name in ("step", "class", "time", "of")
                    ],
                },
            },
            {
                "data": {"values": names},
                "mark": {"type": "text", "baseline": "bottom", "dy": -3, "fontSize": 11},
                "encoding": {
                    "x": x,
                    "y": {"field": "total", "type": "quantitative"},
                    "text": {"field": "name", "type": "nominal"},
                },
            },
        ],
    }
