"""One bar per step, stacked by what its time went into."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from mfu_profiler.analysis.report import PARTS, Report, WindowInfo
from mfu_profiler.render.causes import cause_words
from mfu_profiler.render.charts.colors import color_of
from mfu_profiler.render.charts.figure import SCHEMA, Figure, Spec
from mfu_profiler.render.names import fitted_names, visible
from mfu_profiler.units import count_text, time_text

__all__ = ["class_scale", "steps_figure"]

MOST_STEPS = 200
"""Bars that can be told apart."""
_OUTLIER = 1.15
"""A step that takes so many times the median is named."""
_LABEL_WIDTH = 24
_ROLES = {"startup": "start-up", "pause": "pause"}


def steps_figure(report: Report) -> Figure | None:
    """The windows in order, those that are not averaged pale; None where there are none."""
    shown = [window for window in report.windows if window.duration_ns > 0][:MOST_STEPS]
    if not shown:
        return None
    labels = _labels(shown)
    averaged = [window for window in shown if window.role == "averaged"]
    median_ns = median(window.duration_ns for window in averaged or shown)
    named = [_named(window, median_ns) for window in shown]
    rest = len(report.windows) - len(shown)
    outliers = [f"{label} ({name})" for label, name in zip(labels, named, strict=True) if name]
    kind = "profiled step" if report.steps.profiled_step_time_s is not None else "step"
    steps = f"1 {kind}" if len(shown) == 1 else f"{count_text(len(shown))} {kind}s"
    said = [f"{steps}, median {time_text(median_ns / 1e9)}"]
    said += [f"apart: {', '.join(outliers[:6])}"] if outliers else []
    said += [f"the {count_text(rest)} after them are not drawn"] if rest else []
    return Figure(
        name="steps",
        title="Step by step",
        caption="; ".join(said) + ".",
        spec=_spec(
            [row for window, label in zip(shown, labels, strict=True) for row in _rows(window, label)],
            [
                {"step": label, "total": window.duration_ns / 1e6, "name": name}
                for window, label, name in zip(shown, labels, named, strict=True)
                if name
            ],
        ),
    )


def _labels(windows: list[WindowInfo]) -> list[str]:
    """One for each bar; windows of one label, as evaluations or annotations have, get a number."""
    names = [visible(window.label.removeprefix("ProfilerStep#")) for window in windows]
    return fitted_names(names, _LABEL_WIDTH)


def _named(window: WindowInfo, median_ns: float) -> str:
    """Why a step is not like the others; nothing where it is."""
    if window.role in _ROLES:
        return _ROLES[window.role]
    return "slow" if window.duration_ns > _OUTLIER * median_ns else ""


def _rows(window: WindowInfo, label: str) -> list[Spec]:
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


def _named_layer(names: list[Spec], x: Spec) -> Spec:
    """Why some steps are not like the others, above their bars."""
    return {
        "data": {"values": names},
        "mark": {"type": "text", "baseline": "bottom", "dy": -3, "fontSize": 11},
        "encoding": {
            "x": x,
            "y": {"field": "total", "type": "quantitative"},
            "text": {"field": "name", "type": "nominal"},
        },
    }


def _spec(rows: list[Spec], names: list[Spec]) -> Spec:
    x = {
        "field": "step",
        "type": "ordinal",
        "sort": None,
        "title": "step",
        "axis": {"labelAngle": 0, "labelOverlap": True},
    }
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
            _named_layer(names, x),
        ],
    }
