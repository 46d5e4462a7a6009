"""One run in every dialect that traces are written in gives one report (shared/traps.md, "Traces")."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.analysis import Report, analyze, analyze_all

Event = dict[str, Any]

LOADER = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"
STEP_US = 1000


def event(cat: str, name: str, ts: int, dur: int, tid: Any = 11, pid: Any = 10, **args: Any) -> Event:
    return {"ph": "X", "cat": cat, "name": name, "pid": pid, "tid": tid, "ts": ts, "dur": dur, "args": args}


def run(steps: int = 3) -> list[Event]:
    """Each step: loader, a copy, a product, a collective, an optimizer kernel; 1 ms."""
    events = []
    for k in range(steps):
        at, ids = k * STEP_US, 100 + 10 * k
        events += [
            event("user_annotation", f"ProfilerStep#{k}", at, STEP_US),
            event("user_annotation", LOADER, at + 5, 200),
            event("user_annotation", "Optimizer.step#SGD.step", at + 300, 50),
            event(
                "cpu_op",
                "aten::mm",
                at + 220,
                40,
                **{
                    "External id": ids,
                    "Input Dims": [[1000, 1000], [1000, 1000]],
                    "Input type": ["float", "float"],
                },
            ),
            event("cpu_op", "c10d::allreduce_", at + 265, 20, **{"External id": ids + 1}),
            event("cpu_op", "aten::_foreach_add_", at + 310, 20, **{"External id": ids + 3}),
            event("cuda_runtime", "cudaLaunchKernel", at + 230, 10, correlation=ids),
            event("cuda_runtime", "cudaLaunchKernel", at + 270, 10, correlation=ids + 1),
            event("cuda_runtime", "cudaMemcpyAsync", at + 210, 5, correlation=ids + 2),
            event("cuda_runtime", "cudaLaunchKernel", at + 315, 10, correlation=ids + 3),
            device_event("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", at + 220, 20, ids + 2, bytes=4096),
            device_event("kernel", "volta_sgemm_128x64_nn", at + 245, 300, ids),
            device_event(
                "kernel", "ncclKernel_AllReduce_RING_LL_Sum_float", at + 500, 100, ids + 1, stream=20
            ),
            device_event("kernel", "multi_tensor_apply_kernel", at + 610, 30, ids + 3),
        ]
    return events  # fmt: skip


def device_event(
    cat: str, name: str, ts: int, dur: int, correlation: int, stream: int = 7, **args: Any
) -> Event:
    args |= {"correlation": correlation, "stream": stream, "device": 0, "External id": correlation}
    return event(cat, name, ts, dur, tid=stream, pid=0, **args)


V100 = {"id": 0, "name": "Tesla V100-SXM2-32GB", "computeMajor": 7, "computeMinor": 0, "numSms": 80}


def trace(events: list[Event]) -> dict[str, Any]:
    return {"schemaVersion": 1, "deviceProperties": [V100], "traceEvents": events}


def written(content: Any, folder: Path) -> Path:
    path = folder / "trace.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def essence(report: Report) -> dict[str, Any]:
    """What a report says of the run, apart from how it was written down."""
    said = asdict(report)
    for name in ("trace", "checks", "device"):
        del said[name]
    for window in said["windows"]:
        del window["start_ns"]
    for row in said["ops"]:
        row["shapes"] = row["shapes"].replace(" ", "")
    return said


NAMES_2021 = {
    "cpu_op": "Operator", "kernel": "Kernel", "gpu_memcpy": "Memcpy", "cuda_runtime": "Runtime",
    "user_annotation": "Operator",
}  # fmt: skip


def categories_of_2021(events: list[Event]) -> Any:
    return trace([one | {"cat": NAMES_2021[one["cat"]]} for one in events])


def arguments_of_2020(events: list[Event]) -> Any:
    lower = {"External id": "external id", "Input Dims": "Input dims"}
    return trace(
        [one | {"args": {lower.get(key, key): value for key, value in one["args"].items()}} for one in events]
    )


def ids_as_text(events: list[Event]) -> Any:
    def text(one: Event) -> Event:
        on_device = "stream" in one["args"]
        return one | {"pid": str(one["pid"]), "tid": f"stream {one['tid']}" if on_device else str(one["tid"])}

    return trace([text(one) for one in events])


def epoch_microseconds(events: list[Event]) -> Any:
    return trace([one | {"ts": one["ts"] + 1_623_143_089_861_000} for one in events])


def epoch_with_ns_fractions(events: list[Event]) -> Any:
    """A float64 would round each stamp to 0.25 µs."""
    whole = json.dumps(trace([one | {"ts": f"@{one['ts'] + 1_712_195_495_519_689}.053@"} for one in events]))
    return whole.replace('"@', "").replace('@"', "")


def relative_to_a_base(events: list[Event]) -> Any:
    return trace([one | {"ts": one["ts"] + 2_345_678_901.25} for one in events]) | {
        "baseTimeNanoseconds": 1_700_000_000_000_000_000
    }


def external_ids_that_name_no_op(events: list[Event]) -> Any:
    """In 4 of 10 real traces the External id equals the correlation id."""
    changed = copy.deepcopy(events)
    for one in changed:
        if one["cat"] == "cpu_op":
            one["args"]["External id"] += 5000
    return trace(changed)


def with_events_that_are_no_work(events: list[Event]) -> Any:
    more = [
        event("gpu_user_annotation", f"ProfilerStep#{k}", k * STEP_US + 220, 900, tid=7, pid=0)
        for k in range(3)
    ]
    more += [
        event("cuda_sync", "Stream Sync", 700, 250, tid=7, pid=0, stream=7, device=0),
        event("overhead", "CUPTI Buffer Flush", 650, 90, tid=0, pid=-1),
        event("ac2g", "ac2g", 245, 0),
        event("Trace", "PyTorch Profiler (0)", 0, 99_999, tid="Spans", pid="Spans"),
        {"ph": "M", "name": "process_name", "pid": 10, "ts": 0, "args": {"name": "python"}},
        {"ph": "i", "s": "g", "name": "Record Window End", "pid": "", "tid": "", "ts": 3500},
    ]
    return trace([*events, *more])


def a_bare_array(events: list[Event]) -> Any:
    return events  # without device properties


def indented_without_schema(events: list[Event]) -> Any:
    return json.dumps({"deviceProperties": [V100], "traceEvents": events}, indent=4)


def unordered(events: list[Event]) -> Any:
    return trace(events[::-1])


DIALECTS: list[Callable[[list[Event]], Any]] = [
    categories_of_2021,
    arguments_of_2020,
    ids_as_text,
    epoch_microseconds,
    epoch_with_ns_fractions,
    relative_to_a_base,
    external_ids_that_name_no_op,
    with_events_that_are_no_work,
    indented_without_schema,
    unordered,
]


def test_the_run_has_the_numbers_that_were_drawn(tmp_path: Path) -> None:
    """Between the copy, the product and the collective the device idles; the loader takes 200 µs of it."""
    report = analyze(written(trace(run()), tmp_path))
    window = report.windows[0]
    assert [one.label for one in report.windows] == ["ProfilerStep#0", "ProfilerStep#1"]
    assert window.duration_ns == 1_000_000 and window.compute_ns == 330_000
    assert window.communication_ns == 55_000 and window.copy_ns == 20_000  # 45 µs hidden by the product
    assert window.idle_data_loading_ns == 200_000
    assert report.flop.model_per_step == 2e9
    assert report.mfu == pytest.approx(2e9 / 1e-3 / 15.7e12, rel=0.01)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.__name__)
def test_every_dialect_gives_the_same_report(dialect: Callable[[list[Event]], Any], tmp_path: Path) -> None:
    expected = essence(analyze(written(trace(run()), tmp_path)))
    assert essence(analyze(written(dialect(run()), tmp_path))) == expected


def test_a_bare_array_lacks_the_device_but_not_the_times(tmp_path: Path) -> None:
    expected, found = (
        analyze(written(trace(run()), tmp_path)),
        analyze(written(a_bare_array(run()), tmp_path)),
    )
    assert found.mfu is None and found.device.name is None
    assert found.partition == expected.partition and found.flop == expected.flop


def test_a_compressed_trace_gives_the_same_report(tmp_path: Path) -> None:
    plain = written(trace(run()), tmp_path)
    packed = tmp_path / "packed.json.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert essence(analyze(packed)) == essence(analyze(plain))


def test_ranks_merged_into_one_file_keep_their_own_launches(tmp_path: Path) -> None:
    """Both repeat all correlation ids; the second starts 2 s later and loads no data."""
    first = run()
    second = [copy.deepcopy(one) for one in run() if one["name"] != LOADER]
    for one in second:
        one["pid"] += 1000
        one["ts"] += 2_000_000
    alone, merged = (
        analyze(written(trace(first), tmp_path)),
        analyze_all(written(trace(first + second), tmp_path)),
    )
    assert len(merged) == 2
    assert merged[0].partition == alone.partition
    assert merged[1].step_times_s == alone.step_times_s
    assert merged[1].partition is not None and merged[1].partition.idle_data_loading == 0


@pytest.mark.parametrize("duration", [1.8e16, -5.0])
def test_impossible_durations_are_left_out_and_said(duration: float, tmp_path: Path) -> None:
    """ROCm's duration overflows."""
    wild = device_event("kernel", "k", 900, 0, 999) | {"dur": duration}
    expected = analyze(written(trace(run()), tmp_path))
    found = analyze(written(trace([*run(), wild]), tmp_path))
    assert found.partition == expected.partition
    assert [check.name for check in found.checks if not check.ok] == ["no dropped events"]


