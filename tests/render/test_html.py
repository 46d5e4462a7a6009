"""The page as a file, without a browser: what it may run and ask for, what it holds, and how large it is."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.analysis import analyze, analyze_all
from mfu_profiler.analysis.report import Report
from mfu_profiler.render.charts import FIGURES, Figure
from mfu_profiler.render.charts.difference import difference_figure
from mfu_profiler.render.html import figure_frame, render_html
from mfu_profiler.render.html.compare import render_comparison_html
from mfu_profiler.render.html.document import document
from tests.analysis.compared import found_of, rows
from tests.conftest import REPOSITORY
from tests.hostile import hostile_trace
from tests.render.charted import CHARTED, charted, charted_hostile
from tests.render.sample import SAMPLES, hostile, ranks, resnet

LARGEST_BYTE = 2_000_000
VEGA = REPOSITORY / "mfu_profiler" / "render" / "html" / "assets" / "vega.js"
SCHEMA = '"$schema":"https://vega.github.io/schema/vega-lite/v6.json"'
URLS = {"action", "background", "cite", "data", "formaction", "href", "longdesc", "manifest", "ping"}
URLS |= {"poster", "src", "srcset", "xlink:href"}
"""Attributes whose value a browser may fetch or follow."""


@dataclass
class Parsed(HTMLParser):
    """A page as a browser's parser sees it."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    contents: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    """Of style, script and title elements."""
    text: str = ""
    is_raw: bool = False
    """Inside one of them."""
    comments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = {name: value or "" for name, value in attrs}
        assert len(about) == len(attrs), "no attribute twice"
        self.elements.append((tag, about))
        self.is_raw = tag in {"style", "script", "title"}
        if self.is_raw:
            self.contents.append((tag, about, ""))

    def handle_endtag(self, tag: str) -> None:
        self.is_raw = False

    def handle_data(self, data: str) -> None:
        if self.is_raw:
            name, about, text = self.contents[-1]
            self.contents[-1] = (name, about, text + data)
        else:
            self.text += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        """Attributes of every element of a kind."""
        return [about for name, about in self.elements if name == tag]

    def inside(self, tag: str, kind: str = "") -> list[str]:
        """Contents of every element of a kind and of a type."""
        return [text for name, about, text in self.contents if (name, about.get("type", "")) == (tag, kind)]


def parsed(page: str) -> Parsed:
    found = Parsed()
    found.feed(page)
    found.close()
    return found


def compared_page() -> str:
    return render_comparison_html(found_of(rows(0.2, idle_host=0.4), rows(0.1, idle_host=0.1)))


