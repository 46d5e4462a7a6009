"""What the HTML page adds to a report of a million events: time, and how large it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.conftest import Figures, LongTrace
from tests.benchmarks.measure import medians, report_command
from tests.benchmarks.test_speed import TRACES

MOST_ADDED_S = 1.0
LARGEST_BYTE = 2_000_000


@pytest.mark.benchmark
@pytest.mark.parametrize("name", TRACES)
def test_a_page_adds_at_most_a_second_to_a_report_of_a_million_events(
    long_trace: LongTrace, figures: Figures, name: str, tmp_path: Path
) -> None:
    trace, page = long_trace(name), tmp_path / "report.html"
    plain = ("report", report_command(trace))
    with_page = ("html", [*report_command(trace), "--html", str(page), "--force"])
    cost = medians([plain, with_page] * 3)
    added_s = cost["html"].wall_s - cost["report"].wall_s
    seconds = [f"{cost[what].wall_s:.2f} s" for what in ("html", "report")]
    size = page.stat().st_size
    ratio = cost["html"].wall_s / cost["report"].wall_s
    figures.add(
        "a page, over the report alone", name, *seconds, f"{ratio:.2f}", f"at most +{MOST_ADDED_S:g} s"
    )
    assert added_s <= MOST_ADDED_S
    assert size < LARGEST_BYTE
