"""FLOP by module as an icicle: a row per level of the model, as wide as what it executes."""

from __future__ import annotations

from dataclasses import dataclass, field

from mfu_profiler.analysis.report import Report
from mfu_profiler.render.charts.figure import SCHEMA, Figure, Spec
from mfu_profiler.render.names import shown_text
from mfu_profiler.units import flop_text, percent_text

__all__ = ["modules_figure"]

MOST_DEPTH = 6
LEAST_FRACTION = 0.002
"""Of all FLOP; a narrower module is less than a pixel or two."""
_ROW_HEIGHT = 30
_PALETTE = ("#2f9e8f", "#3f8fd9", "#d99a0b", "#7c6fe0", "#e2632b", "#5f8f3f", "#d9468f", "#1f7f8f")


@dataclass(slots=True)
class _Module:
    own: float = 0.0
    parts: dict[str, _Module] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Own FLOP and those of the modules inside."""
        return self.own + sum(part.total for part in self.parts.values())


def modules_figure(report: Report) -> Figure | None:
    """Of a live run; None where FLOP are not known by module."""
    root = _Module()
    for row in report.flop.by_module:
        place = root
        # What lies deeper is not drawn; a name of a thousand dots is no reason to nest a thousand objects.
        for part in row.name.split(".", MOST_DEPTH) if row.name else []:
            place = place.parts.setdefault(part, _Module())
        place.own += row.forward + row.backward + row.recomputed
    if not root.total:
        return None
    rows = _rows(root, root.total)
    return Figure(
        name="modules",
        title="FLOP by module",
        caption=f"{flop_text(root.total)} a step, forward, backward and recomputation; a module stands under "
        f"the one that holds it; under {percent_text(LEAST_FRACTION)} or over {MOST_DEPTH} levels deep is "
        "not drawn.",
        spec=_spec(rows),
    )


def _rows(root: _Module, total: float) -> list[Spec]:
    rows: list[Spec] = []

    def add(name: str, module: _Module, start: float, depth: int, color: str) -> None:
        share = module.total / total
        if share < LEAST_FRACTION or depth > MOST_DEPTH:
            return
        rows.append(
            {
                "module": shown_text(name, 120) or "the model",
                "name": shown_text(name.rpartition(".")[2], 40) or "the model",
                "start": start,
                "end": start + share,
                "depth": depth,
                "color": color,
                "share": percent_text(share),
                "flop": flop_text(module.total),
                "own": flop_text(module.own),
            }
        )
        for index, (part, inner) in enumerate(module.parts.items()):
            chosen = _PALETTE[index % len(_PALETTE)] if depth < 1 else color
            add(f"{name}.{part}" if name else part, inner, start, depth + 1, chosen)
            start += inner.total / total

    add("", root, 0.0, 0, "#87909c")
    return rows


def _spec(rows: list[Spec]) -> Spec:
    depth = 1 + max(int(row["depth"]) for row in rows)
    x = {"field": "start", "type": "quantitative", "title": "share of executed FLOP",
         "axis": {"format": ".0%", "tickCount": 5}, "scale": {"domain": [0, 1]}}  # fmt: skip
    y = {"field": "depth", "type": "ordinal", "axis": None, "scale": {"domain": list(range(depth))}}
    width = "(scale('x', datum.end) - scale('x', datum.start))"
    told = ("module", "share", "flop", "own")
    return {
        "$schema": SCHEMA,
        "width": 640,
        "height": _ROW_HEIGHT * depth,
        "data": {"values": rows},
        "layer": [
            {
                "mark": {"type": "rect", "stroke": "white", "strokeWidth": 1},
                "encoding": {
                    "x": x,
                    "x2": {"field": "end"},
                    "y": y,
                    "color": {"field": "color", "type": "nominal", "scale": None},
                    "tooltip": [{"field": name, "type": "nominal"} for name in told],
                },
            },
            {
                "mark": {
                    "type": "text", "align": "left", "dx": 4, "fontSize": 11, "fill": "#10151c",
                    "aria": False, "limit": {"expr": f"max(1, {width} - 6)"},
                    "text": {"expr": f"{width} > 28 ? datum.name : ''"},
                },
                "encoding": {"x": x, "y": y},
            },
        ],
    }  # fmt: skip
