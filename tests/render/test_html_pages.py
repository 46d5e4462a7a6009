"""The HTML report in a real browser: it draws, sorts, filters, fits, and asks for nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.analysis import analyze_all
from mfu_profiler.analysis.report import Report
from mfu_profiler.render.html import render_html

from ..chromium import Opened, opened_file
from ..conftest import REPOSITORY, require_shared, trace_paths
from ..hostile import hostile_trace
from .sample import SAMPLES

WIDTHS = (1440, 768, 375)
LARGEST_BYTE = 2_000_000

MARKS = {
    "waterfall": ".mark-rect.role-mark path",
    "steps": ".mark-rect.role-mark path",
    "timeline": ".mark-rect.role-mark path",
    "roofline": ".mark-symbol.role-mark path",
    "modules": ".mark-rect.role-mark path",
    "hardware": ".mark-symbol.role-mark path",
}


def values(spec: dict[str, Any], layer: int) -> list[Any]:
    """The data of a chart's layer."""
    part = spec["layer"][layer]
    found: list[Any] = (part.get("data") or spec["data"])["values"]
    return found


def expected_marks(name: str, spec: dict[str, Any]) -> int:
    """How many marks a chart must have drawn."""
    if name == "timeline":  # the overview, its brush (two rectangles), and all rows
        overview, detail = spec["vconcat"]
        return len(overview["data"]["values"]) + len(detail["data"]["values"])
    if name == "hardware":
        return sum(len(chart["data"]["values"]) for chart in spec["vconcat"])
    return len(values(spec, 2 if name == "roofline" else 0))


def written(reports: tuple[Report, ...], folder: Path) -> Path:
    page = folder / "report.html"
    page.write_text(render_html(reports), encoding="utf-8")
    return page


def assert_all_is_drawn(page: Opened, reports: tuple[Report, ...]) -> None:
    for number, report in enumerate(reports, start=1):
        for name, figure in report.figures().items():
            chart = f'[data-chart="report-{number}-{name}"]'
            place = page.page.locator(chart)
            place.scroll_into_view_if_needed()
            place.locator("svg").first.wait_for()
            drawn = page.count(f"{chart} {MARKS[name]}")
            brush = 2 if name == "timeline" else 0
            assert drawn == expected_marks(name, figure.spec) + brush, name
    assert page.count(".chart.failed") == 0


def assert_it_fits(page: Opened) -> None:
    for width in WIDTHS:
        page.resize(width)
        # Drawn anew some time after the size has changed.
        page.page.wait_for_function(
            "() => [...document.querySelectorAll('.chart svg')].every("
            "svg => Number(svg.getAttribute('width')) <= svg.parentElement.clientWidth + 1)"
        )
        assert page.overflow() <= 0, width


def assert_it_is_accessible(page: Opened) -> None:
    for scheme in ("light", "dark"):
        page.page.emulate_media(color_scheme=scheme)
        assert page.serious_violations() == [], scheme


