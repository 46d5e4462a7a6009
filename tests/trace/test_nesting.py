"""Nesting is what a plain search over all pairs finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfu_profiler.trace.nesting import Nesting, sorted_by_nesting
from mfu_profiler.trace.timeline import Intervals

Row = tuple[int, int, int]
"""(thread, start, end)."""


def intervals(rows: list[Row]) -> Intervals:
    thread, start, end = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    order = sorted_by_nesting(thread, start, end)
    return Intervals(order.astype(np.int32), start[order], end[order], thread[order].astype(np.int32))


def parent_of(table: Intervals, row: int) -> int | None:
    """The nearest earlier row of the thread that ends no earlier: it encloses this one."""
    for other in range(row - 1, -1, -1):
        if table.thread[other] == table.thread[row] and table.end_ns[other] >= table.end_ns[row]:
            return other
    return None


@st.composite
def nested_rows(draw: st.DrawFn, depth: int = 4) -> list[Row]:
    """Intervals that nest properly, on several threads; touching and equal ones included."""

    def inside(thread: int, low: int, high: int, level: int) -> list[Row]:
        cuts = sorted(draw(st.lists(st.integers(low, high), max_size=6)))
        found: list[Row] = []
        for start, end in zip(cuts[::2], cuts[1::2], strict=False):
            found.append((thread, start, end))
            found += inside(thread, start, end, level - 1) if level else []
        return found

    found = [row for thread in (0, 2, 5) for row in inside(thread, 0, 40, depth)]
    return found or [(0, 0, 1)]


any_rows = st.lists(
    st.builds(lambda t, s, d: (t, s, s + d), st.integers(0, 2), st.integers(0, 30), st.integers(0, 20)),
    min_size=1,
    max_size=25,
)


@given(any_rows)
@settings(max_examples=300, deadline=None)
def test_a_parent_is_the_nearest_earlier_interval_that_ends_no_earlier(rows: list[Row]) -> None:
    table = intervals(rows)
    nesting = Nesting.of(table)
    found = [int(p) if has else None for p, has in zip(nesting.parent, nesting.has_parent, strict=True)]
    assert found == [parent_of(table, row) for row in range(len(table))]


@given(any_rows, st.lists(st.tuples(st.integers(-1, 7), st.integers(-2, 55)), max_size=30))
@settings(max_examples=300, deadline=None)
def test_the_innermost_interval_is_the_last_started_that_holds_the_time(
    rows: list[Row], asked: list[tuple[int, int]]
) -> None:
    table = intervals(rows)
    thread = np.array([thread for thread, _ in asked], np.int32)
    time = np.array([time for _, time in asked], np.int64)
    found, has = Nesting.of(table).innermost(thread, time)
    for place, (one, at) in enumerate(asked):
        holding = [
            row
            for row in range(len(table))
            if table.thread[row] == one and table.start_ns[row] <= at <= table.end_ns[row]
        ]
        assert (int(found[place]) if has[place] else None) == (holding[-1] if holding else None)


@given(nested_rows(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_rows_outside_the_mask_are_passed_over(rows: list[Row], random: st.DataObject) -> None:
    table = intervals(rows)
    nesting = Nesting.of(table)
    among = np.array([random.random() < 0.5 for _ in range(len(table))])  # type: ignore[attr-defined]
    everyone = np.arange(len(table))
    found, has = nesting.parent_among(everyone, among)
    middle = (table.start_ns + table.end_ns) // 2
    inner, has_inner = nesting.innermost(table.thread, middle, among)
    for row in range(len(table)):
        ancestor = parent_of(table, row)
        while ancestor is not None and not among[ancestor]:
            ancestor = parent_of(table, ancestor)
        assert (int(found[row]) if has[row] else None) == ancestor
        holding = [
            other
            for other in range(len(table))
            if among[other]
            and table.thread[other] == table.thread[row]
            and table.start_ns[other] <= middle[row] <= table.end_ns[other]
        ]
        if has_inner[row]:
            chosen = int(inner[row])
            assert chosen in holding
            # Where intervals touch, the time belongs to both; nothing chosen encloses another candidate.
            assert all(not _is_strictly_inside(table, other, chosen) for other in holding)
        else:
            assert not [other for other in holding if _is_on_the_way(table, other, int(middle[row]))]


def _is_strictly_inside(table: Intervals, inner: int, outer: int) -> bool:
    starts, ends = table.start_ns, table.end_ns
    return bool(
        starts[outer] <= starts[inner]
        and ends[inner] <= ends[outer]
        and ends[inner] - starts[inner] < ends[outer] - starts[outer]
        and inner < outer
    )


def _is_on_the_way(table: Intervals, row: int, time: int) -> bool:
    return bool(table.start_ns[row] < time < table.end_ns[row])


def test_an_empty_table_encloses_nothing() -> None:
    empty = np.zeros(0, np.int64)
    nesting = Nesting.of(Intervals(empty.astype(np.int32), empty, empty, empty.astype(np.int32)))
    _, has = nesting.innermost(np.array([0], np.int32), np.array([5], np.int64))
    assert not has.any()


def test_nothing_asked_is_nothing_found() -> None:
    _, has = Nesting.of(intervals([(0, 0, 1)])).innermost(np.zeros(0, np.int32), np.zeros(0, np.int64))
    assert len(has) == 0


@pytest.mark.parametrize("shape", ["siblings", "stairs", "deep"])
def test_a_hundred_thousand_intervals_nest_in_a_moment(shape: str) -> None:
    count = 100_000 if shape != "deep" else 3_000
    start = np.arange(count) * 10
    length = {"siblings": 5, "stairs": 15, "deep": 10**9 - 20 * np.arange(count)}[shape]
    table = Intervals(start.astype(np.int32), start, start + length, np.zeros(count, np.int32))
    nesting = Nesting.of(table)
    assert nesting.has_parent.sum() == (count - 1 if shape == "deep" else 0)
