"""Trainings bound by one thing, simulated: the report names it first; of healthy ones it finds nothing."""

from __future__ import annotations

from itertools import combinations
from math import isclose

import pytest
from hypothesis import given, settings

from mfu_profiler.analysis.report import PARTS

from .simulator import REMOVALS, Step
from .simulator_programs import BATCH, BOUND_BY, healthy_step, ops, steps
from .simulator_runs import simulated
from .simulator_truth import HELD_BY

CLOSE = 0.03
SETTLED = 0.002
"""A steady period is known to twice 0.1 %, for each of two that are compared."""
LEAST_NS = 200_000
"""Of a step, and half of it without a cause: in shorter ones each single µs of the host counts."""


@pytest.mark.parametrize("name", BOUND_BY)
def test_what_binds_a_training_is_found_first(name: str) -> None:
    code, step = BOUND_BY[name]
    run = simulated(step)
    assert run.report.findings[0].code == code
    if code in HELD_BY:
        assert max(run.worths, key=run.worths.__getitem__) == code
        assert run.predicted[code] == pytest.approx(run.periods_ns[HELD_BY[code][1]], rel=CLOSE)


def test_of_a_training_bound_by_several_things_the_others_are_found_too() -> None:
    run = simulated(BOUND_BY["mixed"][1])
    worth_it = {code for code, worth in run.worths.items() if worth > 0.05}
    assert len(worth_it) > 1
    assert worth_it <= {finding.code for finding in run.report.findings}


@pytest.mark.parametrize("step", [ops(30, 400), (BATCH, *ops(12, 1_000, think_us=100))])
def test_of_matrix_products_alone_nothing_is_found(step: Step) -> None:
    assert simulated(step).report.findings == ()


@pytest.mark.parametrize("seed", range(30))
def test_of_a_healthy_training_nothing_is_found(seed: int) -> None:
    """It loads, copies and reduces, all behind matrix products."""
    run = simulated(healthy_step(seed))
    assert run.report.findings == ()
    assert run.report.ladder == ()
    assert run.report.mfu == pytest.approx(run.mfu, rel=CLOSE) and run.mfu > 0.55


@settings(max_examples=60, deadline=None, derandomize=True)
@given(steps())
def test_parts_sum_to_each_window_and_agree_with_what_happened(step: Step) -> None:
    run = simulated(step)
    for window in run.report.windows:
        assert sum(getattr(window, f"{name}_ns") for name in PARTS) == window.duration_ns
    for name in PARTS:
        assert getattr(run.report.partition, name) == pytest.approx(run.shares.get(name, 0.0), abs=0.005)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(steps())
def test_nothing_removed_is_the_step_and_more_removed_is_never_slower(step: Step) -> None:
    run = simulated(step)
    whole = run.what_ifs.step_ns()
    assert whole == pytest.approx((run.report.step_time_s or 0) * 1e9, rel=SETTLED)
    for one, other in combinations(REMOVALS, 2):
        both = run.what_ifs.step_ns((one, other))
        least = min(run.what_ifs.step_ns((one,)), run.what_ifs.step_ns((other,)))
        assert both <= least * (1 + SETTLED)
        assert least <= whole * (1 + SETTLED)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(steps())
def test_what_ifs_of_any_program_are_within_3_percent_of_the_truth(step: Step) -> None:
    run = simulated(step)
    off = {
        cause: run.what_ifs.step_ns((cause,)) / truth
        for cause, truth in run.periods_ns.items()
        if min(run.period_ns, 2 * truth) >= LEAST_NS
        and not isclose(run.what_ifs.step_ns((cause,)), truth, rel_tol=CLOSE)
    }
    assert off == {}
