"""The words of a comparison: what is named first, what is called noise, and what a table leaves out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mfu_profiler.analysis.comparing.compare import comparison
from mfu_profiler.analysis.report import Report
from mfu_profiler.analysis.tables import MOST_ROWS
from mfu_profiler.render.comparing.page import ComparePage, compare_document
from mfu_profiler.render.comparing.view import render_comparison
from tests.analysis.compared import found_of, rows, run
from tests.analysis.real import real_report
from tests.render.sample import SAMPLES, cpu, kernel, ranks, resnet


def page_of(a: Report, b: Report, top: int = 10) -> ComparePage:
    [page] = compare_document(found_of(a, b), (), top).pages
    return page


def lines_of(page: ComparePage, label: str) -> tuple[str, ...]:
    return next(fact.lines for fact in page.headline if fact.label == label)


# --- the sentence --------------------------------------------------------------------------------------


def test_the_cause_that_made_the_difference_comes_first_and_what_worked_against_it_last() -> None:
    page = page_of(rows(0.2, idle_data_loading=0.5, idle_host=0.1), rows(0.12, idle_host=0.5))
    assert page.sentence == (
        "200 ms → 120 ms, 80.0 ms (40.0 %) faster: data loading 100 ms → 0 s; against it host-bound 20.0 ms →"
        " 60.0 ms"
    )


def test_a_larger_change_the_other_way_does_not_explain_the_difference() -> None:
    """Two causes take 15 ms more each, one 25 ms less: what made the step longer is named first."""
    page = page_of(
        rows(0.1, copy=0.3, idle_host=0.1, communication=0.1),
        rows(0.105, copy=0.05 / 1.05, idle_host=0.25 / 1.05, communication=0.25 / 1.05),
    )
    assert page.causes[0].label == "exposed copy"
    assert "slower: host-bound 10.0 ms → 25.0 ms; exposed communication 10.0 ms → 25.0 ms; against it" in (
        page.sentence
    )
    assert page.sentence.endswith("against it exposed copy 30.0 ms → 5.00 ms")


def test_noise_is_called_noise_and_no_cause_made_it() -> None:
    page = page_of(rows(0.1, 0.01, copy=0.1), rows(0.101, 0.01, copy=0.11))
    assert (
        "100 ms → 101 ms, +1.00 ms is within the noise of the steps: the largest change is in"
        in page.sentence
    )
    assert lines_of(page, "step")[1].startswith(
        "+1.00 ms (+1.0 %), within the noise of the steps (± 14.6 ms)"
    )


@pytest.mark.parametrize(("after_s", "word"), [(0.09, "faster"), (0.11, "slower")])
def test_beyond_noise_it_is_faster_or_slower(after_s: float, word: str) -> None:
    page = page_of(rows(0.1, 0.001), rows(after_s, 0.001))
    assert f"(10.0 %) {word}: " in page.sentence
    assert f", {word} (± 1.46 ms)" in lines_of(page, "step")[1]


def test_of_one_step_nobody_can_tell() -> None:
    a = run(0.1, count=1)
    page = page_of(a, run(0.09, count=1))
    assert page.sentence.startswith("100 ms → 90.0 ms, 10.0 ms (10.0 %) less, noise unknown")
    assert lines_of(page, "step")[1:] == (
        "-10.0 ms (-10.0 %), one step: no spread, so nobody can tell it from noise",
        "A: one step; B: one step",
    )


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - {"none"}))
def test_equal_runs_have_no_difference_and_no_table(name: str) -> None:
    [report, *_] = SAMPLES[name]
    page = page_of(report, report)
    assert page.sentence.startswith("no difference: step ")
    assert page.causes == page.ops.lines == page.kernels.lines == page.setting == page.findings == ()


def test_an_unknown_step_time_is_said() -> None:
    page = page_of(replace(resnet(), step_time_s=None), resnet())
    assert page.sentence == "unknown: A has no step time"
    assert page.causes_note == "unknown: A has no step time"


def test_other_work_is_compared_per_flop() -> None:
    sample = run(0.1, deviation_s=0.001)
    double = replace(run(0.15, deviation_s=0.001), flop=replace(sample.flop, model_per_step=2 * 7.776e11))
    page = page_of(sample, double)
    assert "slower" in page.sentence
    assert lines_of(page, "work") == (
        "B's step does 2 times the FLOP of A's",
        "for A's FLOP: 100 ms → 75.0 ms (-25.0 %)",
    )
    assert [fact.label for fact in page_of(sample, run(0.15)).headline] == ["step", "MFU", "HFU"]


def test_mfu_changes_in_points() -> None:
    page = page_of(resnet(), replace(resnet(), mfu=0.401, hfu=None))
    assert lines_of(page, "MFU") == ("28.1 % → 40.1 %, +12.0 points",)
    assert lines_of(page, "HFU") == ("28.1 % → unknown",)


def test_workers_are_named_by_what_they_took_away(shared_dir: Path) -> None:
    names = ("kineto_resnet50_workers0_v100", "kineto_resnet50_workers4_v100")
    page = page_of(*(real_report(name) for name in names))
    assert page.sentence == (
        "176 ms → 136 ms, 40.3 ms (22.9 %) faster: data loading 56.7 ms → 692 µs; against it host-bound"
        " 15.9 ms → 30.0 ms"
    )


def test_two_hosts_are_named_before_two_devices(shared_dir: Path) -> None:
    page = page_of(*(real_report(f"tracelens_{name}_bert") for name in ("h100", "mi300x")))
    assert page.sentence == (
        "4.43 ms → 4.01 ms, 419 µs (9.5 %) less, noise unknown: host-bound 3.87 ms → 2.55 ms; against it"
        " launch latency 99.3 µs → 853 µs"
    )
    assert "another device: its kernels have other names, so the ops tell more" in page.kernels.notes
    assert page.ops.lines[0].name == "_flash_attention_forward"


# --- tables --------------------------------------------------------------------------------------------


def test_the_causes_end_with_the_step_that_they_sum_to() -> None:
    page = page_of(rows(0.2, idle_data_loading=0.5, copy=0.1), rows(0.12, copy=0.1))
    assert [line.label for line in page.causes] == [
        "data loading",
        "useful work at peak",
        "exposed copy",
        "step",
    ]
    *causes, step = page.causes
    assert sum(line.change_s for line in causes) == pytest.approx(step.change_s)
    first = page.causes[0]
    assert (first.before, first.after, first.change) == ("100 ms", "0 s", "-100 ms")
    assert (first.share_a, first.share_b, first.points) == ("50.0 %", "0.0 %", "-50.0")


def test_causes_that_did_not_change_are_named_below() -> None:
    page = page_of(rows(0.2, idle_host=0.5, copy=0.1), rows(0.19, idle_host=0.09 / 0.19, copy=0.02 / 0.19))
    assert [line.label for line in page.causes] == ["host-bound", "step"]
    lead, _, names = page.causes_note.partition(": ")
    assert lead == "no change, or under 0.05 %"
    assert sorted(names.split(", ")) == ["exposed copy", "useful work at peak"]


def test_a_profiler_that_slowed_one_run_more_makes_the_rows_rough() -> None:
    page = page_of(rows(0.1, profiler=-0.2), rows(0.09, profiler=0.0))
    assert page.causes_note.startswith("rough: ") or "; rough: " in page.causes_note
    assert "profiler" not in page.sentence


def test_the_tables_say_what_they_leave_out() -> None:
    before = tuple(kernel(f"k{number}", "matmul", 1, 0.001 * (20 - number)) for number in range(15))
    after = tuple(replace(row, time_s=2 * row.time_s) for row in before)
    page = page_of(run(0.1, kernels=before), run(0.2, kernels=after), top=3)
    assert [line.name for line in page.kernels.lines] == ["k0", "k1", "k2"]
    assert page.kernels.notes == ("12 more differ, each by 17.0 ms at most",)
    assert page_of(run(0.1, kernels=before), run(0.2, kernels=after), top=0).kernels.notes == (
        "15 more differ, each by 20.0 ms at most",
    )


def test_a_kernel_that_a_full_table_does_not_hold_is_not_called_gone() -> None:
    full = tuple(kernel(f"k{number}", "matmul", 1, 0.001) for number in range(MOST_ROWS))
    page = page_of(run(0.1, kernels=(kernel("large", "matmul", 1, 0.009), *full)), run(0.1, kernels=full))
    [line] = page.kernels.lines
    assert (line.fate, line.before, line.after, line.calls) == ("unlisted in B", "9.00 ms", "-", "1 → -")
    assert "unlisted: not among the 100 largest of B; it may be there and small" in page.kernels.notes[0]


def test_ops_are_told_apart_by_their_shapes_and_kernels_by_numbers(shared_dir: Path) -> None:
    names = ("kineto_resnet50_workers0_v100", "kineto_resnet50_workers4_v100")
    found = found_of(*(real_report(name) for name in names))
    text = render_comparison(found, color=False)
    ops, kernels = text.partition("Ops by shape")[2].split("Kernels  ")
    assert "[32, 256, 56, 56], [512, 256, 1, 1]" in ops and "#2" not in ops
    assert "implicit_convolve_sgemm #2" in kernels


def test_what_differs_beside_the_times_is_named() -> None:
    other = resnet()
    other = replace(other, device=replace(other.device, name="NVIDIA A100-SXM4-80GB", precision="tf32"))
    page = page_of(resnet(), other)
    assert [(fact.label, fact.lines[0]) for fact in page.setting] == [
        ("device", "Tesla V100-DGXS-32GB → NVIDIA A100-SXM4-80GB"),
        ("precision", "fp32 → tf32"),
    ]


# --- several runs --------------------------------------------------------------------------------------


def test_more_than_two_runs_are_a_table() -> None:
    spread = [run(step_s, deviation_s=0.01) for step_s in (0.1, 0.101, 0.2)]
    single = [run(step_s, count=1) for step_s in (0.1, 0.09)]
    document = compare_document(found_of(*spread, *single, cpu()), (), 10)
    assert document.pages == () and document.overview is not None
    cells = [(row[0], row[1], row[6]) for row in document.overview.rows]
    assert cells == [
        ("A", "100 ms", "-"),
        ("B", "101 ms", "+1.0 % noise"),
        ("C", "200 ms", "+100.0 %"),
        ("D", "100 ms", "no difference"),
        ("E", "90.0 ms", "-10.0 % ?"),
        ("F", "176 ms", "+76.2 % ?"),
    ]
    assert document.overview_note == (
        "noise: within the noise of the steps; ?: one step: no spread, so nobody can tell it from noise"
    )
    assert [fact.label for fact in document.runs] == ["A", "B", "C", "D", "E", "F"]
    assert any("other than A: " in line for line in document.runs[5].lines)


def test_ranks_of_two_runs_are_a_table_and_a_page_each() -> None:
    document = compare_document(comparison([("a", ranks()), ("b", ranks()[:1])]), (), 10)
    assert document.overview is not None
    assert [row[0] for row in document.overview.rows] == ["A rank 0", "A rank 1", "B rank 0"]
    document = compare_document(comparison([("a", ranks()), ("b", ranks())]), (), 10)
    assert [page.heading[:6] for page in document.pages] == ["rank 0", "rank 1"]


def test_what_has_no_partner_is_named() -> None:
    document = compare_document(comparison([("a", ranks()), ("b", ranks()[:1])]), (), 10)
    assert document.runs[-1].lines == ("rank 1 device 1 only in A, not in B",)
