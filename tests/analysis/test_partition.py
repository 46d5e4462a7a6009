"""Every instant belongs to exactly one class: one picture per sentence of design.md, section 5."""

from __future__ import annotations

import pytest

from mfu_profiler.analysis.attribution import attribution
from mfu_profiler.analysis.work import device_work
from mfu_profiler.flops import has_formula
from mfu_profiler.trace.timeline import MEMSET

from .pictures import (
    MAIN,
    US,
    Activity,
    Host,
    Thread,
    assembled,
    kinds_of,
    partition,
    report,
    timeline,
)


def test_an_instant_with_a_kernel_is_compute_whatever_else_runs() -> None:
    drawn = timeline(
        compute="      ####......",
        communication="..####....",
        copy="         ....####..",
    )
    assert partition(drawn, 0, 10) == {"compute": 4, "communication": 2, "copy": 2, "idle_host": 2}


def test_communication_hidden_under_compute_is_not_exposed() -> None:
    drawn = timeline(
        compute="######..",
        communication="....##.#",
    )
    assert partition(drawn, 0, 8) == {"compute": 6, "communication": 1, "idle_unexplained": 1}


def test_a_copy_under_a_collective_is_communication() -> None:
    drawn = timeline(communication="####", copy="..####")
    assert partition(drawn, 0, 6) == {"communication": 4, "copy": 2}


def test_concurrent_kernels_share_an_instant_equally_and_sum_to_compute() -> None:
    drawn = timeline(
        compute="######....",
        second_stream="...####...",
    )
    edges = assembled([Activity("window", 0, 10 * US)]).activities
    work = device_work(
        drawn, kinds_of(drawn), attribution(drawn, has_formula), (edges.start_ns, edges.end_ns)
    )
    assert work.share_ns.tolist() == [3 * US + 3 * US / 2, 3 * US / 2 + US]
    assert partition(drawn, 0, 10)["compute"] == 7


def test_kernels_that_overlap_on_one_stream_count_once() -> None:
    """Real traces have kernels of one stream that overlap by up to 13 µs."""
    drawn = assembled([Activity("a", 0, 5 * US), Activity("b", 3 * US, 8 * US)])
    assert partition(drawn, 0, 8) == {"compute": 8}


def test_a_kernel_that_reaches_over_the_edge_counts_inside_only() -> None:
    assert partition(timeline(compute="########"), 2, 5) == {"compute": 3}


def test_launch_latency_begins_when_the_launch_call_returns() -> None:
    drawn = timeline(
        launch=" ...bb......",
        compute="##......bbb",
    )
    assert partition(drawn, 0, 11) == {"compute": 5, "idle_host": 5 - 2, "idle_launch": 3}


def test_a_kernel_that_starts_before_its_launch_returns_has_no_latency() -> None:
    """Kernels that start before their launch by a few µs exist too: clocks are matched to about 1 µs."""
    drawn = timeline(
        launch=" ...bbbb",
        compute="##...bb",
    )
    assert partition(drawn, 0, 7) == {"compute": 4, "idle_host": 3}
    early = timeline(launch="......b", compute="##...bb")
    assert partition(early, 0, 7) == {"compute": 4, "idle_host": 3}


def test_a_wait_of_more_than_50_us_after_the_launch_is_unexplained() -> None:
    drawn = timeline(
        launch=" ..b",
        compute="#.." + "." * 51 + "b",
    )
    assert partition(drawn, 0, 55) == {"compute": 2, "idle_host": 2, "idle_unexplained": 51}
    drawn = timeline(launch="..b", compute="#.." + "." * 50 + "b")
    assert partition(drawn, 0, 54) == {"compute": 2, "idle_host": 2, "idle_launch": 50}


