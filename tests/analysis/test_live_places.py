"""Stack samples name the source line of waits and ops, and never of what they do not fall into."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfu_profiler.analysis import Report
from mfu_profiler.analysis.report import Finding
from tests.trace.make import event, kernel, launch, mark, op

from .live import CPU, Json, cpu_events, cpu_report, gpu_events, live_part, live_report, stacks_part

STEP = "/home/me/run/train.py(42): train_step"
MAIN = "/home/me/run/train.py(90): main"
LOSS = "/home/me/run/loss.py(7): log_loss"
TORCH = "/usr/lib/python3.12/site-packages/torch/nn/modules/module.py(1776): _call_impl"
LOADER = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"


def sampled(folder: Path, samples: dict[int, list[str]], events: list[Json], thread: str = "10") -> Report:
    return live_report(folder, live_part(stacks=stacks_part(samples, thread)), events)


def finding(found: Report, code: str) -> Finding:
    (one,) = [one for one in found.findings if one.code == code]
    return one


def test_host_bound_time_names_where_the_host_was(tmp_path: Path) -> None:
    """Idle from 540 to 1,025 µs of each step; the innermost frame outside of libraries is the user's."""
    found = sampled(tmp_path, {700: [TORCH, STEP, MAIN], 1_700: [STEP, MAIN], 2_700: [MAIN]}, gpu_events())
    assert "mostly at train.py:42 in train_step" in finding(found, "host_bound").evidence


def test_a_sample_outside_of_the_wait_names_nothing(tmp_path: Path) -> None:
    """At 300 µs the device computes."""
    found = sampled(tmp_path, {300: [STEP], 1_300: [STEP]}, gpu_events())
    assert not [line for line in finding(found, "host_bound").evidence if "train.py" in line]


def test_samples_of_libraries_alone_name_nothing(tmp_path: Path) -> None:
    found = sampled(tmp_path, {700: [TORCH], 1_700: [TORCH]}, gpu_events())
    assert not [line for line in finding(found, "host_bound").evidence if "mostly at" in line]


@pytest.mark.parametrize(
    "frame",
    [
        "/tmp/torchinductor_me/eb/cebez.py(158): call",
        f"/cache/eb/c{'ebezlcokiz' * 5}.py(158): call",
        "/home/me/venv/src/mfu_profiler/capture/patch.py(126): observed_call",
    ],
)
def test_frames_that_the_user_did_not_write_are_passed_over(tmp_path: Path, frame: str) -> None:
    found = sampled(tmp_path, {700: [frame, STEP], 1_700: [frame, STEP]}, gpu_events())
    assert "mostly at train.py:42 in train_step" in finding(found, "host_bound").evidence


def loading_events() -> list[Json]:
    """The host is in the loader from 600 to 1,000 µs of each step."""
    waits = [mark(LOADER, step * 1_000_000 + 600_000, 380_000) for step in range(5)]
    return [*gpu_events(), *waits]


def test_data_loading_names_the_line_that_loads(tmp_path: Path) -> None:
    item = "/home/me/run/data.py(12): __getitem__"
    found = sampled(tmp_path, {800: [item, MAIN], 1_800: [item, MAIN], 2_020: [STEP]}, loading_events())
    assert "mostly at data.py:12 in __getitem__" in finding(found, "data_loading").evidence


def test_the_users_own_data_span_gets_advice_that_fits_it(tmp_path: Path) -> None:
    waits = [mark("mfu_profiler.data", step * 1_000_000 + 600_000, 380_000) for step in range(5)]
    found = finding(live_report(tmp_path, live_part(), [*gpu_events(), *waits]), "data_loading")
    assert found.title == "the device waits for data" and "run.data()" in found.evidence[0]
    assert not [line for line in found.advice if "DataLoader" in line]


def test_a_cpu_that_waits_for_python_gets_no_advice_about_launches(tmp_path: Path) -> None:
    live = live_part(device=CPU, stacks=stacks_part({800: [STEP]}))
    found = finding(cpu_report(tmp_path, live, peak_tflops=1.0), "host_bound")
    assert found.title == "no op runs: Python between them"
    assert "mostly at train.py:42 in train_step" in found.evidence
    assert not [line for line in (*found.evidence, *found.advice) if "launch" in line or "CUDA" in line]


def syncing_events(thread: int = 10) -> list[Json]:
    """Each step ends with ``.item()``, which returns 100 µs after the kernel; then the device refills."""
    events = []
    for step in range(5):
        time = step * 1_000_000
        events += [
            op("aten::item", time + 100_000, 550_000),
            event(
                "cuda_runtime", "cudaStreamSynchronize", time + 110_000, 530_000, tid=thread,
                args={"correlation": 900 + step},
            ),
        ]  # fmt: skip
    return [*gpu_events(), *events]


def test_a_sync_names_the_line_that_waited(tmp_path: Path) -> None:
    """A gap begins at 540 µs, inside the wait from 110 to 640; the sample nearest to it counts."""
    samples = {
        150: [MAIN],
        1_150: [MAIN],
        530: [LOSS, MAIN],
        1_530: [LOSS, MAIN],
        2_530: [LOSS],
        3_530: [LOSS],
    }
    found = sampled(tmp_path, dict(sorted(samples.items())), syncing_events())
    (line,) = finding(found, "synchronization").evidence
    assert line.startswith("1 cudaStreamSynchronize in aten::item at loss.py:7 in log_loss a step, then")


def test_a_sync_without_a_sample_inside_names_no_line(tmp_path: Path) -> None:
    found = sampled(tmp_path, {90: [LOSS], 700: [LOSS], 1_090: [LOSS]}, syncing_events())
    (line,) = finding(found, "synchronization").evidence
    assert line.startswith("1 cudaStreamSynchronize in aten::item a step")


def test_samples_of_another_thread_name_no_call(tmp_path: Path) -> None:
    found = sampled(tmp_path, {530: [LOSS], 1_530: [LOSS]}, syncing_events(), thread="77")
    (line,) = finding(found, "synchronization").evidence
    assert "loss.py" not in line


@pytest.mark.parametrize(("time", "place"), [(300, "train.py:42 in train_step"), (50, None), (700, None)])
def test_ops_have_a_line_only_where_a_sample_falls_inside(
    tmp_path: Path, time: int, place: str | None
) -> None:
    """The products of a CPU run from 100 to 600 µs of each step."""
    live = live_part(device=CPU, stacks=stacks_part({1_000 + time: [STEP]}))
    found = cpu_report(tmp_path, live, cpu_events(), peak_tflops=1.0)
    assert [row.location for row in found.ops] == [place]
    assert [row.location for row in found.kernels] == [place]


def test_recorded_stacks_win_over_samples(tmp_path: Path) -> None:
    events = cpu_events()
    for one in events[1::2]:
        one["args"]["Call stack"] = "/home/me/run/other.py(3): f"
    live = live_part(device=CPU, stacks=stacks_part({300: [STEP]}))
    assert [row.location for row in cpu_report(tmp_path, live, events).ops] == ["other.py:3 in f"]


def test_a_trace_cut_before_its_base_names_nothing_wrong(tmp_path: Path) -> None:
    """Without the base, samples are in epoch ns and fall nowhere."""
    from mfu_profiler.analysis import analyze
    from tests.trace.make import Layout, write_trace

    live = live_part(stacks=stacks_part({700: [STEP]}))
    events = [*gpu_events(), launch(99, 5_000_000), kernel(99, 5_010_000, 1_000)]
    found = analyze(write_trace(tmp_path, events, Layout(), {"mfu_profiler": live}))
    assert not [line for one in found.findings for line in one.evidence if "train.py" in line]
