"""One step as a timeline: time by cause, streams and host threads; an overview above it zooms."""

from __future__ import annotations

from collections.abc import Iterator

from mfu_profiler.analysis.report import PARTS, Report, StepTimeline, TimelineLane
from mfu_profiler.render.causes import cause_words
from mfu_profiler.render.charts.colors import color_of
from mfu_profiler.render.charts.figure import SCHEMA, Figure, Spec
from mfu_profiler.render.names import shown_name, shown_text
from mfu_profiler.units import count_text, time_text

__all__ = ["timeline_figure"]

_ROW_HEIGHT = 18
_NAMED_PER_LANE = 150
"""The longest events of a lane carry their names."""
_NAME_WIDTH = 80
_KINDS_OF_LANES = {"cause": "stretches by cause", "stream": "activities", "host": "host events"}
_SPAN = "span"
"""Label of the window of a trace that marks no steps."""


def timeline_figure(report: Report) -> Figure | None:
    """The representative step; None where there is none."""
    step = report.step_timeline
    if step is None or not any(lane.events for lane in step.lanes):
        return None
    rows: list[Spec] = []
    labels: list[str] = []
    for lane in step.lanes:
        first = len(labels)
        depth = max((event[4] for event in lane.events), default=0)
        labels += [_lane_label(lane), *[""] * depth]
        rows += _rows(step, lane, first)
    return Figure(
        name="timeline",
        title=_title(step, is_live=report.steps.profiled_step_time_s is not None),
        caption=_caption(step),
        spec=_spec(step, rows, labels),
    )


def _title(step: StepTimeline, *, is_live: bool) -> str:
    one = "One profiled step" if is_live else "One step"
    what = "The whole trace" if step.label == _SPAN else f"{one}: {shown_text(step.label, 40)}"
    return f"{what}, {time_text(step.duration_ns / 1e9)}"


def _lane_label(lane: TimelineLane) -> str:
    return shown_text(lane.label.partition(", ")[0], 28)


def _caption(step: StepTimeline) -> str:
    """What is drawn and what is not."""
    drawn = sum(len(lane.events) for lane in step.lanes)
    of_what = "the whole trace" if step.label == _SPAN else "the averaged step nearest to the median"
    said = [f"{count_text(drawn)} events of {of_what}"]
    left_out = [text for kind, what in _KINDS_OF_LANES.items() if (text := _left_out(step, kind, what))]
    if left_out:
        said.append(f"shorter ones are not drawn: {', '.join(left_out)}")
    if step.lanes_left_out:
        said.append(f"{count_text(step.lanes_left_out)} streams or threads with less time are not drawn")
    return f"{'; '.join(said)}."


def _left_out(step: StepTimeline, kind: str, what: str) -> str:
    lanes = [lane for lane in step.lanes if lane.kind == kind and lane.left_out_count]
    if not lanes:
        return ""
    count = count_text(sum(lane.left_out_count for lane in lanes))
    return f"{count} {what} of {time_text(max(lane.left_out_ns for lane in lanes) / 1e9)} at most"


def _rows(step: StepTimeline, lane: TimelineLane, first: int) -> Iterator[Spec]:
    longest = sorted((event[1] for event in lane.events), reverse=True)[:_NAMED_PER_LANE]
    least = longest[-1] if longest else 0
    for start, length, name, kind, depth in lane.events:
        shown = _event_name(step, lane, name)
        row = {
            "row": first + depth,
            "start": start / 1e6,
            "end": (start + length) / 1e6,
            "name": shown,
            "kind": _kind_words(step.kinds[kind]),
            "length": time_text(length / 1e9),
        }
        if length >= least and lane.kind != "cause":
            row["named"] = 1
        yield row


def _event_name(step: StepTimeline, lane: TimelineLane, name: int) -> str:
    text = step.names[name]
    if lane.kind == "cause":
        return cause_words(text)[0]
    return shown_name(text, _NAME_WIDTH) if lane.kind == "stream" else shown_text(text, _NAME_WIDTH)


