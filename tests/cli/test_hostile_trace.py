"""A hostile trace, from its file to every output: its names are shown, and are nothing but text."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from rich.cells import cell_len

import mfu_profiler
from mfu_profiler.cli.main import main
from tests.hostile import EVIL, LONG, hostile_trace

Captured = pytest.CaptureFixture[str]
H100 = "NVIDIA H100 80GB HBM3"
CASES = [(None, True), (None, False), (H100, True), (H100, False)]
"""Name of the device (None: hostile as well, so the MFU is refused), and whether it is a live run's trace."""
TAGS = {"<br>", "<code>", "</code>"}
"""Of our own, in Markdown."""


@pytest.fixture(params=CASES, ids=str)
def trace(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    device, is_live = request.param
    return hostile_trace(tmp_path, device=device, is_live=is_live)


def printed(capsys: Captured, trace: Path, *words: str) -> str:
    """What the command prints, all of it printable."""
    assert main(["report", str(trace), *words]) == 0
    out, err = capsys.readouterr()
    assert err == "" and all(line.isprintable() for line in out.split("\n"))
    return out


def test_the_trace_is_hostile_where_it_matters(tmp_path: Path) -> None:
    """What the report holds is what the trace said, so that the outputs have something to hide."""
    whole = mfu_profiler.analyze(hostile_trace(tmp_path))
    assert whole.mfu is None and whole.device.name is not None and whole.device.name.startswith(EVIL)
    kernels = {row.name for row in whole.kernels}
    assert LONG in kernels and len(LONG) > 10_000
    assert any(name.startswith(f"sm90_gemm_bf16{EVIL}") for name in kernels)
    assert any(row.name.startswith(f"evil::{EVIL}") for row in whole.ops)
    assert any(EVIL in (row.location or "") for row in whole.kernels)
    modules = [row.name for row in whole.flop.by_module]
    assert LONG[:100] in modules[1] and modules[0].startswith(EVIL[:100])
    assert "\x1b" in whole.trace.path and "<script>" in whole.trace.path and "\n" in whole.trace.path
    assert mfu_profiler.analyze(hostile_trace(tmp_path, device=H100)).mfu == pytest.approx(0.323, abs=0.001)


def test_the_terminal_shows_escapes_within_its_width(trace: Path, capsys: Captured) -> None:
    out = printed(capsys, trace)
    assert max(cell_len(line) for line in out.splitlines()) <= 80
    unwrapped = "".join(out.split())
    for shown in ("\\x1b[31mred\\x1b]0;owned\\x07\\x9b2J\\r\\n", "\\u202egnp.exe", "[boldred]markup"):
        assert shown in unwrapped


def test_markdown_holds_no_html_no_link_and_no_heading_of_the_trace(trace: Path, capsys: Captured) -> None:
    text = printed(capsys, trace, "--markdown", "-")
    blocks = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    spans = [token for block in blocks for token in block.children or []]
    assert {token.content for token in spans if token.type == "html_inline"} <= TAGS
    active = {"html_block", "link_open", "image", "fence", "hr"}
    assert not [token for token in [*blocks, *spans] if token.type in active]
    headings = [after.content for block, after in pairwise(blocks) if block.type == "heading_open"]
    assert len(headings) == 5 and "heading" not in headings
    assert "&lt;script&gt;alert(1)" in text


def test_json_is_ascii_where_it_matters_and_gives_the_names_back(trace: Path, capsys: Captured) -> None:
    """A lone surrogate, which UTF-8 cannot hold, comes back as the letters of its escape."""
    plain = json.loads(printed(capsys, trace, "--json", "-"))
    whole = mfu_profiler.analyze(trace)
    assert [row["name"].split("\\ud800")[0] for row in plain["kernels"]] == [
        row.name.split("\ud800")[0] for row in whole.kernels
    ]
    assert any(EVIL in row["name"] for row in plain["kernels"])
    assert plain["trace"]["path"] == str(trace)


def test_junit_and_reasons_hold_one_line_of_text_each(trace: Path, tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "gate.xml"
    limits = ["--fail-under-mfu", "90%", "--fail-over-step-time", "1us", "--fail-on", "other-kernels:0.1%"]
    assert main(["report", str(trace), *limits, "--junit", str(file)]) == 1
    lines = capsys.readouterr().err.splitlines()
    root = ElementTree.parse(file).getroot()
    assert {element.tag for element in root.iter()} == {"testsuites", "testsuite", "testcase", "failure"}
    messages = [failure.get("message") for failure in root.iter("failure")]
    assert [f"failed: {message}" for message in messages] == lines and len(lines) == 3
    assert all(line.isprintable() for line in lines)
    text = file.read_text()
    assert "<script" not in text and all(line.isprintable() for line in text.split("\n"))
    assert ("&lt;script&gt;" in text) is ("MFU is unknown" in lines[0])


def test_a_saved_report_of_it_is_as_harmless(trace: Path, tmp_path: Path, capsys: Captured) -> None:
    saved = tmp_path / "saved.json"
    saved.write_text(printed(capsys, trace, "--json", "-"))
    out = printed(capsys, saved)
    assert max(cell_len(line) for line in out.splitlines()) <= 80
    assert "<script" not in printed(capsys, saved, "--markdown", "-")


@pytest.mark.parametrize("words", [["--peak-tflops", "-1"], ["--device", EVIL], ["--max-bytes", "10"]])
def test_errors_that_quote_the_trace_or_its_path_are_inert(
    words: list[str], tmp_path: Path, capsys: Captured
) -> None:
    trace = hostile_trace(tmp_path)
    status = main(["report", str(trace), *words])
    out, err = capsys.readouterr()
    assert status in (0, 2) and all(line.isprintable() for line in (out + err).split("\n"))
