"""A real TensorBoard with torch-tb-profiler shows a run of ``track``: trace, scalars, pictures and text.

The same run's page stands beside it: what the plugin's pages show only with the internet, it shows without.
"""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode
from urllib.request import ProxyHandler, build_opener

import pytest

from mfu_profiler.analysis.report import PARTS, Report
from mfu_profiler.render.html import render_html
from mfu_profiler.render.tensorboard_images import IMAGES
from mfu_profiler.units import percent_text

from .chromium import Opened, opened, opened_file
from .render.test_html_pages import assert_all_is_drawn, assert_it_fits, assert_it_is_accessible
from .tensorboard_server import GIVE_UP_S, started_tensorboard, wait_for

RUN = "gpt"

Get = Callable[..., Any]
"""``get(path, **query)``: what TensorBoard answers, JSON decoded."""


def _required(package: str) -> None:
    try:
        version(package)
    except PackageNotFoundError:
        pytest.skip(f"needs {package}:  pip install {package}", allow_module_level=True)


_required("tensorboard")
_required("torch-tb-profiler")
_required("torch")


@dataclass(frozen=True)
class Tracked:
    """What one run of ``track`` left in ``logs/gpt``."""

    folder: Path
    trace: Path
    report: Report

    @property
    def worker(self) -> str:
        """Its name for torch-tb-profiler."""
        return self.trace.name.split(".")[0]

    @property
    def scalars(self) -> str:
        """Its name for TensorBoard."""
        return f"{RUN}/{self.trace.name.removesuffix('.pt.trace.json.gz')}"


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    import torch

    from mfu_profiler.capture.demo_training import train_demo

    folder, threads = tmp_path_factory.mktemp("tensorboard"), torch.get_num_threads()
    run = train_demo(str(folder / "logs" / RUN), "cpu")
    torch.set_num_threads(threads)  # the demo takes half of them
    assert run.trace_path is not None and run.report is not None
    return Tracked(folder, run.trace_path, run.report)


@pytest.fixture(scope="module")
def address(tracked: Tracked) -> Iterator[str]:
    """TensorBoard over a folder with one run, ready when it has been read."""
    with started_tensorboard(tracked.folder / "logs", tracked.folder) as found:
        asked, log = _asker(found), tracked.folder / "log"
        wait_for(lambda: asked("plugin/pytorch_profiler/runs")["runs"], log.read_text)
        wait_for(lambda: asked("plugin/text/tags").get(tracked.scalars), log.read_text)
        wait_for(lambda: asked("plugin/images/tags").get(tracked.scalars), log.read_text)
        yield found


@pytest.fixture(scope="module")
def get(address: str) -> Get:
    """Asks that TensorBoard."""
    return _asker(address)


def _asker(address: str) -> Get:
    opener = build_opener(ProxyHandler({}))  # a proxy knows nothing of this machine

    def get(path: str, **query: str) -> Any:
        with opener.open(f"{address}/data/{path}?{urlencode(query)}", timeout=GIVE_UP_S) as response:
            content = response.read()
            packed = response.headers.get("Content-Encoding") == "gzip"
            is_json = response.headers.get_content_type() == "application/json"
        content = gzip.decompress(content) if packed else content
        return json.loads(content) if is_json else content

    return get


Profiler = Callable[..., Any]
"""``profiler(path, **query)``: what the PyTorch profiler's plugin answers for our worker's only span."""


@pytest.fixture(scope="module")
def profiler(get: Get, tracked: Tracked) -> Profiler:
    def ask(path: str, **query: str) -> Any:
        return get(f"plugin/pytorch_profiler/{path}", run=RUN, worker=tracked.worker, span="1", **query)

    return ask


def test_the_plugin_lists_the_run_its_worker_and_its_views(
    get: Get, profiler: Profiler, tracked: Tracked
) -> None:
    assert get("plugin/pytorch_profiler/runs") == {"runs": [RUN], "loading": False}
    assert profiler("workers", view="Overview") == [tracked.worker]
    assert profiler("spans") == ["1"]
    assert profiler("views") == ["Overview", "Operator", "Trace"]


def test_its_overview_has_a_row_for_each_recorded_step(profiler: Profiler, tracked: Tracked) -> None:
    steps = profiler("overview")["steps"]
    assert [row[0] for row in steps["rows"]] == [
        window.label.removeprefix("ProfilerStep#") for window in tracked.report.windows
    ]
    numbers = [index for index, column in enumerate(steps["columns"]) if column["type"] == "number"]
    assert [sum(row[index] for index in numbers) for row in steps["rows"]] == pytest.approx(
        [window.duration_ns / 1e3 for window in tracked.report.windows], abs=1.0
    )  # µs; the plugin reads times as floating-point µs


def test_its_operator_table_counts_the_matrix_products_of_the_trace(
    profiler: Profiler, tracked: Tracked
) -> None:
    with gzip.open(tracked.trace) as file:
        events = json.load(file)["traceEvents"]
    called = [event for event in events if event.get("name") == "aten::addmm"]
    table = profiler("operation/table", group_by="Operation")["data"]
    assert [row["calls"] for row in table if row["name"] == "aten::addmm"] == [len(called)]
    pie = profiler("operation", group_by="OperationAndInputShape")["host_self_time"]["rows"]
    assert any(name.startswith("aten::mm") and length > 0 for name, length in pie)