@pytest.mark.parametrize("trace", trace_paths(), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_page_of_a_real_trace_draws_fits_and_asks_for_nothing(
    trace: Path, browser: Any, tmp_path: Path
) -> None:
    reports = analyze_all(trace)
    file = written(reports, tmp_path)
    assert file.stat().st_size < LARGEST_BYTE
    with opened_file(browser, file) as page:
        assert_all_is_drawn(page, reports)
        assert_it_is_accessible(page)
        assert_it_fits(page)
        assert page.complaints == [] and page.requests == []


def test_there_are_real_traces_to_look_at() -> None:
    require_shared()
    assert len(trace_paths()) == 32


@pytest.mark.parametrize("name", SAMPLES)
def test_the_page_of_each_kind_of_report_draws_and_fits(name: str, browser: Any, tmp_path: Path) -> None:
    reports = SAMPLES[name]
    with opened_file(browser, written(reports, tmp_path)) as page:
        assert_all_is_drawn(page, reports)
        assert_it_is_accessible(page)
        assert_it_fits(page)
        assert page.complaints == [] and page.requests == []


@pytest.fixture
def gpt(browser: Any, tmp_path: Path) -> Any:
    """The page of the trace that the project ships."""
    reports = analyze_all(REPOSITORY / "examples" / "traces" / "gpt_cpu.json.gz", peak_tflops=0.097)
    with opened_file(browser, written(reports, tmp_path)) as page:
        yield page, reports[0]


def column(page: Opened, title: str) -> list[str]:
    """The first table's visible cells under a title."""
    texts: list[str] = page.page.evaluate(
        """title => {
          const table = document.querySelector("table.sortable");
          const heads = [...table.tHead.rows[0].cells];
          const place = heads.findIndex(cell => cell.textContent.trim() === title);
          return [...table.tBodies[0].rows].filter(row => !row.hidden).map(row =>
            row.cells[place].dataset.value ?? row.cells[place].firstChild.textContent);
        }""",
        title,
    )
    return texts


def test_a_click_on_a_head_sorts_by_it_and_a_second_one_turns_it(gpt: tuple[Opened, Report]) -> None:
    page, report = gpt
    head = page.page.locator("table.sortable").first.locator("th button", has_text="calls")
    counts = sorted((row.count for row in report.kernels), reverse=True)
    head.click()
    assert [float(text) for text in column(page, "calls")] == counts
    head.click()
    assert [float(text) for text in column(page, "calls")] == counts[::-1]
    assert page.page.locator("th[aria-sort]").first.get_attribute("aria-sort") == "ascending"


def test_names_sort_by_letter(gpt: tuple[Opened, Report]) -> None:
    page, _ = gpt
    page.page.locator("table.sortable").first.locator("th button", has_text="kernel").click()
    names = column(page, "kernel")
    assert names == sorted(names, key=str.lower)


def test_the_filter_leaves_the_rows_that_hold_all_words(gpt: tuple[Opened, Report]) -> None:
    page, report = gpt
    page.page.locator(".filter input").first.fill("MM addmm")
    names = column(page, "kernel")
    assert names and all("mm" in name for name in names)
    assert len(names) < len(report.kernels)
    assert (
        page.page.locator(".filter output").first.text_content() == f"{len(names)} of {len(report.kernels)}"
    )
    page.page.locator(".filter input").first.fill("")
    assert len(column(page, "kernel")) == len(report.kernels)


def labels(page: Opened) -> list[str]:
    """Texts of the timeline's axes, in the order of the alphabet; the drawing keeps none."""
    found: list[str] = page.page.locator('[data-chart$="timeline"] .role-axis-label text').all_text_contents()
    return sorted(found)


def test_the_timeline_zooms_by_its_buttons_and_by_dragging(gpt: tuple[Opened, Report]) -> None:
    page, _ = gpt
    place = page.page.locator('[data-chart$="timeline"]')
    place.scroll_into_view_if_needed()
    place.locator("svg").wait_for()
    whole = labels(page)

    def press(name: str) -> list[str]:
        """The labels of the axis when they have changed."""
        before = labels(page)
        page.page.get_by_role("button", name=name).click()
        return changed(page, before)

    zoomed = press("zoom in")
    assert len({*whole, *zoomed}) > len(set(whole))
    assert press("later") != whole
    assert press("whole step") == whole
    strip = place.locator(".concat_0_marks").bounding_box()
    page.page.mouse.move(strip["x"] + 0.3 * strip["width"], strip["y"] + 8)
    page.page.mouse.down()
    page.page.mouse.move(strip["x"] + 0.6 * strip["width"], strip["y"] + 8, steps=5)
    page.page.mouse.up()
    assert changed(page, whole) != whole
    assert page.complaints == []


def changed(page: Opened, before: list[str]) -> list[str]:
    """The labels of the axis, as soon as they are others."""
    for _ in range(100):
        if (now := labels(page)) != before:
            return now
        page.page.wait_for_timeout(50)
    raise AssertionError(f"the axis stays as it is: {before}")


def test_a_mark_tells_about_itself(gpt: tuple[Opened, Report]) -> None:
    page, _ = gpt
    place = page.page.locator('[data-chart$="waterfall"]')
    place.locator("svg").wait_for()
    place.locator(".mark-rect.role-mark path").first.hover()
    assert "cause: peak" in (page.page.locator("#tip").text_content() or "")


def test_everything_is_there_on_paper(gpt: tuple[Opened, Report]) -> None:
    page, report = gpt
    page.page.emulate_media(media="print")
    page.page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    for name in report.figures():
        page.page.locator(f'[data-chart$="-{name}"] svg').wait_for(state="attached")
    content = page.page.pdf()
    assert content.startswith(b"%PDF")


HOSTILE_CASES = [(None, True), ("NVIDIA H100 80GB HBM3", True), (None, False)]
"""Name of the device (None: hostile as well), and whether the trace is of a live run."""


@pytest.mark.parametrize(("device", "is_live"), HOSTILE_CASES)
def test_a_hostile_trace_is_nothing_but_text_on_its_page(
    device: str | None, is_live: bool, browser: Any, tmp_path: Path
) -> None:
    reports = analyze_all(hostile_trace(tmp_path, device=device, is_live=is_live))
    with opened_file(browser, written(reports, tmp_path)) as page:
        assert_it_came_to_nothing(page)
        assert_all_is_drawn(page, reports)
        assert_it_is_accessible(page)
        assert_it_fits(page)
        assert "<script>alert(1)</script>" in page.page.locator("body").inner_text()
        assert page.complaints == [] and page.requests == []


def assert_it_came_to_nothing(page: Opened) -> None:
    """No element or script of the trace's, and no character that does not print."""
    assert page.count("img") == 0 and page.count("script:not([type='application/json'])") == 2
    text = page.page.locator("body").inner_text().replace("\u00a0", " ")  # before percent signs
    assert all(line.isprintable() for line in text.replace("\t", "\n").split("\n"))


def test_the_policy_stops_what_is_not_ours(gpt: tuple[Opened, Report]) -> None:
    page, _ = gpt
    page.page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.owned = true";
          document.body.append(script);
          const image = document.createElement("img");
          image.src = "https://example.org/x.png";
          document.body.append(image);
        }"""
    )
    page.page.wait_for_timeout(200)
    assert page.page.evaluate("() => window.owned") is None
    assert len([said for said in page.complaints if "Content Security Policy" in said]) == 2