PAGES = {
    **{name: render_html(reports) for name, reports in SAMPLES.items()},
    **{name: render_html([make()]) for name, make in CHARTED.items()},
    "compared": compared_page(),
    "compared, hostile": render_comparison_html(found_of(hostile(), charted_hostile())),
}


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@pytest.mark.parametrize("name", PAGES)
def test_the_policy_allows_the_pages_own_style_and_scripts_and_nothing_else(name: str) -> None:
    page = parsed(PAGES[name])
    [policy] = [
        meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    [style], scripts = page.inside("style"), page.inside("script")
    assert len(scripts) == 2 and scripts[0] == VEGA.read_text()
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives == {
        "default-src": "'none'",
        "script-src": " ".join(map(digest, scripts)),
        "style-src": digest(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    before = PAGES[name].partition("<script")[0].partition("<style")[0]
    assert "Content-Security-Policy" in before, "it holds for what follows it"


@pytest.mark.parametrize("name", PAGES)
def test_nothing_in_the_page_points_outside(name: str) -> None:
    page = parsed(PAGES[name])
    links = [value for _, about in page.elements for attribute, value in about.items() if attribute in URLS]
    assert "data:," in links
    assert all(link == "data:," or link.startswith("#report-") for link in links)
    assert not any(
        attribute.startswith("on") or attribute == "style" for _, a in page.elements for attribute in a
    )
    assert {meta.get("http-equiv") for meta in page.all("meta")} == {None, "Content-Security-Policy"}
    [style] = page.inside("style")
    assert "url(" not in style and "@import" not in style
    if "hostile" not in name:
        rest = PAGES[name].replace(VEGA.read_text(), "").replace(SCHEMA, "")
        assert "http:" not in rest and "https:" not in rest


@pytest.mark.parametrize("name", sorted(set(PAGES) - {"none"}))
def test_links_lead_to_a_place_on_the_page_and_no_place_is_named_twice(name: str) -> None:
    page = parsed(PAGES[name])
    ids = [about["id"] for _, about in page.elements if "id" in about]
    assert len(set(ids)) == len(ids)
    targets = [a["href"][1:] for a in page.all("a")] + [label["for"] for label in page.all("label")]
    assert set(targets) <= set(ids)
    blocks = {script["id"] for script in page.all("script") if "id" in script}
    assert {about["data-chart"] for _, about in page.elements if "data-chart" in about} == blocks


def specs_in(page: str) -> dict[str, Any]:
    """The specifications in a page by the id of their element."""
    found = parsed(page)
    ids = [about["id"] for tag, about in found.elements if tag == "script" and about.get("type")]
    texts = found.inside("script", "application/json")
    return dict(zip(ids, map(json.loads, texts), strict=True))


@pytest.mark.parametrize("name", [*sorted(set(SAMPLES) - {"none"}), *CHARTED])
def test_the_data_in_the_page_are_the_charts_specifications(name: str) -> None:
    reports = SAMPLES[name] if name in SAMPLES else (CHARTED[name](),)
    assert specs_in(PAGES[name]) == {
        f"report-{number}-{key}": figure.spec
        for number, report in enumerate(reports, start=1)
        for key, figure in report.figures().items()
    }


def test_the_data_in_a_comparison_are_its_bridge() -> None:
    [pair] = found_of(rows(0.2, idle_host=0.4), rows(0.1, idle_host=0.1)).pairs
    figure = difference_figure(pair)
    assert figure is not None and specs_in(PAGES["compared"]) == {"difference-1": figure.spec}


# --- hostile text --------------------------------------------------------------------------------------

OWN = {tag for name in ("every chart", "ranks") for tag, _ in parsed(PAGES[name]).elements}


@pytest.mark.parametrize("name", [name for name in PAGES if "hostile" in name and "compared" not in name])
def test_hostile_names_make_no_element_and_no_comment(name: str) -> None:
    page = parsed(PAGES[name])
    assert {tag for tag, _ in page.elements} <= OWN
    assert page.comments == []
    assert "<script>alert(1)</script>" in page.text, "it is there, as text"


def test_hostile_names_do_not_change_the_shape_of_the_page() -> None:
    """The same report with harmless names has the same elements."""
    report = hostile()
    calm = replace(report, kernels=tuple(replace(row, name=f"k{n}") for n, row in enumerate(report.kernels)))
    pages = [parsed(render_html([one])).elements for one in (report, calm)]
    assert [tag for tag, _ in pages[0]] == [tag for tag, _ in pages[1]]


BREAKERS = ("</script><script>x</script>", "<!--<script>", "]]>", "&amp;lt;", "\u2028\u2029", "{{7*7}}{%if%}")


@pytest.mark.parametrize("text", BREAKERS)
def test_no_text_of_a_chart_leaves_its_element(text: str) -> None:
    spec = {text: [text]}
    figure = Figure("x", text, text, spec)
    page = document("figure.html.j2", {"chart": spec}, title=text, figure=figure, id="chart")
    assert specs_in(page) == {"chart": spec}
    found = parsed(page)
    assert len(found.all("script")) == 3 and found.comments == []
    assert found.inside("title") == [text]
    [chart] = [about for _, about in found.elements if "data-chart" in about]
    assert chart["data-label"] == f"{text}. {text}"
    block = page.split('id="chart">')[1].split("</script>")[0]
    assert not set(block) & set("<>&\u2028\u2029")


def test_percent_signs_do_not_break_from_their_numbers() -> None:
    page = parsed(PAGES["resnet"])
    assert "MFU 28.1\u00a0%" in page.text and " %" not in page.text


def test_lone_surrogates_do_not_hinder_writing(tmp_path: Path) -> None:
    for name in ("hostile", "every chart, hostile", "compared, hostile"):
        PAGES[name].encode("utf-8")
    report = replace(resnet(), trace=replace(resnet().trace, path="trace\udcff.json"))
    assert "trace\\udcff.json" in render_html([report]).encode("utf-8").decode()
    for page in (render_html([analyze(hostile_trace(tmp_path))]), charted_hostile()._repr_html_()):
        page.encode("utf-8")


# --- notebooks -----------------------------------------------------------------------------------------


def framed(html: str) -> dict[str, str]:
    """Attributes of the one element that a notebook gets."""
    [(tag, about)] = parsed(html).elements
    assert tag == "iframe" and html.startswith("<iframe") and html.endswith("</iframe>")
    assert parsed(html).text == ""
    return about


@pytest.mark.parametrize("make", [charted, charted_hostile])
def test_in_a_notebook_a_report_is_its_page_in_a_sandbox(make: Any) -> None:
    report: Report = make()
    about = framed(report._repr_html_())
    assert about["srcdoc"] == report.to_html() == render_html([report])
    assert about["sandbox"] == "allow-scripts", "and no allow-same-origin, which would undo it"


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("make", [charted, charted_hostile])
def test_in_a_notebook_a_chart_is_a_page_of_its_own(make: Any, name: str) -> None:
    figure = make().figures()[name]
    about = framed(figure._repr_html_())
    assert about["sandbox"] == "allow-scripts" and about["title"] == figure.title
    assert specs_in(about["srcdoc"]) == {"chart": figure.spec}
    assert figure.caption.replace(" %", "\u00a0%") in parsed(about["srcdoc"]).text
    assert ("zoom in" in parsed(about["srcdoc"]).text) == (name == "timeline")


def test_a_chart_in_a_notebook_may_have_any_title() -> None:
    assert framed(figure_frame(Figure("x", '"><b>', "c", {})))["title"] == '"><b>'


# --- what is on it -------------------------------------------------------------------------------------


def test_one_report_is_one_article_without_an_overview() -> None:
    page = parsed(PAGES["every chart"])
    assert [about["id"] for about in page.all("article")] == ["report-1"]
    assert page.all("nav") == []
    assert len([about for _, about in page.elements if "data-chart" in about]) == len(FIGURES)
    assert len(page.all("table")) == 3, "losses, kernels and ops"


def test_several_reports_are_a_table_and_an_article_each() -> None:
    page = parsed(PAGES["ranks"])
    assert [about["id"] for about in page.all("article")] == ["report-1", "report-2"]
    assert [link["href"] for link in page.all("a")] == ["#report-1", "#report-2"]
    assert page.inside("title") == ["MFU report: 2 devices"]
    first_article = PAGES["ranks"].index("<article")
    assert PAGES["ranks"].index("<table>") < first_article
    assert "28.1\u00a0%" in PAGES["ranks"][:first_article]
    assert len(render_html(ranks()[:1])) < len(PAGES["ranks"])


def test_without_reports_the_page_says_so() -> None:
    page = parsed(PAGES["none"])
    assert page.all("article") == [] and "nothing" in page.text.lower()


def test_the_page_of_the_shipped_trace_is_small_and_always_the_same() -> None:
    reports = analyze_all(REPOSITORY / "examples" / "traces" / "gpt_cpu.json.gz", peak_tflops=0.097)
    page = render_html(reports)
    assert VEGA.stat().st_size < len(page.encode()) < LARGEST_BYTE
    assert page == render_html(reports)
