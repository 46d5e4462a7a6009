"""Clock and power of the device over a live run, and what held the clock down."""

from __future__ import annotations

from mfu_profiler.analysis.report import DeviceSamples, Report
from mfu_profiler.render.charts.figure import SCHEMA, Figure, Spec
from mfu_profiler.render.names import shown_text
from mfu_profiler.units import clock_text, percent_text, power_text

__all__ = ["hardware_figure"]


def hardware_figure(report: Report) -> Figure | None:
    """None where nothing was sampled."""
    samples = report.device_samples
    if samples is None or not samples.time_s:
        return None
    device = report.device
    charts = [
        _chart(samples, "clock", "clock, GHz", samples.clock_hz, 1e9, device.datasheet_clock_hz),
        _chart(samples, "power", "power, W", samples.power_w, 1.0, device.power_limit_w),
    ]
    shown = [chart for chart in charts if chart is not None]
    if not shown:
        return None
    return Figure(
        name="hardware", title="The device while it ran", caption=_caption(report, samples),
        spec={"$schema": SCHEMA, "spacing": 14, "vconcat": shown},
    )  # fmt: skip


def _caption(report: Report, samples: DeviceSamples) -> str:
    device = report.device
    said = []
    if device.datasheet_clock_hz is not None and any(samples.clock_hz):
        said.append(f"dashed: the datasheet's clock, {clock_text(device.datasheet_clock_hz)}")
    if device.power_limit_w is not None and any(samples.power_w):
        said.append(f"dashed: the power limit, {power_text(device.power_limit_w)}")
    held = [reasons for reasons in samples.throttle if reasons]
    if held:
        share = percent_text(len(held) / len(samples.throttle), 0)
        reasons = ", ".join(dict.fromkeys(reason for reasons in held for reason in reasons.split(", ")))
        said.append(f"the clock was held down in {share} of the samples: {shown_text(reasons, 120)}")
    else:
        said.append("nothing held the clock down")
    return f"{len(samples.time_s)} samples; {'; '.join(said)}."


def _chart(
    samples: DeviceSamples,
    name: str,
    title: str,
    values: tuple[float | None, ...],
    scale: float,
    limit: float | None,
) -> Spec | None:
    columns = zip(samples.time_s, values, samples.throttle, strict=True)
    rows = [
        {"s": time, name: value / scale, "held down by": shown_text(reasons, 80) or "nothing"}
        for time, value, reasons in columns
        if value is not None
    ]
    if not rows:
        return None
    x = {"field": "s", "type": "quantitative", "title": "seconds"}
    y = {"field": name, "type": "quantitative", "title": title}
    held = {"test": "datum['held down by'] != 'nothing'", "value": "#e2632b"}
    layers: list[Spec] = [
        {"mark": {"type": "line", "color": "#3f8fd9"}, "encoding": {"x": x, "y": y}},
        {
            "mark": {"type": "point", "filled": True, "size": 14, "aria": False},
            "encoding": {
                "x": x, "y": y, "color": {"condition": held, "value": "#3f8fd9"},
                "tooltip": [{"field": "s", "type": "quantitative", "format": ".2f"},
                            {"field": name, "type": "quantitative", "format": ".3~f"},
                            {"field": "held down by", "type": "nominal"}],
            },
        },
    ]  # fmt: skip
    if limit is not None:
        layers.append({"mark": {"type": "rule", "strokeDash": [5, 4], "color": "#6b7a90"},
                       "encoding": {"y": {"datum": limit / scale}}})  # fmt: skip
    return {"width": 640, "height": 110, "data": {"values": rows}, "layer": layers}
