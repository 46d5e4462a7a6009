"""Peak memory of a whole report."""

from __future__ import annotations

import pytest

from tests.benchmarks.conftest import Figures, LongTrace
from tests.benchmarks.measure import medians, report_command
from tests.benchmarks.test_speed import TRACES

MOST_OF_FILE = 1.8


@pytest.mark.benchmark
@pytest.mark.parametrize("name", TRACES)
def test_a_report_needs_at_most_1_8_times_the_memory_of_the_file(
    long_trace: LongTrace, figures: Figures, name: str
) -> None:
    trace = long_trace(name)
    size_byte = trace.stat().st_size
    peak_byte = medians([("report", report_command(trace))] * 3)["report"].peak_byte
    ratio = peak_byte / size_byte
    sizes = [f"{size / 1e6:.0f} MB" for size in (peak_byte, size_byte)]
    figures.add("peak memory of the file", name, *sizes, f"{ratio:.2f}", f"at most {MOST_OF_FILE:g}")
    assert ratio <= MOST_OF_FILE
