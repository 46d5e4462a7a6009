"""What CUDA, ROCm, XPU and old profilers write differently comes to the same columns."""

from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.trace.reader import read_trace
from mfu_profiler.trace.timeline import Timeline
from tests.trace.make import Layout, event, kernel, launch, mark, op, write_trace


def read(folder: Path, events: list[Any], members: dict[str, Any] | None = None) -> Timeline:
    (timeline,) = read_trace(write_trace(folder, events, Layout(), members))
    return timeline


def names(timeline: Timeline, table: str) -> list[str]:
    return [timeline.names[name] for name in getattr(timeline, table).name]


def test_the_2020_format_reads_like_todays(tmp_path: Path) -> None:
    arguments = {"Input dims": [[2, 3], [3, 4]], "external id": "17"}
    old = [
        event("Operator", "aten::mm", 0, 9_000, pid="25738", tid="25738", args=arguments),
        event("Runtime", "cudaLaunchKernel", 2_000, 1_000, pid="25738", tid="140", args={"correlation": "5"}),
        event("Kernel", "volta_sgemm", 9_000, 50_000, pid=0, tid="stream 7", args={"correlation": 5}),
        event("Memcpy", "Memcpy HtoD", 1_000, 9_000, pid="0", tid="stream 7", args={"bytes": 64}),
        event("Memset", "Memset (Device)", 1_500, 9_000, pid=0, tid="stream 13", args={}),
        event("Operator", "ProfilerStep#3", 0, 90_000, pid=25738, tid=25738),
    ]
    timeline = read(tmp_path, old)
    assert names(timeline, "ops") == ["aten::mm"] and names(timeline, "marks") == ["ProfilerStep#3"]
    assert timeline.signatures[timeline.ops.signature[0]].dims == b"[[2,3],[3,4]]"
    assert timeline.ops.external_id.tolist() == [17]
    assert (
        timeline.threads[timeline.ops.thread[0]]
        == timeline.threads[timeline.marks.thread[0]]
        == "25738/25738"
    )
    assert timeline.device_index == 0
    assert sorted(timeline.streams) == ["13", "7"]
    assert timeline.activities.kind.tolist() == [1, 2, 0]
    assert timeline.activities.has_call.tolist() == [False, False, True]
    assert timeline.activities.byte.tolist() == [64, 0, 0]


@pytest.mark.parametrize("mark_name", ["enumerate(DataLoader)#_Iter.__next__", "Optimizer.step#SGD.step"])
def test_marks_written_as_operators_become_marks(tmp_path: Path, mark_name: str) -> None:
    timeline = read(tmp_path, [op(mark_name, 0, 9), op("aten::mm", 10, 9)])
    assert names(timeline, "marks") == [mark_name] and names(timeline, "ops") == ["aten::mm"]


def test_rocm_has_stream_0_and_hip_calls(tmp_path: Path) -> None:
    launches = [launch(1, 10, name="hipExtModuleLaunchKernel"), launch(2, 20, name="hipMemcpyWithStream")]
    copy = kernel(2, 120, 9, name="CopyDeviceToHost", stream=0, category="gpu_memcpy")
    timeline = read(tmp_path, [*launches, kernel(1, 100, 9, stream=0), copy])
    assert timeline.facts.is_rocm
    assert timeline.streams == ("0",)
    assert timeline.activities.has_call.tolist() == [True, True]


def test_xpu_calls_launch_xpu_kernels(tmp_path: Path) -> None:
    call = event("xpu_runtime", "urEnqueueKernelLaunch", 10, 5, args={"correlation": 3})
    ran = event("kernel", "gemm_kernel", 100, 9, pid=0, tid=1, args={"device": 0, "correlation": 3})
    timeline = read(tmp_path, [call, ran])
    assert timeline.activities.has_call.tolist() == [True] and timeline.streams == ("1",)
    assert not timeline.facts.is_rocm


def test_a_cpu_trace_has_a_host_and_no_device(tmp_path: Path) -> None:
    timeline = read(tmp_path, [op("aten::mm", 0, 9), mark("ProfilerStep#0", 0, 20)], {"deviceProperties": []})
    assert timeline.device_index is None and timeline.device is None
    assert len(timeline.activities) == 0 and len(timeline.ops) == 1


def test_events_that_repeat_others_are_counted_and_left_out(tmp_path: Path) -> None:
    repeated = [
        event(category, "x", 0, 9) for category in ("gpu_user_annotation", "cuda_sync", "overhead", "?")
    ]
    timeline = read(tmp_path, [*repeated, {"ph": "M", "name": "process_name"}, op("aten::mm", 0, 9)])
    assert timeline.facts.categories == dict.fromkeys(
        ("gpu_user_annotation", "cuda_sync", "overhead", "?", "M", "cpu_op"), 1
    )
    assert timeline.end_ns == 9 and timeline.facts.event_count == 6


def test_python_functions_are_bare_columns(tmp_path: Path) -> None:
    timeline = read(tmp_path, [event("python_function", "train.py(3): step", 5, 9, args={"Python id": 1})])
    assert names(timeline, "python") == ["train.py(3): step"] and timeline.facts.recorded_stacks


def test_events_without_start_or_with_impossible_durations_are_dropped_and_counted(tmp_path: Path) -> None:
    events: list[Any] = [op("good", 0, 9), op("negative", 5, -3), op("overflow", 5, 2 * 86_400 * 10**9)]
    events += [op("no start", 0, 9), op("no name", 0, 9), op("no duration", 0, 9), op("far", 10**22, 9)]
    for one, missing in zip(events[3:6], ("ts", "name", "dur"), strict=True):
        del one[missing]
    timeline = read(tmp_path, events)
    assert names(timeline, "ops") == ["good"]
    assert timeline.facts.dropped == {
        "negative duration": 1,
        "impossible duration": 1,
        "without start, duration or name": 4,
    }


@pytest.mark.parametrize(
    "properties",
    [5, "x", None, {}, [1], [None], [{}], [{"name": []}, {"name": {}}], [{"id": "x", "numSms": 1e400}]],
    ids=repr,
)
def test_odd_device_properties_are_no_error(tmp_path: Path, properties: Any) -> None:
    device = read(tmp_path, [kernel(1, 0, 9)], {"deviceProperties": properties}).device
    assert device is None or device.name is None


def test_a_device_of_another_id_is_taken_where_all_are_alike(tmp_path: Path) -> None:
    properties = [{"id": number, "name": "NVIDIA H100", "numSms": 132} for number in (4, 5)]
    timeline = read(tmp_path, [kernel(1, 0, 9, device=0)], {"deviceProperties": properties})
    assert timeline.device is not None and timeline.device.name == "NVIDIA H100"
