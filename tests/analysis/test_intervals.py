"""The interval algebra against sets of nanoseconds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.analysis.intervals import Spans

LAST = 30
PAIRS = st.lists(st.tuples(st.integers(0, LAST), st.integers(0, LAST)), max_size=6)
TIMES = st.lists(st.integers(-2, LAST + 2), min_size=1, max_size=8)


def spans(pairs: list[tuple[int, int]]) -> Spans:
    columns = np.array(pairs, np.int64).reshape(-1, 2)
    return Spans.of(columns[:, 0], columns[:, 1])


def instants(pairs: list[tuple[int, int]]) -> set[int]:
    """What the pairs mean: the nanoseconds that they hold."""
    return {time for start, end in pairs for time in range(start, end)}


def held(found: Spans) -> set[int]:
    """The same of a result, which must be sorted, without empty and without touching intervals."""
    starts, ends = found.start_ns.tolist(), found.end_ns.tolist()
    assert all(start < end for start, end in zip(starts, ends, strict=True))
    assert all(end < start for end, start in zip(ends[:-1], starts[1:], strict=True))
    return instants(list(zip(starts, ends, strict=True)))


@given(PAIRS)
def test_the_union_of_any_intervals_holds_their_instants_once(pairs: list[tuple[int, int]]) -> None:
    found = spans(pairs)
    assert held(found) == instants(pairs)
    assert found.total_ns == len(instants(pairs))
    assert len(found) == len(found.start_ns)


@given(PAIRS, PAIRS)
def test_and_or_and_minus_are_those_of_sets(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> None:
    assert held(spans(a) & spans(b)) == instants(a) & instants(b)
    assert held(spans(a) | spans(b)) == instants(a) | instants(b)
    assert held(spans(a) - spans(b)) == instants(a) - instants(b)


@given(PAIRS, TIMES)
def test_before_counts_the_instants_before_a_time(pairs: list[tuple[int, int]], times: list[int]) -> None:
    found = spans(pairs).before(np.array(times, np.int64))
    assert found.tolist() == [sum(time < limit for time in instants(pairs)) for limit in times]


@given(PAIRS, TIMES)
def test_holds_asks_for_membership(pairs: list[tuple[int, int]], times: list[int]) -> None:
    found = spans(pairs).holds(np.array(times, np.int64))
    assert found.tolist() == [time in instants(pairs) for time in times]


@given(PAIRS, PAIRS)
def test_within_counts_the_instants_of_each_window(
    pairs: list[tuple[int, int]], windows: list[tuple[int, int]]
) -> None:
    windows = [(min(pair), max(pair)) for pair in windows]
    columns = np.array(windows, np.int64).reshape(-1, 2)
    found = spans(pairs).within(columns[:, 0], columns[:, 1])
    assert found.tolist() == [len(instants(pairs) & instants([window])) for window in windows]


def test_touching_intervals_are_one_and_empty_ones_are_none() -> None:
    assert spans([(0, 2), (2, 5), (7, 7), (9, 8)]).start_ns.tolist() == [0]
    assert len(Spans.nothing()) == 0 and Spans.nothing().total_ns == 0
    assert len(Spans.one(3, 3)) == 0


def test_epoch_nanoseconds_are_exact() -> None:
    """A float64 holds 1.7e18 ns to 256 ns only."""
    start = 1_712_195_495_519_689_053
    assert Spans.one(start, start + 1).within(np.array([start]), np.array([start + 1])).tolist() == [1]
    assert (Spans.one(start, start + 3) - Spans.one(start + 1, start + 2)).total_ns == 2
