"""Which step is for what: the plan of a run, from its settings alone."""

from __future__ import annotations

import pytest

from mfu_profiler.capture.phases import Phase, Plan
from mfu_profiler.capture.settings import Settings

LETTERS = {
    Phase.UNTOUCHED: "u",
    Phase.COUNTED: "c",
    Phase.WARMUP: "w",
    Phase.TIMED: "t",
    Phase.PREPARED: "p",
    Phase.PROFILED: "P",
    Phase.REST: ".",
}


def picture(plan: Plan, steps: int) -> str:
    """One letter a step."""
    return "".join(LETTERS[plan.phase(step)] for step in range(1, steps + 1))


def plan_of(warmup: int, timed: int, active: int) -> Plan:
    return Plan.of(Settings(warmup=warmup, timed=timed, active=active))


def test_the_defaults_report_after_28_steps() -> None:
    assert picture(Plan.of(Settings()), 31) == "uc" + 5 * "w" + 15 * "t" + "p" + 5 * "P" + "..."


@pytest.mark.parametrize(
    ("warmup", "timed", "active", "expected"),
    [(1, 2, 2, "ucwttpPP.."), (0, 1, 1, "uctpP....."), (2, 1, 3, "ucwwtpPPP.")],
)
def test_a_plan_follows_its_settings(warmup: int, timed: int, active: int, expected: str) -> None:
    assert picture(plan_of(warmup, timed, active), 10) == expected


def test_a_postponed_window_has_more_timed_steps_before_it() -> None:
    assert picture(plan_of(1, 2, 2).postponed(3), 13) == "ucwttttt" + "pPP.."


def test_a_window_may_be_postponed_again_and_again() -> None:
    plan = plan_of(0, 1, 1)
    for _ in range(100):
        plan = plan.postponed(7)
    assert [plan.phase(step) for step in (703, 704, 705, 706)] == [
        Phase.TIMED,
        Phase.PREPARED,
        Phase.PROFILED,
        Phase.REST,
    ]


@pytest.mark.parametrize(
    ("step", "expected"),
    [(6, "ucwtt....."), (7, "ucwttp...."), (8, "ucwttpP..."), (9, "ucwttpPP.."), (99, "ucwttpPP..")],
)
def test_nothing_is_profiled_from_a_cut_on(step: int, expected: str) -> None:
    assert picture(plan_of(1, 2, 2).cut(step), 10) == expected


def test_no_number_of_steps_leaves_the_last_phase() -> None:
    assert plan_of(0, 1, 1).phase(10**9) is Phase.REST