def test_a_kernel_queued_long_ago_leaves_a_gap_that_launch_latency_does_not_explain() -> None:
    """Launch to start is 66 µs, of which the device idled 3: it waited for something else."""
    drawn = timeline(
        launch=" ab",
        compute="." * 5 + "a" * 61 + "...b",
    )
    assert partition(drawn, 5, 70) == {"compute": 62, "idle_unexplained": 3}


def test_waits_inside_a_graph_are_unexplained() -> None:
    drawn = timeline(
        graph="  ..g",
        compute="#......gg.gg",
    )
    assert partition(drawn, 0, 12) == {"compute": 5, "idle_host": 2, "idle_unexplained": 4 + 1}


def test_a_gap_that_ends_with_an_activity_without_launch_record_is_unexplained() -> None:
    drawn = timeline(
        next="   ..nnn",
        compute="##......##",
    )
    assert partition(drawn, 0, 10) == {"compute": 4, "idle_unexplained": 6}


def test_idle_while_the_launching_thread_is_in_the_loader_is_data_loading() -> None:
    drawn = timeline(
        next="   ...nnn....",
        launch=" .........b",
        compute="##........bb",
    )
    assert partition(drawn, 0, 12) == {"compute": 4, "idle_data_loading": 3, "idle_host": 8 - 3}


@pytest.mark.parametrize(
    "name", ["mfu_profiler.data", "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"]
)
def test_the_users_own_data_span_counts_like_the_loader(name: str) -> None:
    drawn = timeline(
        marks={name: " ..nnn"},
        launch=" ......b",
        compute="##.....bb",
    )
    assert partition(drawn, 0, 9)["idle_data_loading"] == 3


def test_a_loader_on_another_thread_than_the_launching_one_does_not_count() -> None:
    drawn = timeline(
        launch=" ......b",
        autograd=Thread(next="..nnn"),
        compute="##.....bb",
    )
    assert partition(drawn, 0, 9) == {"compute": 4, "idle_host": 5}


def test_data_loading_hidden_behind_device_work_costs_nothing() -> None:
    drawn = timeline(
        next="   .nnnnnn",
        launch=" .......b",
        compute="########bb",
    )
    assert partition(drawn, 0, 10) == {"compute": 10}


def test_a_host_sync_costs_nothing_while_the_device_computes() -> None:
    drawn = timeline(
        sync="   .ssss.",
        launch=" a.....b",
        compute=".aaaaaaabb",
    )
    assert partition(drawn, 1, 10) == {"compute": 9}


def test_a_gap_that_began_while_the_host_was_blocked_is_synchronization_refill_included() -> None:
    drawn = timeline(
        sync="   .ssss......",
        launch=" a........b",
        compute=".aaa......bb",
    )
    assert partition(drawn, 1, 12) == {"compute": 5, "idle_synchronization": 6}


def test_a_sync_that_begins_after_the_device_drained_is_no_synchronization() -> None:
    drawn = timeline(
        sync="   .....ss",
        launch=" a.......b",
        compute=".aaa.....bb",
    )
    assert partition(drawn, 1, 11) == {"compute": 5, "idle_host": 5}


def test_data_loading_inside_the_refill_of_a_sync_is_data_loading() -> None:
    drawn = timeline(
        sync="   .ssss.......",
        next="   ......nn....",
        launch=" a........b...",
        compute=".aaa......bb",
    )
    assert partition(drawn, 1, 12) == {"compute": 5, "idle_synchronization": 4, "idle_data_loading": 2}


@pytest.mark.parametrize("name", ["aten::item", "aten::_local_scalar_dense", "aten::nonzero"])
def test_an_op_that_reads_a_value_back_blocks_like_a_sync(name: str) -> None:
    """``loss.item()`` between two steps is a synchronization, and never data loading."""
    drawn = timeline(
        ops={name: " .iiii"},
        launch=" a......b",
        compute=".aaa....bb",
    )
    assert partition(drawn, 1, 10) == {"compute": 5, "idle_synchronization": 4}


