"""The drawn step: which one, and what is in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mfu_profiler.analysis import analyze, step_timeline
from mfu_profiler.analysis.host_steps import host_steps
from mfu_profiler.analysis.report import PARTS, Report, StepTimeline, TimelineLane
from mfu_profiler.analysis.times import times_of
from mfu_profiler.analysis.windows import Window
from mfu_profiler.trace.timeline import Timeline

from ..conftest import REPOSITORY, trace_paths
from .pictures import (
    COLLECTIVE_KERNEL,
    COMPUTE_KERNEL,
    COPY,
    LOADER,
    US,
    Host,
    Thread,
    assembled,
    report,
    timeline,
)


def step_of(drawn: Timeline, windows: str = "host") -> StepTimeline:
    found = report(drawn, windows=windows).step_timeline
    assert found is not None
    return found


def lanes_of(step: StepTimeline, kind: str) -> list[TimelineLane]:
    return [lane for lane in step.lanes if lane.kind == kind]


def shown(step: StepTimeline, lane: TimelineLane) -> list[tuple[str, str, int, int, int]]:
    """(name, kind, start, end, depth) of each event, times in characters of the picture."""
    return [
        (step.names[name], step.kinds[kind], start // US, (start + length) // US, depth)
        for start, length, name, kind, depth in lane.events
    ]


def between(drawn: Timeline, start: int, end: int) -> StepTimeline:
    """The drawing of one window between two characters of the picture."""
    times = times_of(drawn, host_steps(drawn), "host", not len(drawn.activities))
    assert times is not None
    window = Window("chosen", start * US, end * US)
    found = step_timeline.step_timeline(replace(times, windows=replace(times.windows, windows=(window,))))
    assert found is not None and (found.label, found.duration_ns) == ("chosen", (end - start) * US)
    return found


def labelled(step: StepTimeline, begin: str) -> list[tuple[str, str, int, int, int]]:
    """The events of the one lane whose label begins so."""
    [lane] = [lane for lane in step.lanes if lane.label.startswith(begin)]
    return shown(step, lane)


# --- which step ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "label"),
    [
        ("00000 1111 2222222", "ProfilerStep#0"),  # 5, 4 and 7 long: 5 is the median
        ("0000 111111 22 33333333 444", "ProfilerStep#0"),  # 4 of 2, 3, 4, 6, 8
        ("000000 11 222 4444", "ProfilerStep#2"),  # the median is 3.5: 3 and 4 are as near, 3 comes first
    ],
)
def test_the_averaged_step_nearest_to_the_median_is_drawn(step: str, label: str) -> None:
    drawn = timeline(step=step, launch="a", compute="a" + "." * (len(step.replace(" ", "")) - 1))
    found = step_of(drawn)
    assert found.label == label
    length = step.count(label[-1])
    assert found.duration_ns == length * US


def test_a_pause_is_neither_drawn_nor_part_of_the_median() -> None:
    """Of 5, 6 and 7 the median is 6; with the pause of 40 it would be between 6 and 7."""
    step = "0" * 7 + "1" * 40 + "2" * 5 + "3" * 6
    found = report(timeline(step=step, launch="a", compute="a"), windows="host")
    assert [window.role for window in found.windows] == ["averaged", "pause", "averaged", "averaged"]
    assert found.step_timeline is not None and found.step_timeline.label == "ProfilerStep#3"


def test_without_steps_the_whole_trace_is_drawn_under_its_own_name() -> None:
    found = step_of(timeline(compute="..##..##", launch="#"), windows="device")
    assert (found.label, found.duration_ns) == ("span", 6 * US)


def test_without_an_averaged_window_nothing_is_drawn() -> None:
    drawn = timeline(step="0011", launch="a.b", compute=".a.b")
    times = times_of(drawn, host_steps(drawn), "host", False)
    assert times is not None and step_timeline.step_timeline(times) is not None
    paused = tuple(replace(window, role="pause") for window in times.windows.windows)
    none = replace(times, windows=replace(times.windows, windows=paused))
    assert step_timeline.step_timeline(none) is None


def test_without_any_time_there_is_no_step() -> None:
    assert report(assembled([], [], [Host("aten::mm", 0, US)])).step_timeline is None


# --- what is in it -------------------------------------------------------------------------------------

TRAINING = timeline(
    step="  0000000000 1111111111",
    launch="..a....... ..b.......",
    next="  .......... nn........",
    sync="  .......... ......ss..",
    ops={"aten::linear": "oooo...... .ooooo....", "aten::mm": ".oo....... ..ooo....."},
    marks={"forward": "mmmmm..... .mmmmmm..."},
    compute="...aaa.... ...bb.....",
    copy="   .......... .......cc.",
    communication="....... ... .........",
)


def test_events_are_counted_from_the_start_of_the_window_and_clipped_to_it() -> None:
    """The kernels a and b run across both ends of step 1, an op across each as well."""
    drawn = timeline(
        step="   0000 1111 2222",
        launch=" ..a. .bc. ....",
        ops={"x": "...x xx.. ....", "y": ".... ...y yy.."},
        compute="...a aa.b bb..",
    )
    found = between(drawn, 4, 8)
    assert [row[2:4] for row in labelled(found, "stream 0")] == [(0, 2), (3, 4)]
    assert labelled(found, "main thread") == [
        ("x", "op", 0, 2, 0),
        ("cudaLaunchKernel", "launch", 1, 2, 1),
        ("cudaLaunchKernel", "launch", 2, 3, 0),
        ("y", "op", 3, 4, 0),
    ]


def test_what_only_touches_the_window_is_not_in_it() -> None:
    drawn = timeline(step="0001112", ops={"before": "..x....", "in": "...x...", "after": "......x"})
    assert labelled(between(drawn, 3, 6), "main thread") == [("in", "op", 0, 1, 0)]


def test_every_kind_of_activity_and_call_is_called_what_it_is() -> None:
    drawn = timeline(
        step="   000000000000",
        launch=" .abd........",
        next="   ....nn......",
        sync="   .......ss...",
        blocking_copy=".......... b.",
        calls={"cudaMalloc": "...x........", "cudaEventRecord": "......x....."},
        marks={"forward": "mmmm........"},
        compute="..aa........",
        communication=".....bb.....",
        copy="   .......dd...",
    )
    found = step_of(drawn)
    main = {(name, kind) for name, kind, *_ in labelled(found, "main thread")}
    assert main == {
        ("forward", "mark"),
        ("cudaLaunchKernel", "launch"),
        (LOADER, "data loading"),
        ("cudaStreamSynchronize", "blocked"),
        ("cudaMemcpy", "blocked"),
    }
    assert [row[:2] for row in labelled(found, "stream 0")] == [(COMPUTE_KERNEL, "compute")]
    assert [row[:2] for row in labelled(found, "stream 2")] == [(COLLECTIVE_KERNEL, "communication")]
    assert [row[:2] for row in labelled(found, "stream 3")] == [(COPY, "copy")]
    causes = labelled(found, "time by cause")
    assert all(name == kind and kind in PARTS and depth == 0 for name, kind, _, _, depth in causes)


def test_a_call_that_blocks_a_thread_without_launches_is_not_drawn_as_blocking() -> None:
    drawn = timeline(
        step="0000", launch="a", compute=".aa.", autograd=Thread(sync=".ss.", ops={"aten::mm": "x..."})
    )
    assert [row[:2] for row in labelled(step_of(drawn), "thread")] == [("aten::mm", "op")]


def test_the_marks_of_steps_are_not_drawn() -> None:
    found = step_of(timeline(step="0000", launch="a", compute=".aa.", ops={"aten::mm": "xx"}))
    assert "ProfilerStep#0" not in found.names
    assert {row[0] for row in labelled(found, "main thread")} == {"aten::mm", "cudaLaunchKernel"}


def test_lanes_say_what_they_are() -> None:
    drawn = timeline(
        step="0000",
        launch="a...",
        compute=".aab",
        autograd=Thread(launch="..b.", ops={"aten::mm": "xxxx"}),
    )
    assert [lane.label for lane in step_of(drawn).lanes] == [
        "time by cause",
        "stream 0",
        "main thread 1/0, launches",
        "thread 1/1, launches",
    ]


def test_depth_counts_the_events_that_enclose_one() -> None:
    drawn = timeline(
        step="    00000000",
        marks={"a": "aaaaaaa."},
        ops={"b": " .bbb....", "c": "..c.....", "d": ".....dd."},
        launch="  .......l",
        compute=" .......l",
    )
    rows = labelled(step_of(drawn), "main thread")
    assert {name: depth for name, *_, depth in rows} == {
        "a": 0,
        "b": 1,
        "c": 2,
        "d": 1,
        "cudaLaunchKernel": 0,
    }


def test_of_two_that_began_before_the_step_the_longer_is_the_outer_one() -> None:
    """Clipped to the step both are equally long."""
    drawn = timeline(step="0001111", marks={"outer": "mmmmmmm"}, ops={"inner": ".oooooo"})
    rows = labelled(between(drawn, 3, 7), "main thread")
    assert sorted(rows) == [("inner", "op", 0, 4, 1), ("outer", "mark", 0, 4, 0)]


def test_deeper_than_the_rows_of_a_thread_nothing_is_drawn() -> None:
    nested = [Host(f"level {level}", level * US, (20 - level) * US) for level in range(7)]
    drawn = assembled([], [], nested, [Host("ProfilerStep#0", 0, 20 * US)], device=None)
    assert [(name, depth) for name, *_, depth in labelled(step_of(drawn), "main thread")] == [
        (f"level {level}", level) for level in range(step_timeline.MOST_DEPTH)
    ]


def test_threads_do_not_enclose_each_other() -> None:
    drawn = timeline(step="0000", ops={"aten::mm": "xxxx"}, autograd=Thread(ops={"inside": ".xx."}))
    assert labelled(step_of(replace(drawn, device=None)), "thread") == [("inside", "op", 1, 3, 0)]


# --- sums ----------------------------------------------------------------------------------------------


def assert_causes_fill_the_step(found: Report) -> None:
    step = found.step_timeline
    assert step is not None
    [window] = [
        one for one in found.windows if one.label == step.label and one.duration_ns == step.duration_ns
    ][:1]
    [lane] = lanes_of(step, "cause")
    if lane.left_out_count:
        return
    assert sum(event[1] for event in lane.events) == step.duration_ns
    for part in PARTS:
        lengths = [event[1] for event in lane.events if step.kinds[event[3]] == part]
        assert sum(lengths) == getattr(window, f"{part}_ns")
    ends = [start + length for start, length, *_ in lane.events]
    assert [event[0] for event in lane.events] == [0, *ends[:-1]], "one after another, without a gap"


def test_the_causes_of_the_step_sum_to_it() -> None:
    found = report(TRAINING, windows="host")
    assert_causes_fill_the_step(found)
    assert found.step_timeline is not None
    assert labelled(found.step_timeline, "time by cause")[0][2] == 0


@pytest.mark.parametrize(
    "path", [path for path in trace_paths() if path.stat().st_size < 400_000], ids=lambda path: path.name
)
def test_the_causes_of_a_real_step_sum_to_it_and_all_lies_inside(path: Path) -> None:
    found = analyze(path)
    if found.partition is None:
        assert found.step_timeline is None
        return
    assert_causes_fill_the_step(found)
    step = found.step_timeline
    assert step is not None
    for lane in step.lanes:
        assert all(
            start >= 0 and length >= 0 and start + length <= step.duration_ns
            for start, length, *_ in lane.events
        )
        assert list(lane.events) == sorted(lane.events)


def test_a_cpu_trace_has_a_step_of_its_threads_alone() -> None:
    found = analyze(REPOSITORY / "examples" / "traces" / "gpt_cpu.json.gz")
    assert_causes_fill_the_step(found)
    step = found.step_timeline
    assert step is not None
    assert [lane.kind for lane in step.lanes if lane.kind != "host"] == ["cause"]
    [main] = [lane for lane in step.lanes if lane.label.startswith("main thread")]
    names = {step.names[event[2]] for event in main.events}
    assert any(name.startswith("aten::") for name in names)
    assert not any(name.startswith("ProfilerStep") for name in names)


def test_the_same_trace_gives_the_same_drawing() -> None:
    assert step_of(TRAINING) == step_of(TRAINING)
