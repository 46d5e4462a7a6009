"""What a real device's trace and report say, against a count by hand and against CUDA's own events."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import mfu_profiler  # noqa: E402
from mfu_profiler import Report  # noqa: E402
from mfu_profiler.capture.phases import Plan  # noqa: E402
from mfu_profiler.capture.settings import Settings  # noqa: E402
from mfu_profiler.trace.timeline import Timeline  # noqa: E402
from tests.gpu.trainings import (  # noqa: E402
    PRECISIONS,
    QUICK,
    STEPS,
    Cnn,
    Shape,
    Step,
    cnn_training,
    gpt_training,
    in_precision,
    timeline_of,
)

# Of what torch and drivers warn of on a machine that nobody has tried nothing is ours.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

LARGE = Shape(vocabulary=8192, context=1024, width=1024, heads=16, layers=6, sequences=4)
"""0.5 TFLOP a layer and step, 3.0 in all: 10 ms on an H100 in bf16, 0.4 s on a T4 in fp32."""
PLAN: dict[str, Any] = {"warmup": 3, "timed": 12, "active": 4}


class StepClock:
    """The length of each step by events of the device; by the host's clock on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._marks = [self._mark()]

    def mark(self) -> None:
        """A step ends."""
        self._marks.append(self._mark())

    def lengths_s(self) -> list[float]:
        """Of all steps; waits for the device."""
        if self._is_cuda:
            self._marks[-1].synchronize()
            return [
                one.elapsed_time(other) / 1e3
                for one, other in zip(self._marks, self._marks[1:], strict=False)
            ]
        return [other - one for one, other in zip(self._marks, self._marks[1:], strict=False)]

    def _mark(self) -> Any:
        if not self._is_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


@dataclass(frozen=True)
class Recorded:
    """A tracked training of the large GPT."""

    precision: str
    shape: Shape
    report: Report
    timeline: Timeline
    timed_s: float
    """Median of the steps that were only timed, measured by this test."""
    live_mfu: float
    """``run.mfu`` at the end."""


@pytest.fixture(scope="module", params=PRECISIONS)
def recorded(
    request: pytest.FixtureRequest, device: torch.device, tmp_path_factory: pytest.TempPathFactory
) -> Recorded:
    precision = request.param
    shape = LARGE if device.type == "cuda" else Shape()
    plan = Plan.of(Settings(**PLAN))
    with in_precision(precision, device):
        torch.manual_seed(0)
        model, step = gpt_training(shape, precision)(device)
        clock = StepClock(device)
        folder = tmp_path_factory.mktemp(precision)
        with mfu_profiler.track(model, out=folder, quiet=True, **PLAN) as run:
            for _ in range(plan.rest + 5):
                step()
                clock.mark()
            live_mfu = run.mfu
    assert run.report is not None
    # The first timed step starts the clock samples.
    timed_s = median(clock.lengths_s()[plan.timed : plan.prepared - 1])
    return Recorded(precision, shape, run.report, timeline_of(run), timed_s, live_mfu)


def test_the_trace_has_kernels_and_a_window_for_every_step(recorded: Recorded, gpu: torch.device) -> None:
    report = recorded.report
    assert len(recorded.timeline.activities.start_ns) > 100 * PLAN["active"]
    assert report.steps.source.startswith("device windows"), report.steps.source
    plan = Plan.of(Settings(**PLAN))
    expected = [f"ProfilerStep#{number}" for number in range(plan.profiled, plan.rest - 1)]
    assert [window.label for window in report.windows] == expected, "the last step has no successor"
    assert report.partition is not None and report.partition.compute > 0.5
    assert report.partition.idle_unexplained < 0.05


def test_every_check_of_the_report_holds(recorded: Recorded, device: torch.device) -> None:
    assert [(check.name, check.detail) for check in recorded.report.checks if not check.ok] == []


def test_step_times_come_from_the_device_and_agree_with_its_events(
    recorded: Recorded, device: torch.device
) -> None:
    live, report = recorded.timeline.live, recorded.report
    assert live is not None and len(live.run.step_times_ns) >= PLAN["timed"] - 3
    assert live.run.step_clock == ("device events" if device.type == "cuda" else "host")
    tolerance = 0.03 if device.type == "cuda" else 0.3
    assert report.step_time_s == pytest.approx(recorded.timed_s, rel=tolerance)


def test_flop_are_counted_live_and_from_shapes_as_by_hand(recorded: Recorded) -> None:
    flop, expected = recorded.report.flop, recorded.shape.model_flop
    assert (flop.counted_per_step, flop.shapes_per_step, flop.model_per_step) == (expected,) * 3
    assert flop.coverage_fraction is not None and flop.coverage_fraction > 0.2
    assert flop.optimizer_per_step in (None, 0)


def test_hfu_exceeds_mfu_by_the_scores_that_flash_attention_computes_again_at_most(
    recorded: Recorded,
) -> None:
    flop, shape = recorded.report.flop, recorded.shape
    scores = 2 * shape.layers * shape.sequences * shape.context**2 * shape.width
    assert flop.recomputed_per_step in (0, scores)


