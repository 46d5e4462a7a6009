"""The roofline: what kernels reach, beside what memory and arithmetic units allow at their intensity.

Source: Williams, Waterman, Patterson, "Roofline: an insightful visual performance model", CACM 52 (2009).
"""

from __future__ import annotations

import math

from mfu_profiler.analysis.report import KernelRow, Report
from mfu_profiler.render.charts.colors import color_of
from mfu_profiler.render.charts.figure import SCHEMA, Figure, Spec
from mfu_profiler.render.names import fitted_names, short_name, shown_text
from mfu_profiler.units import byte_rate_text, flop_rate_text, percent_text, time_text

__all__ = ["roofline_figure"]

_NAME_WIDTH = 90


def roofline_figure(report: Report) -> Figure | None:
    """Kernels whose FLOP and bytes are known; None where there is none."""
    kernels = [row for row in report.kernels if row.flop and row.byte and row.achieved_flop_per_s]
    if not kernels:
        return None
    points = _points(kernels)
    roofs = _roofs(report, kernels, [point["intensity"] for point in points])
    share = sum(row.time_fraction for row in kernels)
    memory = report.device.memory_byte_per_s
    count = "1 kernel" if len(kernels) == 1 else f"{len(kernels)} kernels"
    is_over = any((row.peak_fraction or 0.0) > 1 for row in kernels)
    over = "points over their roof execute fewer FLOP than they are counted with (Winograd, FFT)" * is_over
    said = [
        f"{count} with known FLOP, {percent_text(share)} of the step; area: time",
        over,
        "bytes are the least that the shapes imply, so true intensities are lower or equal",
        "the memory's bandwidth is unknown, so only the flat roofs are drawn" if memory is None else "",
    ]
    return Figure(
        name="roofline",
        title="Roofline",
        caption="; ".join(filter(None, said)) + ".",
        spec=_spec(points, roofs),
    )


def _points(kernels: list[KernelRow]) -> list[Spec]:
    names = fitted_names([short_name(row.name) or "(no name)" for row in kernels], _NAME_WIDTH)
    return [
        {
            "kernel": name,
            "kind": shown_text(row.kind, 24),
            "color": color_of(row.kind),
            "precision": shown_text(row.precision or "", 16),
            "intensity": (row.flop or 0.0) / (row.byte or 1.0),
            "rate": (row.achieved_flop_per_s or 0.0) / 1e12,
            "ms": row.time_s * 1e3,
            "time": f"{time_text(row.time_s)} a step",
            "reached": flop_rate_text(row.achieved_flop_per_s or 0.0),
            "of peak": "" if row.peak_fraction is None else percent_text(row.peak_fraction),
            "bound": shown_text(f"{row.bound} by its shapes", 60) if row.bound else "",
        }
        for name, row in zip(names, kernels, strict=True)
    ]


def _peaks(report: Report, kernels: list[KernelRow]) -> dict[str, float]:
    """Peak of each precision that kernels ran in, in FLOP/s."""
    peaks = {
        row.precision: row.achieved_flop_per_s / row.peak_fraction
        for row in kernels
        if row.precision and row.achieved_flop_per_s and row.peak_fraction
    }
    if report.device.precision and report.device.peak_flop_per_s:
        peaks[report.device.precision] = report.device.peak_flop_per_s
    return peaks


def _roofs(report: Report, kernels: list[KernelRow], intensities: list[float]) -> list[Spec]:
    """Each precision's line: up along the memory's slope to the ridge, then flat."""
    memory = report.device.memory_byte_per_s
    peaks = _peaks(report, kernels)
    ridges = [peak / memory for peak in peaks.values()] if memory else []
    low = _power_of_ten(min([*intensities, *ridges]) / 2)
    high = 10 ** math.ceil(math.log10(max([*intensities, *ridges]) * 2))
    rows: list[Spec] = []
    for precision, peak in peaks.items():
        ridge = peak / memory if memory else low
        corners = sorted({low, ridge, high})
        said = f"{precision}: {flop_rate_text(peak)}"
        if memory:
            said += f", memory {byte_rate_text(memory)}, ridge at {ridge:.3g} FLOP/B"
        rows += [
            {
                "roof": shown_text(said, 120),
                "name": shown_text(precision, 16),
                "intensity": at,
                "rate": min(peak, memory * at if memory else peak) / 1e12,
                "is_end": at == high,
            }
            for at in corners
        ]
    return rows


def _power_of_ten(value: float) -> float:
    """The largest one that is not above the value."""
    return 10.0 ** math.floor(math.log10(value))


def _roof_layers(roofs: list[Spec], x: Spec, y: Spec) -> list[Spec]:
    """The lines, and the precision's name at the end of each."""
    return [
        {
            "data": {"values": roofs},
            "mark": {"type": "line", "strokeWidth": 2, "color": "#6b7a90", "clip": True},
            "encoding": {"x": x, "y": y, "detail": {"field": "roof", "type": "nominal"},
                         "tooltip": [{"field": "roof", "type": "nominal"}]},
        },
        {
            "data": {"values": [roof for roof in roofs if roof["is_end"]]},
            "mark": {"type": "text", "align": "right", "baseline": "bottom", "dy": -4, "fontSize": 11},
            "encoding": {"x": x, "y": y, "text": {"field": "name", "type": "nominal"}},
        },
    ]  # fmt: skip


def _spec(points: list[Spec], roofs: list[Spec]) -> Spec:
    x = {
        "field": "intensity", "type": "quantitative", "title": "intensity, FLOP per byte",
        "scale": {"type": "log", "nice": False},
        "axis": {"tickCount": 5, "format": "~g", "labelOverlap": True},
    }  # fmt: skip
    y = {
        "field": "rate", "type": "quantitative", "title": "TFLOP/s",
        "scale": {"type": "log", "domainMin": _power_of_ten(0.5 * min(point["rate"] for point in points))},
        "axis": {"tickCount": 5, "format": "~g", "labelOverlap": True},
    }  # fmt: skip
    kinds = dict.fromkeys((point["kind"], point["color"]) for point in points)
    told = ("kernel", "kind", "precision", "time", "reached", "of peak", "bound")
    color = {
        "field": "kind",
        "type": "nominal",
        "scale": {"domain": [kind for kind, _ in kinds], "range": [color for _, color in kinds]},
        "legend": {"title": None, "orient": "bottom"},
    }
    return {
        "$schema": SCHEMA,
        "width": 640,
        "height": 320,
        "layer": [
            *_roof_layers(roofs, x, y),
            {
                "data": {"values": points},
                "mark": {"type": "point", "filled": True, "opacity": 0.75},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": color,
                    "size": {"field": "ms", "type": "quantitative", "scale": {"range": [30, 700]},
                             "legend": None},
                    "tooltip": [{"field": name, "type": "nominal"} for name in told],
                },
            },
        ],
    }  # fmt: skip
