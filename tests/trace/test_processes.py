"""Ranks and devices that share a file are told apart, and each activity finds the call that launched it."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.analysis import analyze_all
from mfu_profiler.trace.reader import read_trace
from mfu_profiler.trace.timeline import Timeline
from tests.trace.make import Layout, event, kernel, launch, mark, op, rows, steps, write_trace


def read(folder: Path, events: list[Any], members: dict[str, Any] | None = None) -> tuple[Timeline, ...]:
    return read_trace(write_trace(folder, events, Layout(), members))


def launch_starts(timeline: Timeline) -> list[int | None]:
    """Start of the call behind each activity, in the order of the activities."""
    activities, calls = timeline.activities, timeline.calls
    return [
        int(calls.start_ns[call]) if has else None
        for call, has in zip(activities.call, activities.has_call, strict=True)
    ]


def test_an_activity_joins_the_call_with_its_correlation_id(tmp_path: Path) -> None:
    events = [launch(5, 10), launch("6", 20), kernel("5", 100, 9), kernel(6, 90, 9), kernel(7, 200, 9)]
    (timeline,) = read(tmp_path, events)
    assert launch_starts(timeline) == [20, 10, None]


def test_a_runtime_call_wins_over_the_driver_call_inside_it(tmp_path: Path) -> None:
    driver = event("cuda_driver", "cuLaunchKernel", 12, 2, args={"correlation": 5})
    (timeline,) = read(tmp_path, [driver, launch(5, 10, 9), kernel(5, 100, 9)])
    assert launch_starts(timeline) == [10]


def test_kernels_of_one_graph_launch_share_its_call(tmp_path: Path) -> None:
    graph = launch(5, 10, name="cudaGraphLaunch")
    (timeline,) = read(tmp_path, [graph, *(kernel(5, 100 + 10 * number, 9) for number in range(4))])
    assert launch_starts(timeline) == [10] * 4


def test_correlation_zero_is_none(tmp_path: Path) -> None:
    (timeline,) = read(tmp_path, [launch(0, 10), kernel(0, 100, 9)])
    assert launch_starts(timeline) == [None]


def test_ids_beyond_64_bits_join_and_stay_apart(tmp_path: Path) -> None:
    ids = [2**63, 2**64 - 1, 2**64 + 5, 2**80 + 7]
    launches = [launch(number, 10 * place) for place, number in enumerate(ids)]
    kernels = [kernel(str(number), 100 + 10 * place, 9) for place, number in enumerate(ids)]
    (timeline,) = read(tmp_path, launches + kernels)
    assert launch_starts(timeline) == [0, 10, 20, 30]


@pytest.mark.parametrize("odd", ["x", "", "0x1f", 1.0e300, -1.5, [1], None, True])
def test_an_id_that_is_no_number_joins_nothing(tmp_path: Path, odd: Any) -> None:
    (timeline,) = read(tmp_path, [launch(odd, 10), launch(8, 20), kernel(8, 100, 9), kernel(9, 110, 9)])
    assert launch_starts(timeline) == [20, None]


def test_two_devices_of_one_process_are_two_timelines_with_one_host(tmp_path: Path) -> None:
    events = [op("aten::mm", 0, 50), launch(1, 10), launch(2, 20)]
    events += [kernel(1, 100, 9, device=0), kernel(2, 120, 9, device=1)]
    properties = [{"id": 0, "name": "NVIDIA A100"}, {"id": 1, "name": "NVIDIA H100"}]
    first, second = read(tmp_path, events, {"deviceProperties": properties})
    assert (first.device_index, second.device_index) == (0, 1)
    assert first.device is not None and first.device.name == "NVIDIA A100"
    assert second.device is not None and second.device.name == "NVIDIA H100"
    assert launch_starts(first) == [10] and launch_starts(second) == [20]
    assert len(first.ops) == len(second.ops) == 1


def test_two_devices_are_reported_each(tmp_path: Path) -> None:
    events = steps(4) + [one | {"pid": 1} for one in steps(4, device=1)[3::4]]
    assert len(analyze_all(write_trace(tmp_path, events))) == 2


def test_merged_ranks_with_colliding_ids_are_told_apart(tmp_path: Path) -> None:
    events = steps(4, pid=10, device=0) + steps(4, start_ns=700_000, pid=20, device=1)
    one, two = read(tmp_path, events, {"distributedInfo": {"rank": 3, "world_size": 2}})
    assert [timeline.device_index for timeline in (one, two)] == [0, 1]
    assert launch_starts(one) == [20_000 + 1_000_000 * step for step in range(4)]
    assert launch_starts(two) == [720_000 + 1_000_000 * step for step in range(4)]
    assert one.rank is two.rank is None and one.world_size == 2


def test_a_second_pid_without_ops_is_the_same_process(tmp_path: Path) -> None:
    events = [op("aten::mm", 0, 50, pid=10), launch(1, 10, pid=999), kernel(1, 100, 9), mark("m", 0, 9)]
    (timeline,) = read(tmp_path, events)
    assert len(timeline.calls) == len(timeline.ops) == len(timeline.marks) == 1
    assert launch_starts(timeline) == [10]


def test_a_merged_rank_whose_kernels_are_missing_is_still_there(tmp_path: Path) -> None:
    events = steps(3, pid=10) + [one for one in steps(3, pid=20) if one["cat"] != "kernel"]
    with_device, without = read(tmp_path, events)
    assert len(with_device.activities) == 3 and len(without.activities) == 0
    assert with_device.device_index == 0 and without.device_index is None


@pytest.mark.parametrize(
    ("job", "ranks"), [("modded_nanogpt_8xh100", (0, 7)), ("megatron_tp8_a100", (2, 3, 5))]
)
def test_real_ranks_merged_in_one_file_are_partitioned_as_apart(
    shared_dir: Path, tmp_path: Path, job: str, ranks: tuple[int, ...]
) -> None:
    paths = [shared_dir / "traces" / job / f"rank{rank}.json.gz" for rank in ranks]
    merged: list[Any] = []
    for place, path in enumerate(paths):
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
        for one in events:
            if isinstance(one.get("pid"), int):
                one["pid"] += 1_000_000 * place
        merged += events
    file = tmp_path / "merged.json"
    file.write_text(json.dumps({"traceEvents": merged}))
    apart = [read_trace(path)[0] for path in paths]
    together = read_trace(file)
    assert [timeline.device_index for timeline in together] == list(ranks)
    for one, other in zip(apart, together, strict=True):
        assert [row[:3] for row in rows((one,))] == [row[:3] for row in rows((other,))]
        assert launch_starts(one) == launch_starts(other)
    partitions = [report.partition for report in analyze_all(file)]
    assert partitions == [analyze_all(path)[0].partition for path in paths]