def test_the_reference_is_the_precision_that_was_set(recorded: Recorded) -> None:
    assert recorded.report.device.precision == recorded.precision


def test_mfu_is_flop_over_time_and_peak(recorded: Recorded, device: torch.device) -> None:
    report, peak = recorded.report, recorded.report.device.peak_flop_per_s
    if peak is None:
        pytest.skip(f"no peak is known: {report.mfu_unknown_because}")
    assert report.device.peak_source in ("datasheet", "measured")
    assert report.mfu is not None and 0 < report.mfu < 1
    expected = recorded.shape.model_flop / (recorded.timed_s * peak)
    assert report.mfu == pytest.approx(expected, rel=0.05 if device.type == "cuda" else 0.3)
    assert sum(row.fraction for row in report.waterfall if row.cause not in ("peak", "mfu")) == pytest.approx(
        1 - report.mfu, abs=1e-6
    )


def test_a_large_gpt_reaches_a_plausible_share_of_the_peak(recorded: Recorded, gpu: torch.device) -> None:
    """A tenth at least, or the peak is not this device's; a tenth of fp32's is reached by any matmul."""
    if recorded.report.mfu is None:
        pytest.skip(f"no MFU: {recorded.report.mfu_unknown_because}")
    assert 0.1 < recorded.report.mfu < 0.95


def test_the_live_mfu_agrees_with_the_reports(recorded: Recorded, device: torch.device) -> None:
    if recorded.report.mfu is None:
        pytest.skip(f"no MFU: {recorded.report.mfu_unknown_because}")
    assert recorded.live_mfu == pytest.approx(recorded.report.mfu, rel=0.2 if device.type == "cuda" else 0.5)


def test_a_profiled_step_is_not_much_longer(recorded: Recorded, gpu: torch.device) -> None:
    overhead = recorded.report.steps.profiler_overhead_fraction
    assert overhead is not None and -0.1 < overhead < 0.5


def test_clock_and_power_are_sampled_on_the_device_in_use(recorded: Recorded, nvidia: torch.device) -> None:
    live, device = recorded.timeline.live, recorded.report.device
    assert live is not None and live.clocks is not None
    properties = torch.cuda.get_device_properties(nvidia)
    assert (device.name, device.sm_count) == (properties.name, properties.multi_processor_count)
    with gzip.open(recorded.report.trace.path) as file:
        uuid = json.load(file)["mfu_profiler"]["device"]["uuid"] or ""
    assert uuid.startswith("MIG-") or uuid == f"GPU-{properties.uuid}", "the handle is of this UUID"
    if device.nvml_because is not None:
        pytest.skip(f"no NVML here: {device.nvml_because}")
    if recorded.timed_s * (PLAN["timed"] + PLAN["active"]) < 0.5:
        pytest.skip("too quick for more than a few samples")
    assert len(live.clocks.time_ns) >= 3
    assert device.sampled_clock_hz is not None and 1e8 < device.sampled_clock_hz < 4e9
    if device.mean_power_w is not None and device.power_limit_w is not None:
        assert 5 < device.mean_power_w < 1.2 * device.power_limit_w


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_cnn_counts_as_by_hand_and_has_kernels(
    precision: str, device: torch.device, tmp_path: Path
) -> None:
    with in_precision(precision, device):
        model, step = cnn_training(precision, images=64, size=64)(device)
        report, timeline = reported(model, step, tmp_path)
    assert report.flop.model_per_step == Cnn.model_flop(images=64, size=64)
    # cuDNN may have no TF32 kernel for so few channels.
    assert report.device.precision in ((precision, "fp32") if precision == "tf32" else (precision,))
    if device.type == "cuda":
        assert len(timeline.activities.start_ns) > 0


def reported(model: nn.Module, step: Step, folder: Path) -> tuple[Report, Timeline]:
    """The report of a short tracked training, and its trace."""
    with mfu_profiler.track(model, out=folder, **QUICK) as run:
        for _ in range(STEPS):
            step()
    assert run.report is not None
    return run.report, timeline_of(run)


class Stack(nn.Module):
    """Linear and Tanh, each pair checkpointed: everything but the weights' gradients runs twice forward."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pairs = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for pair in self.pairs:
            x = checkpoint(pair, x, use_reentrant=False)
        return x


@pytest.mark.parametrize("make_optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_full_checkpointing_executes_four_thirds_of_the_model_flop(
    make_optimizer: Callable[..., torch.optim.Optimizer], device: torch.device, tmp_path: Path
) -> None:
    width, rows = (2048, 4096) if device.type == "cuda" else (64, 64)
    model = Stack(width).to(device)
    optimizer = make_optimizer(model.parameters(), lr=1e-3)
    batch = torch.randn(rows, width, device=device, requires_grad=True)  # else the first layer needs less

    def step() -> None:
        model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        batch.grad = None

    report, _ = reported(model, step, tmp_path)
    forward = 4 * 2 * rows * width**2
    assert report.flop.model_per_step == 3 * forward
    assert report.flop.hardware_per_step == 4 * forward
    if report.mfu is not None and report.hfu is not None:
        assert report.hfu / report.mfu == pytest.approx(4 / 3)
