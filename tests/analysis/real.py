"""The real traces of ``shared/traces``, read and analysed once per test process."""

from __future__ import annotations

import csv
from functools import cache
from typing import Any

import pytest

from mfu_profiler.analysis.build import timeline_report
from mfu_profiler.analysis.options import Options
from mfu_profiler.analysis.report import Report
from mfu_profiler.flops import has_formula
from mfu_profiler.trace.reader import read_trace
from mfu_profiler.trace.timeline import Timeline

from ..conftest import SHARED, trace_paths

TRACES = SHARED / "traces"
NAMES = [path.relative_to(TRACES).as_posix().removesuffix(".json.gz") for path in trace_paths()]


@cache
def real_report(name: str, **options: Any) -> Report:
    """The report of the one device in a trace, as ``analyze`` gives it; the trace is read only once."""
    return timeline_report(real_timeline(name), Options(**options))


@cache
def real_timeline(name: str) -> Timeline:
    """The one timeline in a trace."""
    (found,) = read_trace(TRACES / f"{name}.json.gz", keeps_concrete=has_formula)
    return found


def oracle(file: str) -> list[Any]:
    """Rows of an oracle as parameters, named by their first two cells; one skipped where it is absent."""
    path = TRACES / "oracles" / file
    if not path.is_file():
        return [pytest.param({}, marks=pytest.mark.skip("the reference material is absent"))]
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [pytest.param(row, id="-".join(list(row.values())[:2])[:80]) for row in rows]


real_traces = pytest.mark.parametrize(
    "name", NAMES or [pytest.param("", marks=pytest.mark.skip("the reference material is absent"))]
)
