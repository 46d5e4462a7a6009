"""The docs site builds without a warning, loads nothing from another host, and its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest
import typer

import mfu_profiler
from mfu_profiler.analysis import report
from mfu_profiler.cli.main import app
from mfu_profiler.hardware import PRECISIONS, devices

from .conftest import REPOSITORY

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("mkdocs", "material", "mkdocstrings")),
    reason="mkdocs is not installed: pip install -c constraints.txt '.[docs]'",
)

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Tags that a browser loads something for, and where."""
NOT_LOADED = {"canonical", "prev", "next", "author", "license"}
"""Relations of a ``link`` that are only named."""
URL = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")
EXTERNAL = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)


class Page(HTMLParser):
    """What a page loads, links and names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.names |= {values[name] for name in ("id", "name") if name in values}
        self.loads += [found for pair in URL.findall(values.get("style", "")) for found in pair if found]
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADED and LOADED[tag] in values and values.get("rel") not in NOT_LOADED:
            self.loads.append(values[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    finished = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert finished.returncode == 0, finished.stderr
    assert "WARNING" not in finished.stderr
    return target


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_of_the_navigation_is_built(pages: dict[Path, Page], site: Path) -> None:
    navigation = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r": (\S+)\.md$", navigation, re.MULTILINE)
    assert len(named) >= 16
    assert {site / f"{name}.html" for name in named} <= pages.keys()


def test_no_page_loads_anything_from_another_host(pages: dict[Path, Page], site: Path) -> None:
    loaded = {(path.name, address) for path, page in pages.items() for address in page.loads}
    assert len(loaded) > 50
    assert [found for found in loaded if EXTERNAL.match(found[1])] == []
    in_styles = [(path.name, found) for path in site.rglob("*.css") for found in _urls(path)]
    assert [found for found in in_styles if EXTERNAL.match(found[1])] == []


def _urls(path: Path) -> Iterator[str]:
    for pair in URL.findall(path.read_text(encoding="utf-8")):
        yield from filter(None, pair)


def test_every_link_within_the_site_leads_somewhere(pages: dict[Path, Page], site: Path) -> None:
    checked, broken = 0, []
    for path, page in pages.items():
        for address in (*page.links, *page.loads):
            if EXTERNAL.match(address) or address.startswith(("mailto:", "data:")) or path.name == "404.html":
                continue
            target, anchor = urldefrag(unquote(address))
            file = (path.parent / target).resolve() if target else path
            checked += 1
            is_there = file.is_file() or (file / "index.html").is_file()
            if not is_there or (anchor and file in pages and anchor not in pages[file].names):
                broken.append((str(path.relative_to(site)), address))
    assert checked > 500
    assert broken == []


def test_what_is_opened_as_files_can_be_searched(pages: dict[Path, Page], site: Path) -> None:
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert index.startswith("var __index = {")
    assert "matmul inefficiency" in index
    assert any("iframe-worker.js" in address for address in pages[site / "faq.html"].loads)


def test_every_device_is_in_the_catalog_with_its_peaks_and_its_source(site: Path) -> None:
    rows: dict[str, list[list[str]]] = {}
    for row in re.findall(
        r"<tr>(.*?)</tr>", (site / "reference" / "hardware.html").read_text("utf-8"), re.DOTALL
    ):
        cells = [_text(cell) for cell in re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL)]
        if cells:
            rows.setdefault(cells[0], []).append(cells)
    assert len(rows) == len(devices())
    for spec in devices():
        peaks, sources = rows[spec.name]
        shown = dict(zip(PRECISIONS, peaks[2:], strict=False))
        assert shown == {
            precision: f"{spec.peak_flop_per_s[precision] / 1e12:g}"
            if precision in spec.peak_flop_per_s
            else "-"
            for precision in PRECISIONS
        }
        assert sources[2] == " ".join(spec.source.split())


def test_every_command_and_option_is_in_the_reference(site: Path) -> None:
    text = _text((site / "reference" / "cli.html").read_text(encoding="utf-8"))
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    shown = {name: command for name, command in commands.items() if not command.hidden}
    assert len(shown) >= 5
    for name, command in shown.items():
        assert f"python -m mfu_profiler {name} " in text
        section = text.partition(f"python -m mfu_profiler {name} ")[2].partition("python -m mfu_profiler")[0]
        for parameter in command.params:
            assert all(option in section for option in parameter.opts if option.startswith("-"))
    assert "--peak-tflops X" in text
    assert "datasheet|estimate" in text
    assert "141" in text


def test_every_public_name_and_part_of_a_report_is_in_the_api(pages: dict[Path, Page], site: Path) -> None:
    names = pages[site / "reference" / "api.html"].names
    public = set(mfu_profiler.__all__) - {"__version__"}
    assert {f"mfu_profiler.{name}" for name in public} <= names
    assert {f"mfu_profiler.Report.{name}" for name in report.Report.__annotations__} <= names
    assert "mfu_profiler.analysis.report.Partition.idle_host" in names


def _text(markup: str) -> str:
    """Without tags, and entities as what they stand for."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", markup)).split())
