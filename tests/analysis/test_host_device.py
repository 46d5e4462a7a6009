"""Training on a CPU: the host is the device. Pictures, and a training run recorded here and now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.analysis import Report, analyze
from mfu_profiler.analysis.report import PARTS
from mfu_profiler.errors import UnknownDeviceError

from .pictures import Thread, report, timeline

NODE = "autograd::engine::evaluate_function: MmBackward0"


def host_parts(autograd: Thread | None = None, **rows: Any) -> dict[str, int]:
    """µs of each class that occurs in the one step of a picture."""
    (window,) = report(timeline(device=None, autograd=autograd, **rows)).windows
    parts = {part: getattr(window, f"{part}_ns") // 1000 for part in PARTS}
    assert sum(parts.values()) * 1000 == window.duration_ns
    return {part: length for part, length in parts.items() if length}


def test_ops_compute_and_the_rest_is_host_bound() -> None:
    assert host_parts(
        step="         0000000000",
        ops={"aten::mm": ".###..##.."},
    ) == {"compute": 5, "idle_host": 5}


def test_inside_the_loaders_next_everything_is_data_loading_its_own_ops_included() -> None:
    assert host_parts(
        step="            0000000000",
        next="            .nnnn.....",
        ops={"aten::stack": "..##......", "aten::mm": "......##.."},
    ) == {"idle_data_loading": 4, "compute": 2, "idle_host": 4}


def test_collectives_are_communication() -> None:
    assert host_parts(
        step="                       0000000000",
        ops={"aten::mm": "           .##.......", "c10d::allreduce_": ".....###.."},
        marks={"gloo:all_reduce": "  .......##."},
    ) == {"compute": 2, "communication": 4, "idle_host": 4}


def test_of_nested_ops_the_innermost_decides() -> None:
    """A collective that copies first, and an op that communicates inside."""
    assert host_parts(
        step="                           00000000000000",
        ops={
            "_c10d_functional::all_reduce": ".######.......",
            "aten::clone": "                 .##...........",
            "my::block": "                   ........#####.",
            "record_param_comms": "          .........##...",
        },
    ) == {"compute": 2 + 3, "communication": 4 + 2, "idle_host": 3}


def test_the_autograd_thread_decides_while_the_marked_thread_is_in_no_op() -> None:
    assert host_parts(
        step="         0000000000",
        ops={"aten::mm": "##......##"},
        autograd=Thread(ops={NODE: ".########."}),
    ) == {"compute": 10}


def test_a_collective_on_the_autograd_thread_is_hidden_by_compute_on_the_marked_one() -> None:
    assert host_parts(
        step="         0000000000",
        ops={"aten::mm": "####......"},
        autograd=Thread(ops={NODE: "######....", "c10d::allreduce_": "..####...."}),
    ) == {"compute": 4, "communication": 2, "idle_host": 4}


def test_other_threads_do_not_count() -> None:
    """A loader's thread that pins or decodes is no part of the step."""
    assert host_parts(
        step="         0000000000",
        ops={"aten::mm": "##........"},
        autograd=Thread(ops={"aten::copy_": "....######"}),
    ) == {"compute": 2, "idle_host": 8}


@pytest.mark.parametrize(
    "rows",
    [
        {"ops": {"aten::mm": "..##", "aten::cudnn_convolution": "##.."}},
        {"ops": {"aten::mm": "..##"}, "launch": "a"},
        {"ops": {"aten::mm": "..##"}, "marks": {"nccl:all_reduce": "#..."}},
    ],
    ids=["cudnn", "a runtime call", "nccl"],
)
def test_what_names_an_accelerator_is_no_cpu_training(rows: Mapping[str, Any]) -> None:
    found = report(timeline(step="0000", device=None, **rows))
    assert found.partition is None
    assert found.partition_unknown_because is not None and "missing" in found.partition_unknown_because


def test_device_properties_alone_name_an_accelerator() -> None:
    found = report(timeline(step="0000", ops={"aten::mm": "####"}, device="NVIDIA H100 80GB HBM3"))
    assert found.partition is None


def test_steps_without_ops_say_nothing() -> None:
    found = report(timeline(step="0000", device=None))
    assert found.partition is None and found.partition_unknown_because is not None


