"""The page of a comparison in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.analysis import analyze_all
from mfu_profiler.analysis.comparing.compare import comparison
from mfu_profiler.analysis.gate import GateResult
from mfu_profiler.render.charts.difference import difference_figure
from mfu_profiler.render.html.compare import render_comparison_html

from ..chromium import opened_file
from ..hostile import EVIL, LONG, hostile_trace
from .test_html_pages import assert_it_came_to_nothing, assert_it_fits, assert_it_is_accessible, values

PAIRS = [
    ("kineto_resnet50_workers0_v100", "kineto_resnet50_workers4_v100"),
    ("tracelens_h100_bert", "tracelens_mi300x_bert"),
    ("tracelens_h100_bert", "tracelens_h100_bert"),
]


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_the_page_of_a_comparison_draws_its_bridge_and_fits(
    before: str, after: str, shared_dir: Path, browser: Any, tmp_path: Path
) -> None:
    runs = [(name, analyze_all(shared_dir / "traces" / f"{name}.json.gz")) for name in (before, after)]
    found = comparison(runs)
    file = tmp_path / "compare.html"
    file.write_text(render_comparison_html(found))
    figure = difference_figure(found.pairs[0])
    assert figure is not None
    with opened_file(browser, file) as page:
        page.page.locator("[data-chart] svg").wait_for()
        assert page.count("[data-chart] .mark-rect.role-mark path") == len(values(figure.spec, 0))
        assert_it_is_accessible(page)
        assert_it_fits(page)
        assert page.complaints == [] and page.requests == []


def test_a_comparison_of_hostile_runs_is_nothing_but_text_on_its_page(browser: Any, tmp_path: Path) -> None:
    one = analyze_all(hostile_trace(tmp_path / "a"))
    other = analyze_all(hostile_trace(tmp_path / "b", device="NVIDIA H100 80GB HBM3", is_live=False))
    file = tmp_path / "compare.html"
    file.write_text(
        render_comparison_html(comparison([(EVIL, one), (LONG, other)]), [GateResult(EVIL, False, EVIL)])
    )
    with opened_file(browser, file) as page:
        assert_it_came_to_nothing(page)
        page.page.locator("[data-chart] svg").first.wait_for()
        assert_it_is_accessible(page)
        assert_it_fits(page)
        assert page.complaints == [] and page.requests == []