def _kind_words(kind: str) -> str:
    return cause_words(kind)[0] if kind in PARTS else kind


def _spec(step: StepTimeline, rows: list[Spec], labels: list[str]) -> Spec:
    used = {row["kind"] for row in rows}
    colors = {_kind_words(kind): color_of(kind) for kind in step.kinds if _kind_words(kind) in used}
    color = {
        "field": "kind",
        "type": "nominal",
        "scale": {"domain": list(colors), "range": list(colors.values())},
        "legend": {"title": None, "orient": "bottom", "symbolType": "square"},
    }
    end_ms = step.duration_ns / 1e6
    detail = _detail(rows, labels, color, end_ms)
    return {"$schema": SCHEMA, "spacing": 12, "vconcat": [_overview(rows, color, end_ms), detail]}


def _overview(rows: list[Spec], color: Spec, end_ms: float) -> Spec:
    """The step's time by cause, over which a drag chooses what the lanes below show."""
    return {
        "width": 640,
        "height": 22,
        "data": {"values": [row for row in rows if row["row"] == 0]},
        "params": [{"name": "zoom", "select": {"type": "interval", "encodings": ["x"]}}],
        "mark": {"type": "rect", "aria": False},
        "encoding": {
            "x": {"field": "start", "type": "quantitative", "title": None, "axis": None,
                  "scale": {"domain": [0, end_ms], "nice": False}},
            "x2": {"field": "end"},
            "color": color,
        },
    }  # fmt: skip


def _detail(rows: list[Spec], labels: list[str], color: Spec, end_ms: float) -> Spec:
    """All lanes, and the names of their longest events where there is room."""
    x = {
        "field": "start",
        "type": "quantitative",
        "title": "ms since the step began",
        "scale": {"domain": {"param": "zoom"}, "nice": False},
    }
    y = {
        "field": "row",
        "type": "ordinal",
        "title": None,
        "scale": {"domain": list(range(len(labels))), "paddingInner": 0.12},
        "axis": {"labelExpr": f"{_string_list(labels)}[datum.value]", "ticks": False},
    }
    tooltip = [{"field": name, "type": "nominal"} for name in ("name", "kind", "length")]
    bars: Spec = {
        "mark": {"type": "rect", "clip": True, "aria": False},
        "encoding": {"x": x, "x2": {"field": "end"}, "y": y, "color": color, "tooltip": tooltip},
    }
    names: Spec = {
        "transform": [{"filter": "datum.named"}],
        "mark": {
            "type": "text", "clip": True, "aria": False, "align": "left", "dx": 3, "fontSize": 10,
            "baseline": "middle", "limit": {"expr": f"max(1, {_WIDTH} - 5)"},
            "text": {"expr": f"{_WIDTH} > 36 ? datum.name : ''"}, "fill": "#10151c",
        },
        "encoding": {"x": x, "y": y},
    }  # fmt: skip
    # The axis spans the whole step, whatever is drawn of it.
    ends: Spec = {
        "data": {"values": [{"start": 0, "row": 0}, {"start": end_ms, "row": 0}]},
        "mark": {"type": "point", "opacity": 0, "aria": False},
        "encoding": {"x": x, "y": y},
    }
    return {
        "width": 640,
        "height": _ROW_HEIGHT * len(labels),
        "data": {"values": rows},
        "layer": [bars, names, ends],
    }


_WIDTH = "(scale('concat_1_x', datum.end) - scale('concat_1_x', datum.start))"
"""Of an event, in pixels, at the current zoom."""


def _string_list(texts: list[str]) -> str:
    """A list as an expression of Vega; the texts are visible ones already, so only quotes matter."""
    quoted = ("'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'" for text in texts)
    return f"[{', '.join(quoted)}]"