def test_its_trace_view_gets_the_trace_to_the_letter(profiler: Profiler, tracked: Tracked) -> None:
    with gzip.open(tracked.trace) as file:
        assert profiler("trace") == json.load(file)


def test_the_scalars_tab_lists_ours(get: Get, tracked: Tracked) -> None:
    tags = set(get("plugin/scalars/tags")[tracked.scalars])
    parts = {f"mfu_profiler/time/{part}" for part in PARTS}
    assert {"mfu_profiler/mfu", "mfu_profiler/hfu", "mfu_profiler/step_time_s"} | parts <= tags
    [(_, _, mfu)] = get("plugin/scalars/scalars", run=tracked.scalars, tag="mfu_profiler/mfu")
    assert mfu == pytest.approx(tracked.report.mfu, rel=1e-6)


def test_the_text_tab_shows_the_report(get: Get, tracked: Tracked) -> None:
    assert get("plugin/text/tags") == {tracked.scalars: ["mfu_profiler/report"]}
    [text] = get("plugin/text/text", run=tracked.scalars, tag="mfu_profiler/report")
    assert "<strong>MFU " in text["text"] and "<table>" in text["text"]
    assert "Where the other" in text["text"]


def test_the_images_tab_has_the_charts_as_png(get: Get, tracked: Tracked) -> None:
    tags = get("plugin/images/tags")[tracked.scalars]
    assert set(tags) == {f"mfu_profiler/{name}" for name in IMAGES}
    for tag, about in tags.items():
        figure = tracked.report.figures()[tag.removeprefix("mfu_profiler/")]
        assert about["displayName"] == figure.title
        assert about["samples"] == 1 and about["description"].startswith("<p>")
        [sample] = get("plugin/images/images", run=tracked.scalars, tag=tag, sample="0")
        content = get("plugin/images/individualImage", **dict(parse_qsl(sample["query"])))
        assert content.startswith(b"\x89PNG\r\n") and content.endswith(b"IEND\xaeB`\x82")
        assert min(struct.unpack(">II", content[16:24])) > 100, "pixels"


# In a browser -----------------------------------------------------------------------------------


@pytest.fixture
def tab(address: str, browser: Any) -> Callable[[str], Any]:
    """Opens one of TensorBoard's tabs; its pages may complain about themselves."""
    return lambda name: opened(browser, f"{address}/#{name}", is_offline=False)


def asked_elsewhere(page: Opened, address: str) -> list[str]:
    """Requests that leave this machine."""
    return [url for url in page.requests if not url.startswith((address, "data:", "blob:"))]


def test_a_browser_shows_the_mfu_as_a_time_series(
    tab: Callable[[str], Any], address: str, tracked: Tracked
) -> None:
    assert tracked.report.mfu is not None
    with tab("timeseries") as page:
        card = page.page.locator("scalar-card", has=page.page.get_by_title("mfu_profiler/mfu", exact=True))
        card.get_by_text(f"{tracked.report.mfu:.4g}").first.wait_for()
        card.locator("line-chart").wait_for()
        assert asked_elsewhere(page, address) == []


def test_a_browser_shows_the_scalars(tab: Callable[[str], Any], address: str) -> None:
    with tab("scalars") as page:
        heading = page.page.get_by_text("tag: mfu_profiler/mfu", exact=True)
        card = page.page.locator("tf-scalar-card", has=heading)
        card.locator("vz-line-chart2 path.symbol").wait_for()  # the only step's point
        assert asked_elsewhere(page, address) == []


def test_a_browser_draws_the_pictures(tab: Callable[[str], Any], address: str) -> None:
    with tab("images") as page:
        for name in IMAGES:
            card = page.page.locator("tf-image-loader", has_text=f"tag: mfu_profiler/{name}")
            image = card.locator("img").first
            image.wait_for()
            image.evaluate("image => image.decode()")
            assert image.evaluate("image => image.naturalWidth") > 640
        assert asked_elsewhere(page, address) == []


def test_a_browser_shows_the_headline_as_text(
    tab: Callable[[str], Any], address: str, tracked: Tracked
) -> None:
    assert tracked.report.mfu is not None
    with tab("text") as page:
        page.page.get_by_text(f"MFU {percent_text(tracked.report.mfu)}", exact=True).first.wait_for()
        assert page.page.get_by_role("heading", name="What to fix first").count() == 1
        assert asked_elsewhere(page, address) == []


def test_the_page_beside_the_trace_shows_the_run_without_a_network(tracked: Tracked, browser: Any) -> None:
    assert {"waterfall", "steps", "timeline", "modules"} <= set(tracked.report.figures())
    path = tracked.trace.with_name(tracked.trace.name.replace(".pt.trace.json.gz", ".report.html"))
    assert path.read_text(encoding="utf-8") == render_html([tracked.report])
    with opened_file(browser, path) as page:
        assert_all_is_drawn(page, (tracked.report,))
        assert_it_is_accessible(page)
        assert_it_fits(page)
        assert page.complaints == [] and page.requests == []
