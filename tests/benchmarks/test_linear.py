"""Cost grows linearly with the number of events."""

from __future__ import annotations

import pytest

from tests.benchmarks.conftest import Figures, LongTrace
from tests.benchmarks.measure import costs, report_command

GROWTH = 4.0
WITHIN = 0.20
ROUNDS = 7


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
    """(t16 - t4) / (t4 - t1) is 4: start-up falls out, and t log t would give 4.5, t squared 16.

    The fastest of several rounds, since nothing but the machine's other work makes a run slower.
    """
    commands = {factor: report_command(long_trace(name, copies * factor)) for factor in (1, 4, 16)}
    found = costs([(str(factor), command) for factor, command in commands.items()] * ROUNDS)
    once, four, sixteen = (min(cost.wall_s for cost in found[str(factor)]) for factor in commands)
    ratio = (sixteen - four) / (four - once)
    times = f"{sixteen - four:.2f} s", f"{four - once:.2f} s"
    limit = f"{GROWTH:g} within {WITHIN:.0%}"
    figures.add("(t16 - t4) / (t4 - t1)", name, *times, f"{ratio:.2f}", limit)
    assert ratio == pytest.approx(GROWTH, rel=WITHIN)