BATCH, WIDTH, CLASSES = 32, 256, 10
STEPS = 3


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of ordinary CPU training."""
    torch = pytest.importorskip("torch")
    from .recorded import one_thread, record

    before = torch.get_num_threads()
    one_thread()
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, CLASSES)
    )
    optimizer = torch.optim.AdamW(model.parameters())
    examples = torch.utils.data.TensorDataset(
        torch.randn(BATCH * 8, WIDTH), torch.randint(0, CLASSES, (BATCH * 8,))
    )
    batches = iter(torch.utils.data.DataLoader(examples, batch_size=BATCH))

    def step() -> None:
        data, target = next(batches)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(data), target).backward()
        optimizer.step()

    path = record(step, tmp_path_factory.mktemp("cpu") / "trace.json", STEPS)
    torch.set_num_threads(before)
    return path


@pytest.fixture(scope="session")
def trained_report(trained: Path) -> Report:
    return analyze(trained, peak_tflops=1.0)


def test_a_cpu_is_named_as_the_device_and_its_windows_are_the_hosts_marks(trained_report: Report) -> None:
    assert (trained_report.device.name, trained_report.device.backend) == ("CPU", "cpu")
    assert trained_report.steps.source == "host marks of ProfilerStep"
    assert trained_report.steps.count == STEPS


def test_recorded_windows_are_partitioned_as_the_raw_events_say(
    trained: Path, trained_report: Report
) -> None:
    """Elementary stretches of the file's own events, each classified by itself."""
    events = [e for e in json.loads(trained.read_text())["traceEvents"] if e.get("ph") == "X"]
    steps = sorted((e for e in events if e["name"].startswith("ProfilerStep#")), key=lambda e: e["ts"])
    thread = steps[0]["tid"]

    def extents(chosen: list[dict[str, Any]]) -> list[tuple[int, int]]:
        return [
            (round(e["ts"] * 1000), round(e["ts"] * 1000) + round(e["dur"] * 1000))
            for e in chosen
            if e["tid"] == thread
        ]

    loading = extents([e for e in events if e["name"].startswith("enumerate(DataLoader)")])
    computing = extents([e for e in events if e["cat"] == "cpu_op"])
    assert len(loading) == STEPS and any("evaluate_function" in e["name"] for e in events)
    for window, (start, end) in zip(trained_report.windows, extents(steps), strict=True):
        inside = [(a, b) for a, b in loading + computing if a < end and b > start]
        edges = sorted({start, end, *(t for pair in inside for t in pair if start < t < end)})
        found = dict.fromkeys(PARTS, 0)
        for begin, stop in pairwise(edges):
            is_loading = any(a <= begin < b for a, b in loading)
            is_busy = any(a <= begin < b for a, b in computing)
            cause = "idle_data_loading" if is_loading else "compute" if is_busy else "idle_host"
            found[cause] += stop - begin
        assert {part: getattr(window, f"{part}_ns") for part in PARTS} == found
        assert window.duration_ns == end - start == sum(found.values())
        assert found["idle_data_loading"] > 0 and found["compute"] > 0


def test_recorded_training_has_the_flop_of_its_layers_and_an_mfu(trained_report: Report) -> None:
    """Forward and weight gradients of both layers; no input gradient of the first."""
    first, second = 2 * BATCH * WIDTH * WIDTH, 2 * BATCH * WIDTH * CLASSES
    assert trained_report.flop.model_per_step == 2 * first + 3 * second
    assert trained_report.flop.recomputed_per_step == trained_report.flop.optimizer_per_step == 0
    assert trained_report.mfu == trained_report.hfu
    assert trained_report.step_time_s is not None
    assert trained_report.mfu == pytest.approx(
        (2 * first + 3 * second) / trained_report.step_time_s / 1e12, rel=1e-9
    )
    assert trained_report.device.precision == "fp32"


def test_a_cpu_has_no_peak_of_its_own(trained: Path) -> None:
    found = analyze(trained)
    assert found.mfu is None and found.partition is not None
    assert found.mfu_unknown_because is not None and "CPU" in found.mfu_unknown_because
    assert any("--peak-tflops" in hint for hint in found.mfu_unknown_hints)


def test_a_device_named_for_a_cpu_is_not_used_and_that_is_said(trained: Path) -> None:
    found = analyze(trained, device="NVIDIA L4")
    assert found.device.backend == "cpu" and found.device.peak_flop_per_s is None
    assert "the device NVIDIA L4 is not used: nothing ran on an accelerator" in found.notes
    with pytest.raises(UnknownDeviceError):
        analyze(trained, device="L4x")


def test_published_figures_are_of_gpus(trained_report: Report) -> None:
    assert trained_report.scale is None


def test_recorded_parts_and_rows_sum_to_1(trained_report: Report) -> None:
    assert trained_report.partition is not None
    assert sum(getattr(trained_report.partition, part) for part in PARTS) == pytest.approx(1, abs=1e-9)
    assert sum(row.fraction for row in trained_report.waterfall[1:]) == pytest.approx(1, abs=1e-9)
    idle = sum(row.fraction for row in trained_report.host_idle)
    assert idle == pytest.approx(trained_report.partition.idle_host, abs=1e-9)
