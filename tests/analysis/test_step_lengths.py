"""Pauses, and steps that are long by nature."""

from __future__ import annotations

from statistics import fmean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.analysis.step_lengths import is_mean, typical, without_pauses

LENGTHS = st.lists(st.integers(1, 10**9), min_size=1, max_size=50)


def test_a_rare_long_step_is_a_pause() -> None:
    steps = [100] * 20 + [10_000]
    assert without_pauses(steps) == [100] * 20
    assert typical(steps) == 100 and not is_mean(steps)


@pytest.mark.parametrize("workers", [2, 3, 4, 5])
def test_steps_that_alternate_are_all_steps(workers: int) -> None:
    """So many workers finish together: one step waits for all their batches, the others for none."""
    steps = ([10] * (workers - 1) + [200]) * 6
    assert without_pauses(steps) == steps
    assert typical(steps) == pytest.approx(fmean(steps))
    assert is_mean(steps) or median(steps) == fmean(steps)


def test_of_few_steps_one_may_be_a_pause() -> None:
    assert without_pauses([100, 300, 200, 10_000]) == [100, 300, 200]
    assert without_pauses([]) == []


def test_alike_steps_have_their_median() -> None:
    steps = [100, 101, 99, 103, 140]
    assert typical(steps) == 101 and not is_mean(steps)


@given(LENGTHS)
def test_the_typical_length_lies_between_the_shortest_and_the_longest(lengths: list[int]) -> None:
    kept = without_pauses(lengths)
    assert kept and min(kept) <= typical(lengths) <= max(kept) * (1 + 1e-12)
    assert median(lengths) <= 3 * max(kept)