def test_a_blocking_copy_call_blocks() -> None:
    drawn = timeline(
        blocking_copy=" .cccc",
        launch=" a........b",
        compute=".aaa......bb",
    )
    assert partition(drawn, 1, 12) == {"compute": 5, "idle_synchronization": 6}


def test_an_asynchronous_copy_blocks_if_its_memory_is_pageable() -> None:
    rows = {
        "calls": {"cudaMemcpyAsync": " .cccc"},
        "launch": " a........b",
        "compute": ".aa.......bb",
        "copy": "  ...ccc",
    }
    drawn = timeline(**rows, names={"c": "Memcpy HtoD (Pageable -> Device)"})  # type: ignore[arg-type]
    pinned = timeline(**rows, names={"c": "Memcpy HtoD (Pinned -> Device)"})  # type: ignore[arg-type]
    assert partition(pinned, 3, 12) == {"copy": 3, "idle_host": 4, "compute": 2}
    assert partition(drawn, 3, 12) == partition(pinned, 3, 12)  # the gap began after the copy call returned
    rows["calls"] = {"cudaMemcpyAsync": " .ccccccccc"}
    drawn = timeline(**rows, names={"c": "Memcpy HtoD (Pageable -> Device)"})  # type: ignore[arg-type]
    assert partition(drawn, 3, 12) == {"copy": 3, "idle_synchronization": 4, "compute": 2}


def test_a_sync_on_a_thread_that_launches_nothing_does_not_count() -> None:
    drawn = timeline(
        launch=" a......b",
        autograd=Thread(sync=".ssssss"),
        compute=".aaa....bb",
    )
    assert partition(drawn, 1, 10) == {"compute": 5, "idle_host": 4}


def test_everything_else_before_the_launch_is_host_bound() -> None:
    drawn = timeline(
        launch=" a......b",
        ops={"aten::relu": "....rr"},
        compute=".aaa....bb",
    )
    assert partition(drawn, 1, 10) == {"compute": 5, "idle_host": 4}


def test_zero_length_activities_end_no_gap() -> None:
    launches = [Host("cudaLaunchKernel", 4 * US, 5 * US, MAIN)]
    drawn = assembled(
        [
            Activity("a", 0, 2 * US),
            Activity("empty", 6 * US, 6 * US),
            Activity("b", 6 * US, 8 * US, call=0),
        ],
        launches,
    )
    assert partition(drawn, 0, 8) == {"compute": 4, "idle_host": 3, "idle_launch": 1}


def test_the_gap_after_the_last_activity_is_judged_on_the_main_thread() -> None:
    drawn = timeline(
        step="   00000000",
        next="   ....nn",
        launch=" a",
        compute=".aa",
    )
    assert partition(drawn, 1, 8) == {"compute": 2, "idle_data_loading": 2, "idle_host": 3}


def test_exposed_copies_are_told_apart_by_direction() -> None:
    drawn = assembled(
        [
            Activity("k", 0, 2 * US),
            Activity("Memcpy HtoD (Pinned -> Device)", 2 * US, 5 * US, stream=1, kind=1),
            Activity("Memcpy DtoH (Device -> Pinned)", 4 * US, 7 * US, stream=2, kind=1),
            Activity("Memcpy DtoD (Device -> Device)", 7 * US, 8 * US, stream=1, kind=1),
            Activity("Memset (Device)", 8 * US, 10 * US, stream=1, kind=MEMSET),
        ]
    )
    assert report(drawn).copy_by_direction == {
        "host to device": 0.3,
        "device to host": 0.2,
        "device to device": 0.1,
        "memset and other": 0.2,
    }


def test_a_launch_call_that_blocks_on_a_full_queue_while_the_device_works_is_no_loss() -> None:
    drawn = timeline(
        launch=" abbbbbbbb",
        compute=".aaaaaaaaabb",
    )
    assert partition(drawn, 1, 12) == {"compute": 11}
    assert report(drawn).host_idle == ()
