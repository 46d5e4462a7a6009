"""The replay: what waits for what, and whether the whole reproduces what was recorded."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mfu_profiler.analysis.replay.engine import replayed_starts
from mfu_profiler.analysis.replay.graph import GAP_NS, LATENCY_NS, ReplayGraph, replay_graph
from mfu_profiler.analysis.report import ReplayInfo
from mfu_profiler.render.json import render_json
from mfu_profiler.trace.timeline import Timeline

from .pictures import MAIN, US, Activity, Host, assembled, kinds_of, report, timeline
from .real import real_report, real_timeline, real_traces

LATENCY, GAP = LATENCY_NS // US, GAP_NS // US
"""µs: five and one, where a trace shows too few to learn from."""


def graph_of(drawn: Timeline) -> ReplayGraph:
    return replay_graph(drawn, kinds_of(drawn))


def delays(drawn: Timeline) -> list[int]:
    """What nothing explains, µs, of each activity."""
    return [delay // US for delay in graph_of(drawn).delay_ns.tolist()]


def without_delays(drawn: Timeline) -> list[int]:
    """Starts in a replay without unexplained delays, µs."""
    graph = graph_of(drawn)
    return [start // US for start in replayed_starts(graph, keeps_delays=False).tolist()]


def launches(*starts: int) -> list[Host]:
    return [Host("cudaLaunchKernel", start * US, (start + 2) * US) for start in starts]


def kernel(call: int | None, start: int, end: int, stream: int = 0, name: str = "kernel") -> Activity:
    return Activity(name, start * US, end * US, call, stream)


# The device ---------------------------------------------------------------------------------------


def test_a_kernel_on_an_idle_stream_starts_a_latency_after_its_launch() -> None:
    drawn = assembled([kernel(0, LATENCY, 20), kernel(1, 40 + LATENCY + 7, 60)], launches(0, 40))
    assert delays(drawn) == [0, 7]
    assert without_delays(drawn) == [LATENCY, 40 + LATENCY]


def test_a_kernel_in_the_queue_starts_a_gap_after_the_one_before_it() -> None:
    drawn = assembled([kernel(0, LATENCY, 100), kernel(1, 100 + GAP + 3, 120)], launches(0, 10))
    assert delays(drawn) == [0, 3]
    assert without_delays(drawn) == [LATENCY, 100 + GAP]


def test_what_is_quicker_than_typical_keeps_its_own_latency_and_gap() -> None:
    drawn = assembled([kernel(0, 2, 100), kernel(1, 100, 120)], launches(0, 10))
    assert delays(drawn) == [0, 0] and without_delays(drawn) == [2, 100]


def test_latency_and_gap_are_learned_where_the_trace_shows_enough() -> None:
    calls = launches(*range(0, 2000, 100))
    activities = [kernel(row, 100 * row + 12, 100 * row + 20) for row in range(20)]
    assert set(graph_of(assembled(activities, calls)).latency_ns.tolist()) == {12 * US}


def test_a_delay_moves_all_that_follows_on_the_stream() -> None:
    drawn = assembled(
        [kernel(0, LATENCY + 50, 100), kernel(1, 100 + GAP, 150), kernel(2, 150 + GAP, 160)],
        launches(0, 3, 6),
    )
    assert without_delays(drawn) == [start - 50 for start in (LATENCY + 50, 100 + GAP, 150 + GAP)]


def test_what_was_launched_before_the_trace_stands_where_it_was() -> None:
    drawn = assembled([kernel(None, 0, 100), kernel(0, 130, 150)], launches(0))
    assert without_delays(drawn) == [0, 100 + GAP]
    assert delays(drawn) == [0, 29]


# Streams ------------------------------------------------------------------------------------------


def test_the_activity_after_a_wait_for_an_event_waits_for_the_other_streams() -> None:
    """It starts 200 µs after that has ended, too late for the times to tell."""
    calls = [*launches(0, 20), Host("cudaStreamWaitEvent", 10 * US, 11 * US)]
    drawn = assembled([kernel(0, LATENCY, 100), kernel(1, 300, 400, stream=1)], calls)
    assert delays(drawn) == [0, 200] and without_delays(drawn) == [LATENCY, 100]


def test_a_wait_that_the_times_contradict_is_none() -> None:
    calls = [*launches(0, 20), Host("cudaStreamWaitEvent", 10 * US, 11 * US)]
    drawn = assembled([kernel(0, LATENCY, 100), kernel(1, 20 + LATENCY, 400, stream=1)], calls)
    assert without_delays(drawn) == [LATENCY, 20 + LATENCY]


@pytest.mark.parametrize(("name", "reach"), [("kernel", 30), ("ncclDevKernel_AllReduce_Sum_f32", 80)])
def test_what_starts_soon_after_another_stream_has_ended_waited_for_it(name: str, reach: int) -> None:
    for after, is_explained in ((reach - 1, True), (reach + 1, False)):
        drawn = assembled([kernel(0, LATENCY, 100), kernel(1, 100 + after, 200, 1, name)], launches(0, 10))
        assert without_delays(drawn)[1] == (100 if is_explained else 10 + LATENCY)


def test_nothing_waits_for_what_is_launched_later() -> None:
    drawn = assembled([kernel(1, 60, 100, stream=1), kernel(0, 110, 200)], launches(0, 50))
    assert without_delays(drawn)[1] == LATENCY


# The host -----------------------------------------------------------------------------------------


def test_a_synchronization_returns_a_residual_after_what_it_waited_for() -> None:
    """The kernel starts 30 µs late; without that the host is earlier by as much, and all that it launches."""
    calls = [*launches(0, 120), Host("cudaStreamSynchronize", 10 * US, 110 * US)]
    drawn = assembled([kernel(0, LATENCY + 30, 100), kernel(1, 120 + LATENCY, 140)], calls)
    assert without_delays(drawn) == [LATENCY, 120 + LATENCY - 30]


def test_a_synchronization_that_waited_for_nothing_takes_what_it_took() -> None:
    calls = [*launches(0, 220), Host("cudaDeviceSynchronize", 200 * US, 203 * US)]
    drawn = assembled([kernel(0, LATENCY + 30, 100), kernel(1, 220 + LATENCY, 240)], calls)
    assert without_delays(drawn) == [LATENCY, 220 + LATENCY]


def test_a_copy_from_pageable_memory_blocks_until_it_is_done() -> None:
    copy = Activity("Memcpy HtoD (Pageable -> Device)", 45 * US, 90 * US, 0, 0, 1)
    calls = [Host("cudaMemcpyAsync", 0, 92 * US), *launches(100)]
    drawn = assembled([copy, kernel(1, 100 + LATENCY, 120)], calls)
    assert without_delays(drawn) == [LATENCY, 60 + LATENCY]


def test_a_wait_for_a_part_of_the_queue_is_for_what_had_ended() -> None:
    """An event: the last kernel runs on while the host goes on."""
    calls = [*launches(0, 3, 130), Host("cudaEventSynchronize", 10 * US, 105 * US)]
    activities = [kernel(0, LATENCY + 40, 100), kernel(1, 100 + GAP, 400), kernel(2, 400 + GAP, 500)]
    host = graph_of(assembled(activities, calls)).host
    items, awaited = host.awaits
    assert awaited.tolist() == [0] and host.residual_ns[items].tolist() == [5 * US]


def test_calls_inside_and_beside_others_take_no_time_twice() -> None:
    calls = [
        Host("cudaLaunchKernel", 0, 50 * US),
        Host("cuLaunchKernel", 10 * US, 40 * US),
        Host("cudaLaunchKernel", 45 * US, 70 * US, 1),
        Host("cudaLaunchKernel", 80 * US, 82 * US),
    ]
    activities = [
        kernel(row, start + LATENCY, start + LATENCY + 1) for row, start in ((1, 10), (2, 45), (3, 80))
    ]
    host = graph_of(assembled(activities, calls)).host
    assert host.think_ns.tolist() == [0, -40 * US, -5 * US, 10 * US]
    assert host.own_ns.tolist() == [50 * US, 0, 20 * US, 2 * US]
    assert without_delays(assembled(activities, calls)) == [10 + LATENCY, 45 + LATENCY, 80 + LATENCY]


# The whole ----------------------------------------------------------------------------------------


def test_fidelity_is_the_replayed_step_over_the_recorded_one() -> None:
    """The second and third kernel start 15 and 30 µs late: steps of 115 µs, which take 100 without that."""
    calls = launches(0, 100, 200)
    activities = [kernel(row, 100 * row + start, 100 * row + 90) for row, start in ((0, 5), (1, 20), (2, 35))]
    marks = [Host(f"ProfilerStep#{row}", 100 * row * US, (100 * row + 100) * US, MAIN) for row in range(3)]
    found = report(assembled(activities, calls, marks=marks)).replay
    assert found is not None
    assert found.fidelity_fraction == pytest.approx((230 - 30) / 230)
    assert found.unexplained_fraction == pytest.approx(15 / 230)
    assert not found.usable


def test_what_lives_in_graphs_is_not_usable() -> None:
    calls = [Host("cudaGraphLaunch", 100 * row * US, (100 * row + 2) * US) for row in range(3)]
    activities = [kernel(row, 100 * row + 5, 100 * row + 90) for row in range(3)]
    marks = [Host(f"ProfilerStep#{row}", 100 * row * US, (100 * row + 100) * US, MAIN) for row in range(3)]
    assert report(assembled(activities, calls, marks=marks)).replay == ReplayInfo(1.0, 0.0, usable=False)


def test_a_report_without_device_work_has_no_replay() -> None:
    drawn = timeline(device=None, ops={"aten::mm": "aaaaabbbbb"}, step="0000011111")
    assert report(drawn).partition is not None and report(drawn).replay is None


def test_json_has_the_replay_that_was_promised() -> None:
    drawn = timeline(compute="..aa..bb..", launch="a...b.....", step="0000111111")
    content = json.loads(render_json([report(drawn)]))
    assert set(content["replay"]) == {"fidelity_fraction", "unexplained_fraction", "usable"}


@real_traces
def test_a_real_trace_replayed_with_its_delays_is_itself(name: str) -> None:
    drawn = real_timeline(name)
    graph = graph_of(drawn)
    assert (graph.delay_ns >= 0).all()
    assert np.array_equal(replayed_starts(graph, keeps_delays=True), drawn.activities.start_ns)


@real_traces
def test_a_real_trace_replayed_without_delays_is_within_3_percent(name: str) -> None:
    found = real_report(name).replay
    if found is None:
        assert name == "hta_cpu_only"
    elif name == "hta_cudagraph_a100":
        assert not found.usable
    else:
        print(f"{name}: {found.fidelity_fraction:.4f}, unexplained {found.unexplained_fraction:.2%}")
        assert found.usable and found.fidelity_fraction == pytest.approx(1, abs=0.03)
