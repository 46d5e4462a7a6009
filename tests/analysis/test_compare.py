"""Runs beside each other: what the causes sum to, which rows of the tables belong together, what is equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.analysis.comparing.compare import comparison, run_label
from mfu_profiler.analysis.comparing.comparison import PairComparison
from mfu_profiler.analysis.report import Finding, OpRow, Report
from mfu_profiler.analysis.tables import MOST_ROWS
from mfu_profiler.errors import SeveralReportsError
from tests.render.sample import SAMPLES, cpu, kernel, ranks, resnet, unknown_device, waterfall

from .compared import pair, ranks_of, run
from .real import real_report

CAUSES = ("matmul_inefficiency", "other_kernels", "copy", "idle_data_loading", "idle_host", "profiler")


def with_rows(step_s: float, parts: Mapping[str, float]) -> Report:
    """A run whose waterfall has these fractions, and the rest as useful work."""
    return run(step_s, waterfall=waterfall(step_s, {cause: (part, "") for cause, part in parts.items()}))


def op(name: str, shapes: str, count: float, time_s: float) -> OpRow:
    return OpRow(name, shapes, count, time_s, 0.1, None, None, None, None)


FRACTIONS = st.dictionaries(
    st.sampled_from(CAUSES), st.floats(-1, 2, allow_nan=False).map(lambda one: round(one, 6))
)
SECONDS = st.floats(1e-7, 1e5, allow_nan=False)


@given(FRACTIONS, FRACTIONS, SECONDS, SECONDS)
def test_the_changes_of_all_causes_sum_to_that_of_the_step(
    parts_a: dict[str, float], parts_b: dict[str, float], step_a_s: float, step_b_s: float
) -> None:
    found = pair(with_rows(step_a_s, parts_a), with_rows(step_b_s, parts_b))
    rows = found.causes
    largest = max(step_a_s, step_b_s) * (1 + len(CAUSES) * 2)
    assert sum(row.change_s for row in rows) == pytest.approx(step_b_s - step_a_s, abs=1e-9 * largest)
    sizes = [abs(row.change_s) for row in rows]
    assert sizes == sorted(sizes, reverse=True)


@given(FRACTIONS, SECONDS, st.floats(-10, 10, allow_nan=False))
def test_they_also_sum_where_a_report_was_changed_by_hand(
    parts: dict[str, float], step_s: float, factor: float
) -> None:
    """Its rows no longer sum to its step: what is left is a row of its own."""
    changed = with_rows(step_s, parts)
    rows = [
        row if row.time_s is None else replace(row, time_s=row.time_s * factor) for row in changed.waterfall
    ]
    found = pair(with_rows(step_s, {}), replace(changed, waterfall=tuple(rows)))
    total = sum(row.change_s for row in found.causes)
    assert total == pytest.approx(0, abs=1e-8 * step_s * (1 + 20 * abs(factor)))
    if abs(factor - 1) > 1e-3:
        assert "rest" in {row.cause for row in found.causes}


def test_useful_work_is_a_row_and_nothing_is_left_without_a_cause() -> None:
    found = pair(with_rows(0.100, {"idle_host": 0.5}), with_rows(0.080, {"idle_host": 0.25}))
    assert [(row.cause, row.time_a_s, row.time_b_s) for row in found.causes] == [
        ("idle_host", pytest.approx(0.050), pytest.approx(0.020)),
        ("mfu", pytest.approx(0.050), pytest.approx(0.060)),
    ]
    assert found.causes[0].fraction_a == pytest.approx(0.5)
    assert found.causes[0].fraction_b == pytest.approx(0.25)


def test_compute_is_put_together_where_only_one_run_splits_it() -> None:
    """Without a peak the compute time stands whole; all else compares as ever."""
    whole = unknown_device()
    found = pair(resnet(), whole)
    rows = {row.cause: row for row in found.causes}
    assert "mfu" not in rows and "other_kernels" not in rows
    part = whole.partition
    assert part is not None and whole.step_time_s is not None
    assert rows["compute"].time_b_s == pytest.approx(part.compute * whole.step_time_s)
    assert rows["compute"].time_a_s == pytest.approx((1 - 0.012 - 0.326 - 0.003 - 0.093 - 0.005) * 0.1762)


def test_a_step_that_is_not_split_says_which_and_why() -> None:
    found = pair(resnet(), replace(cpu(), step_time_s=0.2))
    assert found.causes == ()
    assert (found.causes_unknown_because or "").startswith("the time of B's step is not split: device activ")


def test_kernels_appear_vanish_and_change() -> None:
    before = (kernel("a", "matmul", 2, 0.010), kernel("b", "matmul", 1, 0.004), kernel("c", "copy", 1, 0.001))
    after = (kernel("a", "matmul", 2, 0.013), kernel("d", "matmul", 1, 0.002), kernel("c", "copy", 1, 0.001))
    found = pair(run(0.1, kernels=before), run(0.1, kernels=after))
    assert [(row.name, row.fate, round(row.change_s, 6)) for row in found.kernels] == [
        ("b", "vanished", -0.004),
        ("a", "slower", 0.003),
        ("d", "appeared", 0.002),
    ]
    assert found.kernels[2].time_a_s is None and found.kernels[2].count_a is None


def test_of_a_full_table_a_row_may_only_be_unlisted() -> None:
    """The kernel may be there, and smaller than the smallest of the rows."""
    full = tuple(kernel(f"k{number}", "matmul", 1, 0.001) for number in range(MOST_ROWS))
    other = (kernel("new", "matmul", 1, 0.002), *full[:-1])
    found = pair(run(0.1, kernels=full), run(0.1, kernels=other))
    assert {row.name: row.fate for row in found.kernels} == {"new": "unlisted in A", "k99": "unlisted in B"}
    shorter = pair(run(0.1, kernels=full[1:]), run(0.1, kernels=other))
    assert {row.name: row.fate for row in shorter.kernels} == {
        "new": "appeared",
        "k0": "appeared",
        "k99": "unlisted in B",
    }


def test_ops_match_by_name_and_shapes() -> None:
    before = (op("mm", "[2, 2]", 1, 0.001), op("mm", "[4, 4]", 1, 0.003))
    after = (op("mm", "[2, 2]", 1, 0.001), op("mm", "[4, 4]", 3, 0.002), op("add", "[2, 2]", 1, 0.0005))
    found = pair(run(0.1, ops=before), run(0.1, ops=after))
    assert [(row.name, row.shapes, row.fate) for row in found.ops] == [
        ("mm", "[4, 4]", "faster"),
        ("add", "[2, 2]", "appeared"),
    ]
    assert (found.ops[0].count_a, found.ops[0].count_b) == (1, 3)


def test_rows_of_the_same_name_and_shapes_are_one() -> None:
    """Ops that differ in their dtypes alone are two rows of a report."""
    twice = (op("mm", "[2, 2]", 1, 0.001), op("mm", "[2, 2]", 2, 0.002))
    found = pair(run(0.1, ops=twice), run(0.1, ops=(op("mm", "[2, 2]", 3, 0.0035),)))
    assert [(row.count_a, row.time_a_s) for row in found.ops] == [(3, pytest.approx(0.003))]


def test_other_calls_at_the_same_time_are_a_difference() -> None:
    found = pair(run(0.1, ops=(op("mm", "", 1, 0.001),)), run(0.1, ops=(op("mm", "", 2, 0.001),)))
    assert [row.fate for row in found.ops] == ["same"]


@pytest.mark.parametrize(
    ("what", "part", "about"),
    [
        ("device", "device", {"name": "NVIDIA H100 PCIe"}),
        ("kind of device", "device", {"backend": "cpu"}),
        ("precision", "device", {"precision": "bf16"}),
        ("peak", "device", {"peak_flop_per_s": 31e12}),
        ("clock", "device", {"sampled_clock_hz": 1.2e9}),
        ("FLOP per step", "flop", {"model_per_step": 1.6e12}),
        ("torch", "trace", {"torch_version": "2.13.0"}),
        ("ranks", "trace", {"world_size": 8}),
        ("step time of", "steps", {"unprofiled_count": 15}),
        ("trace", "trace", {"truncated": True}),
    ],
)
def test_what_differs_in_the_setting_is_named(what: str, part: str, about: dict[str, Any]) -> None:
    sample = resnet()
    other = replace(sample, **{part: replace(getattr(sample, part), **about)})
    found = pair(sample, other)
    assert what in {one.what for one in found.settings} and not found.is_equal
    assert pair(sample, sample).settings == ()


def test_work_and_clocks_that_are_nearly_the_same_are_the_same() -> None:
    sample = resnet()
    near = replace(
        sample,
        flop=replace(sample.flop, model_per_step=7.776e11 * 1.009),
        device=replace(sample.device, sampled_clock_hz=1.50e9),
    )
    clocked = replace(sample, device=replace(sample.device, sampled_clock_hz=1.49e9))
    assert pair(clocked, near).settings == () and pair(clocked, near).work_ratio == 1


def test_other_work_is_a_ratio() -> None:
    sample = resnet()
    double = replace(sample, flop=replace(sample.flop, model_per_step=2 * 7.776e11))
    assert pair(sample, double).work_ratio == pytest.approx(2)


def test_findings_are_new_or_gone() -> None:
    sample = resnet()
    first, second = sample.findings
    found = pair(
        replace(sample, findings=(first,)),
        replace(sample, findings=(second, Finding("copy", "copies", 0.1, (), ()))),
    )
    assert [(one.code, one.is_new) for one in found.findings] == [
        ("host_bound", True),
        ("copy", True),
        ("data_loading_main_process", False),
    ]


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - {"none"}))
def test_a_run_is_equal_to_itself(name: str) -> None:
    reports = SAMPLES[name]
    found = comparison([("a", reports), ("b", reports)])
    assert len(found.pairs) == len(reports) and found.not_compared == ()
    for one in found.pairs:
        assert one.is_equal and one.verdict in ("no difference", "unknown")
        assert not any(row.change_s for row in one.causes)
        assert one.ops == one.kernels == one.settings == one.findings == ()


def test_any_difference_makes_runs_unequal() -> None:
    sample = resnet()
    for other in (
        replace(sample, step_time_s=0.1763),
        replace(sample, mfu=0.2811),
        replace(sample, kernels=sample.kernels[:-1]),
        replace(sample, findings=()),
    ):
        assert not pair(sample, other).is_equal


def test_every_run_is_held_against_the_first_rank_by_rank() -> None:
    found = comparison([("a", ranks_of(0, 1)), ("b", ranks_of(1, 0)), ("c", ranks_of(1, 2))])
    assert [(one.a.rank, one.b.run, one.b.rank) for one in found.pairs] == [(0, 1, 0), (1, 1, 1), (1, 2, 1)]
    assert [(one.place, one.run, one.other) for one in found.not_compared] == [
        ("rank 0 device 0", 0, 2),
        ("rank 2 device 0", 2, 0),
    ]
    assert [(one.run, one.rank) for one in found.runs] == [(0, 0), (0, 1), (1, 1), (1, 0), (2, 1), (2, 2)]


def test_runs_without_a_common_rank_do_not_compare() -> None:
    with pytest.raises(SeveralReportsError, match=r"A has rank 0 device 0.*; C has rank 2 device 0"):
        comparison([("a", ranks()), ("b", ranks()), ("c", ranks_of(2, 3))])


def test_one_run_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="at least two"):
        comparison([("a", ranks())])


def test_runs_are_called_by_letters_as_long_as_there_are_any() -> None:
    assert [run_label(number) for number in (0, 1, 25, 26)] == ["A", "B", "Z", "27"]


def real_pair(before: str, after: str) -> PairComparison:
    a, b = (real_report(name) for name in (before, after))
    found = pair(a, b)
    assert a.step_time_s is not None and b.step_time_s is not None
    total = sum(row.change_s for row in found.causes)
    assert total == pytest.approx(b.step_time_s - a.step_time_s, abs=1e-12)
    assert "rest" not in {row.cause for row in found.causes}
    return found


def test_workers_take_the_wait_for_data_away(shared_dir: Path) -> None:
    found = real_pair("kineto_resnet50_workers0_v100", "kineto_resnet50_workers4_v100")
    first, second = found.causes[:2]
    assert found.verdict == "faster" and found.work_ratio == 1 and found.settings == ()
    assert first.cause == "idle_data_loading" and first.change_s == pytest.approx(-0.0560, abs=5e-4)
    assert second.cause == "idle_host" and second.change_s == pytest.approx(0.0141, abs=5e-4)
    assert [(one.code, one.is_new) for one in found.findings] == [("data_loading", False)]


def test_between_an_h100_and_an_mi300x_launches_make_the_difference(shared_dir: Path) -> None:
    """Both are host-bound for most of a step of 60 launches: the host behind the MI300X launches sooner, its
    launches take longer to start, and no kernel is long enough to matter."""
    found = real_pair("tracelens_h100_bert", "tracelens_mi300x_bert")
    assert [row.cause for row in found.causes[:2]] == ["idle_host", "idle_launch"]
    assert found.causes[0].change_s < found.change_s < 0 < found.causes[1].change_s  # type: ignore[operator]  # known
    assert found.verdict == "no spread" and found.is_other_device and found.work_ratio == 1
    assert {"device", "kind of device", "multiprocessors", "peak"} == {one.what for one in found.settings}
    assert {row.fate for row in found.ops} == {"slower", "faster"}
    assert {"appeared", "vanished"} <= {row.fate for row in found.kernels}


def test_kernel_rows_are_what_the_tables_hold(shared_dir: Path) -> None:
    """The rows of a table name each kernel once, so a pair of reports matches every row of both."""
    report = real_report("kineto_resnet50_workers0_v100")
    names = [row.name for row in report.kernels]
    assert len(set(names)) == len(names) <= MOST_ROWS
