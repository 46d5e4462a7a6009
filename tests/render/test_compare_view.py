"""A comparison as text of every kind: it fits, and no name in it comes alive."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt
from rich.cells import cell_len
from rich.text import Text

from mfu_profiler.analysis.comparing.compare import comparison
from mfu_profiler.analysis.comparing.comparison import Comparison
from mfu_profiler.analysis.comparing.gate import regression_results
from mfu_profiler.analysis.report import Report
from mfu_profiler.render.comparing.markdown import render_comparison_markdown
from mfu_profiler.render.comparing.page import compare_document
from mfu_profiler.render.comparing.view import render_comparison, render_comparison_json
from tests.analysis.compared import found_of, pair, rows, run
from tests.render.sample import HOSTILE_NAME, LONG_NAME, SAMPLES, hostile, resnet

EVERY = sorted(set(SAMPLES) - {"none"})


def every_comparison(reports: Sequence[Report]) -> list[Comparison]:
    """A sample against another run both ways, against itself, and in a table."""
    plain = [replace(resnet(), trace=one.trace, device=replace(resnet().device, index=one.device.index))
             for one in reports]  # fmt: skip
    orders = ((reports, plain), (plain, reports), (reports, reports), (reports, plain, reports))
    return [comparison([(HOSTILE_NAME, run) for run in runs]) for runs in orders]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("sample", EVERY)
def test_every_line_fits_and_is_inert(sample: str, width: int) -> None:
    for found in every_comparison(SAMPLES[sample]):
        results = regression_results(found, 0.05)
        text = render_comparison(found, results, color=False, width=width)
        assert max(map(cell_len, text.splitlines())) <= width
        markdown = render_comparison_markdown(found, results)
        for one in (text, markdown):
            odd = {c for c in one if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}}
            assert odd == {"\n"} and one.endswith("\n") and not one.endswith("\n\n")
        plain = render_comparison_json(found)
        assert plain.isascii() and json.loads(plain)["schema_version"] == 1


@pytest.mark.parametrize("name", [HOSTILE_NAME, LONG_NAME])
def test_a_hostile_name_is_no_markdown(name: str) -> None:
    evil = hostile()
    evil = replace(
        evil,
        kernels=(replace(evil.kernels[0], name=name), *evil.kernels[1:]),
        ops=(replace(evil.ops[0], name=name, shapes=name),),
    )
    found = comparison([(name, [resnet()]), (name, [evil])])
    text = render_comparison_markdown(found, regression_results(found, 0.05))
    assert "<script" not in text
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    blocks = parser.parse(text)
    spans = [token for block in blocks for token in block.children or []]
    assert {t.content for t in spans if t.type == "html_inline"} <= {"<br>", "<code>", "</code>"}
    assert not [t for t in [*blocks, *spans] if t.type in {"html_block", "link_open", "image", "fence", "hr"}]
    assert not [t for t in spans if t.type == "text" and "@everyone" in t.content]
    headings = [block.tag for block in blocks if block.type == "heading_open"]
    assert headings == ["h2", "h3", "h3", "h3", "h3", "h3", "h3", "h3"]
    assert len([block for block in blocks if block.type == "th_open"]) == 7 + 7 + 6
    rows_found = [block for block in blocks if block.type == "tr_open"]
    [page] = compare_document(found, (), 10).pages
    assert len(rows_found) == 3 + len(page.causes) + len(page.ops.lines) + len(page.kernels.lines)


def test_colour_changes_no_word() -> None:
    found = found_of(resnet(), rows(0.12, idle_host=0.3))
    coloured = render_comparison(found, color=True)
    words = [line.rstrip() for line in Text.from_ansi(coloured).plain.splitlines()]
    assert "\x1b[1m" in coloured and words == render_comparison(found, color=False).splitlines()


def test_terminal_and_markdown_say_the_same() -> None:
    found = found_of(resnet(), rows(0.12, idle_host=0.3))
    page = compare_document(found, (), 10).pages[0]
    texts = [" ".join(text.split()) for text in (
        render_comparison(found, color=False, width=300), render_comparison_markdown(found)
    )]  # fmt: skip
    said = [page.sentence, page.causes_note, *(line.change for line in page.causes)]
    assert len(said) > 4 and all(one in text for one in said for text in texts)


def test_json_is_the_dataclass() -> None:
    content = json.loads(render_comparison_json(found_of(resnet(), run(0.12))))
    assert content["names"] == ["0.json", "1.json"] and len(content["runs"]) == 2
    [one] = content["pairs"]
    assert one["change_s"] == pytest.approx(pair(resnet(), run(0.12)).change_s)
    assert one["verdict"] == "no spread" and one["noise_s"] is None and not one["is_equal"]
    assert {"causes", "ops", "kernels", "settings", "findings"} <= set(one)


def test_numbers_that_json_has_not_are_null() -> None:
    """A report that somebody changed by hand may overflow."""
    huge = [
        replace(resnet(), step_time_s=step_s, waterfall=(), partition=None) for step_s in (1.7e308, -1.7e308)
    ]
    [one] = json.loads(render_comparison_json(found_of(*huge)))["pairs"]
    assert one["change_s"] is None and one["change_fraction"] is None
