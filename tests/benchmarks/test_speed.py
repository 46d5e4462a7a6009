"""A whole report against a bare parse of the same file, and against HolisticTraceAnalysis."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

from tests.benchmarks.conftest import Figures, LongTrace
from tests.benchmarks.measure import Cost, medians, report_command

TRACES = (
    "hta_control_a100_nccl",
    "hta_ns_resolution_v100",
    "kineto_resnet50_workers0_v100",
    "modded_nanogpt_8xh100/rank0",
)
"""One of each format: shapes and stacks, epoch µs with ns fractions, 2021, torch.compile."""
MOST_OF_SIMDJSON = 4.0
LEAST_OF_HTA = 10.0
HTA_VERSION = "0.5.0"

_SIMDJSON = "import sys, simdjson; simdjson.Parser().load(sys.argv[1])"
# HTA reads .json and .json.gz; told the rank of each file, it does not look for distributedInfo in it.
_HTA = """
import sys
from hta.trace_analysis import TraceAnalysis
TraceAnalysis(trace_files={0: sys.argv[1]}, trace_dir="/").get_temporal_breakdown(visualize=False)
"""


def _required(package: str, wanted: str | None = None) -> None:
    """Skip without the yardstick, or with another version of it than the claim names."""
    try:
        found = version(package)
    except PackageNotFoundError:
        found = "absent"
    if found == "absent" or wanted not in (None, found):
        needed = f"{package}=={wanted}" if wanted else package
        pytest.skip(f'needs {needed} (it is {found}):  pip install "mfu-profiler[benchmark]"')


def _added(
    figures: Figures, what: str, name: str, ours: Cost, yardstick: Cost, ratio: float, limit: str
) -> None:
    seconds = [f"{cost.wall_s:.2f} s" for cost in (ours, yardstick)]
    figures.add(what, name, *seconds, f"{ratio:.2f}", limit)


@pytest.mark.benchmark
@pytest.mark.parametrize("name", TRACES)
def test_a_report_takes_at_most_four_bare_parses_by_simdjson(
    long_trace: LongTrace, figures: Figures, name: str
) -> None:
    _required("pysimdjson")
    trace = long_trace(name)
    parse = ("simdjson", [sys.executable, "-c", _SIMDJSON, str(trace)])
    cost = medians([("report", report_command(trace)), parse] * 5)
    ratio = cost["report"].wall_s / cost["simdjson"].wall_s
    limit = f"at most {MOST_OF_SIMDJSON:g}"
    _added(figures, "of simdjson's bare parse", name, cost["report"], cost["simdjson"], ratio, limit)
    assert ratio <= MOST_OF_SIMDJSON


@pytest.mark.benchmark
@pytest.mark.parametrize("name", TRACES)
def test_a_report_takes_at_most_a_tenth_of_holistic_trace_analysis(
    long_trace: LongTrace, figures: Figures, name: str
) -> None:
    _required("HolisticTraceAnalysis", HTA_VERSION)
    trace = long_trace(name)
    report = ("report", report_command(trace))
    hta = ("hta", [sys.executable, "-c", _HTA, str(trace)])
    cost = medians([report, hta, report, report])
    ratio = cost["hta"].wall_s / cost["report"].wall_s
    limit = f"at least {LEAST_OF_HTA:g}"
    _added(figures, "times faster than HTA", name, cost["report"], cost["hta"], ratio, limit)
    assert ratio >= LEAST_OF_HTA
