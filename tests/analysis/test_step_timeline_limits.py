"""What a drawn step leaves out of a crowded one: the shortest, and it says how many and how long."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.analysis import step_timeline
from mfu_profiler.analysis.report import TimelineLane
from mfu_profiler.analysis.step_timeline import MOST_EVENTS, MOST_LANES
from mfu_profiler.trace.timeline import Timeline

from .pictures import US, Activity, Host, assembled, timeline
from .test_step_timeline import between, labelled, lanes_of, step_of


def crowded(per_lane: Sequence[Sequence[int]]) -> Timeline:
    """Each stream runs kernels of these lengths in ns, with a gap of 5 ns between them."""
    activities = []
    for stream, lengths in enumerate(per_lane):
        start = 0
        for length in lengths:
            activities.append(Activity(f"k{length}", start, start + length, None, stream))
            start += length + 5
    return assembled(activities, stream_count=max(8, len(per_lane)))


lane_lengths = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=12), min_size=1, max_size=5)


@given(lengths=lane_lengths, most_events=st.integers(1, 40), most_lanes=st.integers(1, 6))
def test_the_longest_are_kept_and_all_others_are_counted(
    lengths: list[list[int]], most_events: int, most_lanes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_timeline, "MOST_EVENTS", MOST_EVENTS | {"stream": most_events})
        patch.setattr(step_timeline, "MOST_LANES", MOST_LANES | {"stream": most_lanes})
        step = step_of(crowded(lengths), "span")
    lanes = lanes_of(step, "stream")
    assert len(lanes) == min(most_lanes, len(lengths))
    assert step.lanes_left_out == len(lengths) - len(lanes)
    assert [sum(lengths[stream]) for stream in map(stream_of, lanes)] == (
        sorted(map(sum, lengths), reverse=True)[: len(lanes)]
    ), "the busiest streams, the busiest first"
    kept = [event[1] for lane in lanes for event in lane.events]
    assert len(kept) == min(most_events, sum(len(lengths[stream_of(lane)]) for lane in lanes))
    for lane in lanes:
        every = sorted(lengths[stream_of(lane)])
        drawn = sorted(event[1] for event in lane.events)
        assert len(drawn) + lane.left_out_count == len(every)
        gone = every[: lane.left_out_count]
        assert gone + drawn == every, "what is drawn are the lane's longest, at their whole length"
        assert lane.left_out_ns == max(gone, default=0)
        assert lane.left_out_ns <= min(kept), "nothing left out is longer than anything drawn"


def stream_of(lane: TimelineLane) -> int:
    return int(lane.label.removeprefix("stream "))


def test_a_stream_with_little_time_may_keep_no_event() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_timeline, "MOST_EVENTS", MOST_EVENTS | {"stream": 2})
        step = step_of(crowded([[9, 8], [1, 2, 3]]), "span")
    lanes = lanes_of(step, "stream")
    assert [(len(lane.events), lane.left_out_count, lane.left_out_ns) for lane in lanes] == [
        (2, 0, 0),
        (0, 3, 3),
    ]


def test_only_names_that_are_drawn_are_listed_and_each_once() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_timeline, "MOST_EVENTS", MOST_EVENTS | {"stream": 3})
        step = step_of(crowded([[9, 9, 7, 1]]), "span")
    names = [name for name in step.names if name.startswith("k")]
    assert names == ["k9", "k7"]
    assert len(set(step.names)) == len(step.names)


def test_the_limits_hold_for_a_large_step() -> None:
    step = step_of(crowded([[10] * 400 for _ in range(20)]), "span")
    assert len(lanes_of(step, "stream")) == MOST_LANES["stream"]
    assert step.lanes_left_out == 20 - MOST_LANES["stream"]
    assert sum(len(lane.events) for lane in lanes_of(step, "stream")) == MOST_EVENTS["stream"]
    assert sum(len(lane.events) for lane in lanes_of(step, "cause")) <= MOST_EVENTS["cause"]


def test_threads_beyond_the_limit_are_counted_and_the_main_one_is_never_among_them() -> None:
    ops = [Host("aten::mm", 0, (10 + thread) * US, thread) for thread in range(7)]
    drawn = assembled([], [], ops, [Host("ProfilerStep#0", 0, 20 * US)], device=None)
    step = step_of(drawn)
    assert step.lanes_left_out == 7 - MOST_LANES["host"]
    assert [lane.label for lane in lanes_of(step, "host")] == [
        "main thread 1/0",
        *(f"thread 1/{thread}" for thread in (6, 5, 4)),
    ]


def test_a_long_name_is_cut() -> None:
    names = {"a": "k" * 200, "b": "k" * 201 + "b", "c": "k" * 300}
    drawn = timeline(step="000000", launch="abc", compute="..abc.", names=names)
    step = step_of(drawn)
    assert [name for name in step.names if name.startswith("k")] == ["k" * 200]
    assert len(labelled(step, "stream 0")) == 3


def test_nested_ops_do_not_make_a_thread_busier() -> None:
    """Four ops of 6 in each other are less time than one of 10."""
    nested = [Host(f"level {level}", 0, 6 * US, 1) for level in range(4)]
    marks = [Host("ProfilerStep#0", 0, 20 * US)]
    drawn = assembled([], [], [Host("long", 0, 10 * US, 2), *nested], marks)
    step = between(drawn, 0, 20)
    assert [lane.label for lane in lanes_of(step, "host")] == ["thread 1/2", "thread 1/1"]