def test_kernels_far_before_their_launch_are_said(tmp_path: Path) -> None:
    events = run()
    for one in events:
        if one["name"] == "cudaLaunchKernel" and one["ts"] % STEP_US == 230:
            one["ts"] += 20
    failed = [check for check in analyze(written(trace(events), tmp_path)).checks if not check.ok]
    assert [check.name for check in failed] == ["launch before start"]


def exposed_collectives() -> list[dict[str, Any]]:
    events = run()
    for one in events:
        if one["name"].startswith("nccl"):
            one["ts"], one["dur"] = one["ts"] + 50, 300
    return events


def test_a_collectives_time_includes_waiting_and_its_finding_says_so(shared_dir: Path) -> None:
    found = analyze(shared_dir / "traces" / "hta_control_a100_nccl.json.gz").findings
    (finding,) = (one for one in found if one.code.startswith("communication"))
    assert any("waiting for the slowest rank" in line for line in finding.evidence)


def test_collectives_that_nothing_waits_for_are_no_finding(tmp_path: Path) -> None:
    """The host launches the next step at its own pace, whether the collective is done or not."""
    found = analyze(written(trace(exposed_collectives()), tmp_path))
    assert found.partition is not None and found.partition.communication > 0.1
    assert not [one for one in found.findings if one.code.startswith("communication")]
