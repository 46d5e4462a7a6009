"""Profiled breakdowns in terms of unprofiled steps: rows sum to 1 whatever the two step times are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mfu_profiler.analysis.clocks import with_clocks
from mfu_profiler.analysis.compute_split import ComputeSplit
from mfu_profiler.analysis.report import PARTS, HostIdle, Partition
from mfu_profiler.analysis.unprofiled import Unprofiled, host_idle_of
from mfu_profiler.analysis.waterfall import waterfall

SHARES = st.lists(st.floats(0, 1), min_size=len(PARTS), max_size=len(PARTS)).filter(lambda v: sum(v) > 0.01)
SIGNED = st.floats(-2, 2)
SPLITS = st.builds(ComputeSplit, *[SIGNED] * 6)
STEPS = st.builds(
    lambda unprofiled_ns, *seconds: Unprofiled(np.array([unprofiled_ns], np.int64), *seconds),
    st.integers(10_000, 10**9),
    st.floats(1e-5, 1.0),
    st.just(0.0) | st.floats(0.0, 1.0),
)


def partition(shares: list[float]) -> Partition:
    return Partition(*(share / sum(shares) for share in shares))


@given(SHARES, st.none() | SPLITS, STEPS)
def test_rows_sum_to_1_and_time_to_the_unprofiled_step(
    shares: list[float], split: ComputeSplit | None, steps: Unprofiled
) -> None:
    rows = waterfall(partition(shares), split, steps.step_s, {}, steps)
    size = max(1.0, steps.stretch, steps.excess)
    assert sum(row.fraction for row in rows[1:]) == pytest.approx(1, abs=1e-9 * size)
    assert sum(row.time_s or 0 for row in rows[1:]) == pytest.approx(steps.step_s, rel=1e-9 * size)
    assert len({row.cause for row in rows}) == len(rows)
    assert rows[-1].cause == ("profiler" if split is None else "mfu")


@given(SHARES, STEPS)
def test_only_host_bound_time_and_the_profilers_row_absorb_the_difference(
    shares: list[float], steps: Unprofiled
) -> None:
    """Every other row takes the same seconds as in the profiled step, and data what only the others wait."""
    assert steps.profiled_s is not None
    plain = {row.cause: row.time_s for row in waterfall(partition(shares), None, steps.profiled_s, {})}
    found = {row.cause: row for row in waterfall(partition(shares), None, steps.step_s, {}, steps)}
    for cause, time_s in plain.items():
        if cause not in ("peak", "idle_host"):
            more_s = steps.more_waiting_s if cause == "idle_data_loading" else 0.0
            assert found[cause].time_s == pytest.approx((time_s or 0.0) + more_s, rel=1e-9)
    host_s, profiler = found["idle_host"].time_s, found["profiler"].fraction
    assert host_s is not None and host_s + 1e-12 >= 0
    assert host_s <= (plain["idle_host"] or 0) + 1e-12
    if profiler < -1e-9:
        assert host_s == pytest.approx(0, abs=1e-9)
    if profiler > 1e-9:
        assert host_s == pytest.approx(plain["idle_host"], rel=1e-9)


@given(st.lists(st.floats(0.001, 0.2), min_size=1, max_size=4), STEPS)
def test_host_bound_time_by_phase_shrinks_in_proportion(fractions: list[float], steps: Unprofiled) -> None:
    rows = tuple(HostIdle(str(index), "dispatch", value) for index, value in enumerate(fractions))
    found = host_idle_of(steps, rows)
    whole = sum(fractions)
    assert sum(row.fraction for row in found) == pytest.approx(
        whole * steps.stretch - steps.host_excess(whole), abs=1e-9 * max(1, steps.stretch)
    )
    if found:
        first = found[0].fraction / fractions[0]
        assert all(
            row.fraction / before == pytest.approx(first)
            for row, before in zip(found, fractions, strict=True)
        )


def test_the_median_of_the_steps_without_a_pause_counts() -> None:
    steps = Unprofiled(np.array([100, 300, 200, 10_000], np.int64), 500e-9)
    assert steps.step_s == pytest.approx(200e-9) and steps.stretch == pytest.approx(2.5)


@given(SPLITS, st.floats(1e8, 3e9), st.floats(1e8, 3e9))
def test_clocks_only_split_matmul_inefficiency(split: ComputeSplit, sheet_hz: float, run_hz: float) -> None:
    assume(split.useful >= 0)
    found = with_clocks(split, sheet_hz, run_hz)
    assert found.busy == pytest.approx(split.busy, abs=1e-9) and found.useful == split.useful
    if split.matmul_inefficiency >= 0:
        assert found.matmul_inefficiency >= 0
    assert found.clocks * (sheet_hz - run_hz) >= 0


def test_stretches_without_ops_are_never_the_profilers() -> None:
    """Of 2 s 1.2 are host-bound, half of that a sleep; unprofiled steps take 1 s, and the sleep as long."""
    steps = Unprofiled(np.array([10**9], np.int64), profiled_s=2.0, still_s=0.6)
    assert steps.host_excess(0.6) == pytest.approx(0.6)
    rows = (HostIdle("outside the model", "no ops", 0.3), HostIdle("forward", "dispatch", 0.3))
    found = {row.reason: row.fraction for row in host_idle_of(steps, rows)}
    assert found == {"no ops": pytest.approx(0.6)}
    assert steps.rows([("idle_host", 0.6), ("compute", 0.4)])[-1] == ("profiler", pytest.approx(-0.4))
