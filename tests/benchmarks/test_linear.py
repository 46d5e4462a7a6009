"""Cost grows linearly with the number of events."""

from __future__ import annotations

from statistics import mean

import pytest

from tests.benchmarks.conftest import Figures, LongTrace
from tests.benchmarks.measure import costs, report_command

GROWTH = 4.0
WITHIN = 0.20
TURNS = (1, 4, 1, 16, 1, 4, 1)
ROUNDS = 10


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("name", "copies"),
    [
        ("hta_ns_resolution_v100", 1),  # 69,000 events
        ("kineto_resnet50_workers0_v100", 1),  # 76,000
        ("modded_nanogpt_8xh100/rank0", 3),  # 82,000
    ],
)
def test_four_times_the_events_take_four_times_as_long(
    long_trace: LongTrace, figures: Figures, name: str, copies: int
) -> None:
    """(t16 - t4) / (t4 - t1) is 4: start-up falls out; t log t would give 4.4, t squared 16.

    The machine's speed changes from one second to the next by more than the difference of two short runs, so
    all take turns, the short ones more often, and the mean of the faster half counts. (The fastest run alone
    makes the ratio too large: half a second of full speed is found more often than three.) The ratio of CPU
    times is printed as well: where it is 4 and that of wall times is not, the machine was not quiet.
    """
    commands = {factor: report_command(long_trace(name, copies * factor)) for factor in (1, 4, 16)}
    found = costs([(str(factor), commands[factor]) for factor in TURNS] * ROUNDS)
    wall = _added(figures, name, "wall", *(_fast([cost.wall_s for cost in runs]) for runs in found.values()))
    _added(figures, name, "CPU", *(_fast([cost.cpu_s for cost in runs]) for runs in found.values()))
    assert wall == pytest.approx(GROWTH, rel=WITHIN)


def _fast(times_s: list[float]) -> float:
    """Mean of the faster half."""
    return mean(sorted(times_s)[: len(times_s) // 2])


def _added(figures: Figures, name: str, kind: str, once: float, four: float, sixteen: float) -> float:
    """The ratio, once it is in the table."""
    ratio = (sixteen - four) / (four - once)
    times = f"{sixteen - four:.2f} s", f"{four - once:.2f} s"
    limit = f"{GROWTH:g} within {WITHIN:.0%}" if kind == "wall" else ""
    figures.add(f"(t16 - t4) / (t4 - t1), {kind}", name, *times, f"{ratio:.2f}", limit)
    return ratio
