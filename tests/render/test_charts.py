"""What holds for every chart: it compiles, becomes an image, and shows nothing but text."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import vl_convert

from mfu_profiler.analysis import analyze
from mfu_profiler.analysis.report import Report
from mfu_profiler.errors import OptionError
from mfu_profiler.render.charts import FIGURES, Figure, figures
from mfu_profiler.render.charts.difference import difference_figure
from mfu_profiler.render.charts.figure import SCHEMA
from tests.analysis.compared import found_of, rows
from tests.hostile import hostile_trace
from tests.render.charted import CHARTED, charted
from tests.render.sample import SAMPLES

PNG = b"\x89PNG\r\n\x1a\n"


def all_reports() -> dict[str, Report]:
    """The first report of each sample, and those with every chart."""
    samples = {name: reports[0] for name, reports in SAMPLES.items() if reports}
    return samples | {name: make() for name, make in CHARTED.items()}


REPORTS = all_reports()


def drawn(report: Report) -> dict[str, Figure]:
    """The report's charts, and its difference to another one."""
    [pair] = found_of(report, rows(0.1, idle_host=0.3)).pairs
    difference = difference_figure(pair)
    return report.figures() | ({"difference": difference} if difference is not None else {})


def texts_of(value: Any) -> Iterator[str]:
    """Every text of a specification, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item)


def assert_is_sound(figure: Figure, name: str) -> None:
    assert figure.name == name and figure.spec["$schema"] == SCHEMA
    vl_convert.vegalite_to_vega(figure.spec, vl_version="6.4")
    for text in (figure.title, figure.caption, *texts_of(figure.spec)):
        assert text.isprintable(), text
    assert json.loads(json.dumps(figure.spec, allow_nan=False)) == figure.spec, "plain JSON values"
    assert figure.caption.endswith(".") and "  " not in figure.caption.replace("\\n", "")


@pytest.mark.parametrize("name", REPORTS)
def test_every_chart_compiles_and_holds_printable_text_alone(name: str) -> None:
    for key, figure in drawn(REPORTS[name]).items():
        assert_is_sound(figure, key)


@pytest.mark.parametrize(
    ("device", "is_live"), [(None, True), ("NVIDIA H100 80GB HBM3", True), (None, False)]
)
def test_the_charts_of_a_hostile_trace_are_sound(device: str | None, is_live: bool, tmp_path: Path) -> None:
    report = analyze(hostile_trace(tmp_path, device=device, is_live=is_live))
    found = drawn(report)
    assert {"waterfall", "steps", "timeline"} <= set(found) and ("modules" in found) == is_live
    for key, figure in found.items():
        assert_is_sound(figure, key)
        ElementTree.fromstring(figure.to_svg())


@pytest.mark.parametrize("name", CHARTED)
def test_every_chart_becomes_a_picture(name: str) -> None:
    found = drawn(REPORTS[name])
    assert set(found) == {*FIGURES, "difference"}
    for figure in found.values():
        root = ElementTree.fromstring(figure.to_svg())
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and len(root)
        assert figure.to_png(scale=0.5).startswith(PNG)


def test_the_scale_of_an_image_is_pixels_per_unit() -> None:
    figure = charted().figures()["waterfall"]
    widths = [int.from_bytes(figure.to_png(scale=scale)[16:20], "big") for scale in (1.0, 2.0)]
    assert widths[0] > 640 and abs(widths[1] - 2 * widths[0]) <= 2


def test_an_image_stands_on_white_in_a_font_that_servers_have() -> None:
    svg = charted().figures()["steps"].to_svg()
    assert 'fill="white"' in svg and "DejaVu Sans" in svg


def test_names_of_lanes_pass_through_vegas_expression_to_the_letter() -> None:
    report, label = charted(), "it's a \\ 'stream' \\"
    assert report.step_timeline is not None
    cause, stream, host = report.step_timeline.lanes
    lanes = (cause, replace(stream, label=label), host)
    named = replace(report, step_timeline=replace(report.step_timeline, lanes=lanes))
    svg = ElementTree.fromstring(named.figures()["timeline"].to_svg())
    words = {"".join(text.itertext()) for text in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {"time by cause", label, "thread aten::mm"} <= words


def test_charts_come_in_the_order_of_a_page_and_without_those_that_lack_data() -> None:
    assert list(figures(charted())) == list(FIGURES)
    assert list(figures(SAMPLES["resnet"][0])) == ["waterfall", "steps"]
    assert figures(SAMPLES["cpu"][0]) == {}
    assert charted().figures() == figures(charted())


def test_the_same_report_gives_the_same_charts() -> None:
    assert figures(charted()) == figures(charted())


@pytest.mark.parametrize("make", [Figure.to_png, Figure.to_svg])
def test_without_the_converter_an_image_says_what_to_install(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    figure = charted().figures()["waterfall"]
    with pytest.raises(OptionError, match="vl-convert-python") as caught:
        make(figure)
    assert 'pip install "mfu-profiler[images]"' in str(caught.value)
