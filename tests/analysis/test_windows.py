"""Which stretch of time is a step: one picture per sentence of design.md, section 4."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from .pictures import (
    US,
    Activity,
    Host,
    Thread,
    assembled,
    drawn_windows,
    timeline,
    windows_of,
)


def test_a_window_runs_from_the_first_kernel_of_a_step_to_that_of_the_next() -> None:
    """And the last step, which has no successor, is left out."""
    found = windows_of(
        timeline(
            step="  000001111122222.....",
            launch=".a.b..c.d..e.........",
            compute="..aabbb..ccc.dd..eee.",
        )
    )
    assert drawn_windows(found) == [("ProfilerStep#0", 2, 9), ("ProfilerStep#1", 9, 17)]
    assert found.source == "device windows of ProfilerStep"
    assert {window.role for window in found.windows} == {"averaged"}


def test_side_streams_copies_and_collectives_mark_nothing() -> None:
    found = windows_of(
        timeline(
            step="        00000011111..........",
            launch="      pqra...xyzb..........",
            second_stream=".p.......x...........",
            communication="..q.......y..........",
            copy="          ...r.......z.......",
            compute="     .....aaaaa...bbbbb...",
        )
    )
    assert drawn_windows(found) == [("ProfilerStep#0", 5, 13)]


def test_kernels_without_a_launch_record_mark_nothing() -> None:
    found = windows_of(
        timeline(
            step="   000000111111...",
            launch=" ..a...b........",
            compute="##.aaa##..bbbb.",
        )
    )
    assert drawn_windows(found) == [("ProfilerStep#0", 3, 10)]


def test_windows_follow_the_device_not_the_host_marks() -> None:
    """The host runs ahead: its marks are short, the steps are not."""
    found = windows_of(
        timeline(
            step="   00011122233...................",
            launch=" a..b..c..d.....................",
            compute=".aaaaaaabbbbbbbbccccccccddddddd",
        )
    )
    assert drawn_windows(found) == [
        ("ProfilerStep#0", 1, 8),
        ("ProfilerStep#1", 8, 16),
        ("ProfilerStep#2", 16, 24),
    ]


def test_a_leading_window_that_the_host_catches_up_in_is_startup() -> None:
    """Lags 8, 4, 4, 4: the device was busy with earlier work when the recording began."""
    found = windows_of(
        timeline(
            step="   00000000001111111111222222222233333.......",
            launch=" a.........b.........c.........d............",
            compute="........aa....bb........cc........dd......",
        )
    )
    assert [(window.label, window.role) for window in found.windows] == [
        ("ProfilerStep#0", "startup"),
        ("ProfilerStep#1", "averaged"),
        ("ProfilerStep#2", "averaged"),
    ]
    assert [window.label for window in found.averaged] == ["ProfilerStep#1", "ProfilerStep#2"]


def test_a_lag_that_shrinks_later_is_no_startup() -> None:
    found = windows_of(
        timeline(
            step="   00000000001111111111222222222233333.......",
            launch=" a.........b.........c.........d............",
            compute="....aa........bbbbbbbbbbcc......dd........",
        )
    )
    assert [window.role for window in found.windows] == ["averaged"] * 3


def test_startup_windows_are_averaged_where_there_is_nothing_else() -> None:
    found = windows_of(
        timeline(
            step="   000000000011111.......",
            launch=" a.........b............",
            compute="........aa....bb......",
        )
    )
    assert [(window.label, window.role) for window in found.windows] == [("ProfilerStep#0", "averaged")]


def test_a_single_step_begins_at_its_mark_and_ends_with_its_last_activity() -> None:
    found = windows_of(
        timeline(
            step="   ..000000......",
            launch=" ...a............",
            compute="......aaaaaaaa.",
        )
    )
    assert drawn_windows(found) == [("ProfilerStep#0", 2, 14)]
    assert found.source == "the single step ProfilerStep#0"


def test_a_single_step_ends_with_its_mark_if_the_device_is_done() -> None:
    found = windows_of(timeline(step="..000000", launch="...a", compute="....aa"))
    assert drawn_windows(found) == [("ProfilerStep#0", 2, 8)]


def test_device_work_launched_before_a_single_step_does_not_belong_to_it() -> None:
    found = windows_of(
        timeline(
            step="   ..000000....",
            launch=" b....a.......",
            compute=".bbbbb.aaaaa.",
        )
    )
    assert drawn_windows(found) == [("ProfilerStep#0", 6, 12)]


def test_an_unrecorded_activity_before_the_first_recorded_one_was_launched_before() -> None:
    found = windows_of(
        timeline(
            step="   ..000000..........",
            launch=" ...a...............",
            compute="..####.aaaaa....##.",
        )
    )
    assert drawn_windows(found) == [("ProfilerStep#0", 6, 12)]


def test_device_work_launched_after_a_single_step_does_not_belong_to_it() -> None:
    found = windows_of(
        timeline(
            step="   ..0000........",
            launch=" ..a....b.......",
            compute="...aaa...bbbbb.",
        )
    )
    assert drawn_windows(found) == [("ProfilerStep#0", 2, 6)]


def test_host_windows_are_marks_moved_by_the_device_work_that_they_launched() -> None:
    drawn = timeline(
        step="   00000011111122222.",
        launch=" a.....b.....c......",
        compute=".aaaaaaaabbb.cc....",
    )
    found = windows_of(drawn, mode="host")
    assert drawn_windows(found) == [
        ("ProfilerStep#0", 0, 9),
        ("ProfilerStep#1", 9, 12),
        ("ProfilerStep#2", 12, 17),
    ]
    assert found.source == "host marks of ProfilerStep"


def test_the_span_runs_from_the_first_to_the_last_activity() -> None:
    drawn = timeline(step="0000001111111", launch="a......b....", compute="..aaa....bb..")
    found = windows_of(drawn, mode="span")
    assert drawn_windows(found) == [("span", 2, 11)]
    assert found.source == "the whole trace"


OPTIMIZER = "Optimizer.step#AdamW.step"


def test_without_marks_a_step_ends_where_an_optimizer_step_ends() -> None:
    drawn = timeline(
        marks={OPTIMIZER: "...oo....oo....oo...."},
        launch="           a..b..c..d..e........",
        compute="          .a..b..c..d..e.......",
    )
    found = windows_of(drawn, mode="host")
    assert drawn_windows(found) == [("step 1", 5, 11), ("step 2", 11, 17)]
    assert found.source == f"host marks of {OPTIMIZER}"
    assert drawn_windows(windows_of(drawn)) == [("step 1", 7, 13)]


def test_of_two_optimizers_the_one_that_steps_less_often_marks_steps() -> None:
    """A generator trained every second step of its discriminator."""
    drawn = timeline(
        marks={
            "Optimizer.step#Adam.step": "o.o.o.o.o.o.",
            "Optimizer.step#SGD.step": " ..o...o...o",
        }
    )
    found = windows_of(drawn, mode="host", has_device=False)
    assert drawn_windows(found) == [("step 1", 3, 7), ("step 2", 7, 11)]


def test_optimizer_steps_inside_backward_are_no_steps() -> None:
    """``register_post_accumulate_grad_hook`` steps once per parameter, on the autograd thread."""
    drawn = timeline(
        marks={"train#1": "aaaaaaaaaabbbbbbbbbb"},
        autograd=Thread(
            ops={"autograd::engine::evaluate_function: torch::autograd::AccumulateGrad": ".nnnn.nnnn.nnnn"},
            marks={OPTIMIZER: "..oo...oo...oo."},
        ),
    )
    found = windows_of(drawn, mode="host", has_device=False)
    assert drawn_windows(found) == [("train#1", 0, 10), ("train#1", 10, 20)]


def test_without_optimizers_annotations_that_repeat_and_fill_the_span_are_steps() -> None:
    drawn = assembled(marks=[Host(f"train {n}", n * 10 * US, (n * 10 + 10) * US) for n in range(3)])
    found = windows_of(drawn, has_device=False)
    assert drawn_windows(found) == [("train 0", 0, 10), ("train 1", 10, 20), ("train 2", 20, 30)]
    assert found.source == 'host marks of annotation "train #"'


@pytest.mark.parametrize(
    "name",
    [
        "nccl:all_reduce",
        "## Call CompiledFxGraph abc ##",
        "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__",
        "mfu_profiler.data",
        "Optimizer.zero_grad#SGD.zero_grad",
    ],
)
def test_what_libraries_annotate_is_no_step(name: str) -> None:
    drawn = timeline(marks={name: "aaaaaaaaaabbbbbbbbbb"})
    assert windows_of(drawn).source == "the whole trace (it marks no steps)"


@pytest.mark.parametrize(
    "rows",
    [
        {"once": "##########"},
        {"train": "aaaa..bbbb"},
        {"train": "aaaaa.....", "train 2": "..bbbbbbbb"},
    ],
    ids=["one only", "80 % of the span", "overlapping"],
)
def test_other_annotations_are_no_steps(rows: dict[str, str]) -> None:
    assert windows_of(timeline(marks=rows)).source == "the whole trace (it marks no steps)"


def test_marks_without_device_work_give_the_span() -> None:
    found = windows_of(timeline(step="000111222", compute="##.##.##"))
    assert drawn_windows(found) == [("span", 0, 8)]
    assert found.source == "the whole trace (no kernel belongs to a marked step)"


def test_a_window_of_more_than_three_medians_is_a_pause() -> None:
    marks, calls, work = [], [], []
    for k, start in enumerate((0, 10, 20, 60, 70, 80)):
        marks.append(Host(f"ProfilerStep#{k}", start * US, (start + 10) * US))
        calls.append(Host("cudaLaunchKernel", start * US, (start + 1) * US))
        work.append(Activity("k", (start + 2) * US, (start + 8) * US, call=k))
    found = windows_of(assembled(work, calls, marks=marks))
    assert [(w.end_ns - w.start_ns) // US for w in found.windows] == [10, 10, 40, 10, 10]
    assert [w.role for w in found.windows] == ["averaged", "averaged", "pause", "averaged", "averaged"]


def test_zero_length_duplicate_and_overlapping_marks_are_left_out() -> None:
    marks = [
        Host("ProfilerStep#0", 0, 0),
        Host("ProfilerStep#1", 0, 10 * US),
        Host("ProfilerStep#1", 0, 10 * US, thread=1),
        Host("ProfilerStep#2", 5 * US, 14 * US),
        Host("ProfilerStep#3", 10 * US, 20 * US),
        Host("ProfilerStep#3", 10 * US, 20 * US),
    ]
    found = windows_of(assembled(marks=marks), has_device=False)
    assert drawn_windows(found) == [("ProfilerStep#1", 0, 10), ("ProfilerStep#3", 10, 20)]


def test_marks_that_overlap_by_a_rounded_microsecond_are_kept() -> None:
    marks = [Host("ProfilerStep#1", 0, 10 * US), Host("ProfilerStep#2", 9_500, 20 * US)]
    assert len(windows_of(assembled(marks=marks), has_device=False).windows) == 2


def test_a_trace_of_nothing_has_no_window() -> None:
    assert windows_of(assembled()).windows == ()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=2, max_size=6, unique=True),
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 60)), min_size=1, max_size=12),
)
@example([0, 10, 20, 30], [(0, 1), (10, 50), (20, 5), (30, 5)])
def test_windows_are_in_order_and_never_overlap(begins: list[int], launches: list[tuple[int, int]]) -> None:
    begins = sorted(begins)
    marks = [
        Host(f"ProfilerStep#{k}", start * US, end * US)
        for k, (start, end) in enumerate(zip(begins, [*begins[1:], 45], strict=True))
    ]
    calls = [Host("cudaLaunchKernel", at * US, (at + 1) * US) for at, _ in launches]
    work = [
        Activity("k", (at + lag) * US, (at + lag + 3) * US, call=row)
        for row, (at, lag) in enumerate(launches)
    ]
    found = windows_of(assembled(work, calls, marks=marks)).windows
    assert found and all(window.end_ns > window.start_ns for window in found)
    assert all(a.end_ns <= b.start_ns for a, b in pairwise(found))
