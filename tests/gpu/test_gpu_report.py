"""What a real device's trace and report say, against a count by hand and against CUDA's own events."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import mfu_profiler
from mfu_profiler import Report
from mfu_profiler.capture.phases import Plan
from mfu_profiler.capture.settings import Settings
from mfu_profiler.trace.timeline import Timeline
from tests.gpu.trainings import (
    PRECISIONS,
    QUICK,
    STEPS,
    Cnn,
    Shape,
    Step,
    StepClock,
    cnn_training,
    gpt_training,
    in_precision,
    timeline_of,
)

# Of what torch and drivers warn of on a machine that nobody has tried nothing is ours.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

LARGE = Shape(vocabulary=8192, context=1024, width=2048, heads=16, layers=3, sequences=8)
"""8.9 TFLOP a step in few kernels, so that the host is quicker than any device; takes some 8 GB."""
SETTINGS: dict[str, Any] = {"warmup": 3, "timed": 12, "active": 4}
PLAN = Plan.of(Settings(**SETTINGS))
ROUNDING = 1e-9
"""FLOP of an op are spread over its kernels by time."""


@dataclass(frozen=True)
class Recorded:
    """A tracked training of the large GPT."""

    precision: str
    shape: Shape
    report: Report
    timeline: Timeline
    lengths_s: list[float]
    """Of all steps, the first at 0, as this test measured them."""
    live_peak: float | None
    """What the live line divided by before there was a report."""

    @property
    def timed_s(self) -> float:
        """Median of the steps that were only timed, but for the first, which starts the clock samples."""
        return median(self.lengths_s[PLAN.timed : PLAN.prepared - 1])


@pytest.fixture(scope="module", params=PRECISIONS)
def recorded(
    request: pytest.FixtureRequest, device: torch.device, tmp_path_factory: pytest.TempPathFactory
) -> Recorded:
    precision = request.param
    shape = LARGE if device.type == "cuda" else Shape()
    with in_precision(precision, device):
        torch.manual_seed(0)
        model, step = gpt_training(shape, precision)(device)
        clock, live_peak = StepClock(device), None
        folder = tmp_path_factory.mktemp(precision)
        with mfu_profiler.track(model, out=folder, quiet=True, **SETTINGS) as run:
            for number in range(1, PLAN.rest + 5):
                step()
                clock.mark()
                if number == PLAN.timed:
                    live_peak = run.metrics().get("peak_flop_per_s")
    assert run.report is not None
    return Recorded(precision, shape, run.report, timeline_of(run), clock.lengths_s(), live_peak)


def test_the_trace_has_kernels_and_a_window_for_every_step(recorded: Recorded, gpu: torch.device) -> None:
    report, timeline = recorded.report, recorded.timeline
    assert len(timeline.activities) > 100 * SETTINGS["active"]
    expected = [f"ProfilerStep#{number}" for number in range(PLAN.profiled, PLAN.rest - 1)]
    assert [window.label for window in report.windows] == expected, "the last step has no successor"
    starts = set(timeline.activities.start_ns.tolist())
    assert all(timeline.start_ns + window.start_ns in starts for window in report.windows)
    assert report.partition is not None and report.partition.compute > 0.5
    assert report.partition.idle_unexplained < 0.05


def test_windows_are_as_long_as_the_steps_by_the_devices_events(
    recorded: Recorded, gpu: torch.device
) -> None:
    """Marks of the host would not be: it enqueues a step in a part of its time. The first window is left
    out, because the profiler starts in that step."""
    windows = recorded.report.windows[1:]
    assert windows
    lengths_s = recorded.lengths_s[PLAN.profiled : PLAN.profiled + len(windows)]
    assert sum(window.duration_ns for window in windows) / 1e9 == pytest.approx(sum(lengths_s), rel=0.1)


def test_every_check_of_the_report_holds(recorded: Recorded) -> None:
    failed = {check.name: check.detail for check in recorded.report.checks if not check.ok}
    assert failed == {}


def test_step_times_come_from_the_device_and_agree_with_its_events(
    recorded: Recorded, device: torch.device
) -> None:
    live, report = recorded.timeline.live, recorded.report
    assert live is not None and len(live.run.step_times_ns) >= SETTINGS["timed"] - 3
    assert live.run.step_clock == ("device events" if device.type == "cuda" else "host")
    tolerance = 0.05 if device.type == "cuda" else 0.3
    assert report.step_time_s == pytest.approx(recorded.timed_s, rel=tolerance)


def test_flop_are_counted_live_and_from_shapes_as_by_hand(recorded: Recorded, device: torch.device) -> None:
    flop, expected = recorded.report.flop, recorded.shape.model_flop
    assert flop.counted_per_step == expected
    assert (flop.shapes_per_step, flop.model_per_step) == pytest.approx((expected, expected), rel=ROUNDING)
    assert flop.coverage_fraction is not None
    assert flop.coverage_fraction > (0.5 if device.type == "cuda" else 0.2)
    assert flop.optimizer_per_step in (None, 0)


def test_hfu_exceeds_mfu_by_the_scores_that_fused_attention_computes_again(recorded: Recorded) -> None:
    """Queries times keys once more in backward; attention without a fused kernel keeps its scores."""
    shape = recorded.shape
    fused = ("flash_attention", "efficient_attention", "cudnn_attention")
    is_fused = any(
        name.startswith("aten::_scaled_dot_product") and any(kind in name for kind in fused)
        for name in recorded.timeline.names
    )
    scores = 2 * shape.layers * shape.sequences * shape.context**2 * shape.width if is_fused else 0
    assert recorded.report.flop.recomputed_per_step == pytest.approx(scores, rel=ROUNDING)


def test_the_reference_is_the_precision_that_was_set(recorded: Recorded) -> None:
    assert recorded.report.device.precision == recorded.precision


def test_the_live_line_divides_by_the_peak_of_the_report(recorded: Recorded, gpu: torch.device) -> None:
    if recorded.report.device.peak_flop_per_s is None:
        pytest.skip(f"no peak is known: {recorded.report.mfu_unknown_because}")
    assert recorded.live_peak == recorded.report.device.peak_flop_per_s


def test_mfu_is_flop_over_time_and_peak(recorded: Recorded, device: torch.device) -> None:
    report, peak = recorded.report, recorded.report.device.peak_flop_per_s
    if peak is None:
        pytest.skip(f"no peak is known: {report.mfu_unknown_because}")
    assert report.device.peak_source == ("datasheet" if device.type == "cuda" else "measured")
    assert report.mfu is not None and 0 < report.mfu < 1
    expected = recorded.shape.model_flop / (recorded.timed_s * peak)
    assert report.mfu == pytest.approx(expected, rel=0.05 if device.type == "cuda" else 0.3)
    losses = sum(row.fraction for row in report.waterfall if row.cause not in ("peak", "mfu"))
    assert losses == pytest.approx(1 - report.mfu, abs=1e-6)


def test_a_large_gpt_reaches_a_plausible_share_of_the_peak(recorded: Recorded, gpu: torch.device) -> None:
    """A tenth at least, or the peak is not this device's."""
    if recorded.report.device.peak_flop_per_s is None:
        pytest.skip(f"no peak is known: {recorded.report.mfu_unknown_because}")
    assert recorded.report.mfu is not None, recorded.report.mfu_unknown_because
    assert 0.1 < recorded.report.mfu < 0.95


def test_a_profiled_step_is_not_much_longer(recorded: Recorded, gpu: torch.device) -> None:
    overhead = recorded.report.steps.profiler_overhead_fraction
    assert overhead is not None and -0.1 < overhead < 0.5


def highest_clock_hz(uuid: str) -> float:
    """The highest SM clock of a GPU, or of that of a MIG slice, by NVML's own word; skips without NVML."""
    nvml: Any = import_module("pynvml")
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid.encode())
        if uuid.startswith("MIG-"):
            handle = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
        return 1e6 * float(nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM))
    except nvml.NVMLError as error:
        pytest.skip(f"no NVML here: {error}")


def test_clock_and_power_are_sampled_on_the_device_in_use(recorded: Recorded, nvidia: torch.device) -> None:
    live, device = recorded.timeline.live, recorded.report.device
    properties: Any = torch.cuda.get_device_properties(nvidia)
    assert (device.name, device.sm_count) == (properties.name, properties.multi_processor_count)
    with gzip.open(recorded.report.trace.path) as file:
        uuid = json.load(file)["mfu_profiler"]["device"]["uuid"]
    assert uuid.startswith("MIG-") or uuid == f"GPU-{properties.uuid}"
    highest_hz = highest_clock_hz(uuid)
    assert device.nvml_because is None and live is not None and live.clocks is not None
    sampled_s = sum(recorded.lengths_s[PLAN.timed - 1 : PLAN.rest - 1])
    assert len(live.clocks) >= max(1, int(5 * sampled_s)), "half of ten a second"
    assert device.sampled_clock_hz is not None and 0.1 < device.sampled_clock_hz / highest_hz < 1.01
    if device.mean_power_w is not None and device.power_limit_w is not None:
        assert 5 < device.mean_power_w < 1.2 * device.power_limit_w


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_cnn_counts_as_by_hand_and_has_kernels(
    precision: str, device: torch.device, tmp_path: Path
) -> None:
    with in_precision(precision, device):
        model, step = cnn_training(precision, images=64, size=64)(device)
        report, timeline = reported(model, step, tmp_path)
    expected = Cnn.model_flop(images=64, size=64)
    assert report.flop.counted_per_step == expected
    assert report.flop.shapes_per_step == pytest.approx(expected, rel=ROUNDING)
    # cuDNN may have no TF32 kernel for so few channels.
    assert report.device.precision in ((precision, "fp32") if precision == "tf32" else (precision,))
    if device.type == "cuda":
        assert len(timeline.activities) > 0


def reported(model: nn.Module, step: Step, folder: Path) -> tuple[Report, Timeline]:
    """The report of a short tracked training, and its trace."""
    with mfu_profiler.track(model, out=folder, **QUICK) as run:
        for _ in range(STEPS):
            step()
    assert run.report is not None
    return run.report, timeline_of(run)


class Stack(nn.Module):
    """Linear and Tanh, each pair checkpointed: every forward runs twice."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pairs = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for pair in self.pairs:
            x = checkpoint(pair, x, use_reentrant=False)
        return x


def test_full_checkpointing_executes_four_thirds_of_the_model_flop(
    device: torch.device, tmp_path: Path
) -> None:
    """Counted live, and told apart in the trace by the thread of autograd, which a GPU has."""
    width, rows = (2048, 4096) if device.type == "cuda" else (64, 64)
    model = Stack(width).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batch = torch.randn(rows, width, device=device, requires_grad=True)  # else the first layer needs less

    def step() -> None:
        model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        batch.grad = None

    flop = reported(model, step, tmp_path)[0].flop
    forward = 4 * 2 * rows * width**2
    model_flop = (flop.counted_per_step, flop.shapes_per_step, flop.model_per_step)
    assert model_flop == pytest.approx((3 * forward,) * 3, rel=ROUNDING)
    assert flop.recomputed_per_step == pytest.approx(forward, rel=ROUNDING)
    assert flop.hardware_per_step == pytest.approx(4 * forward, rel=ROUNDING)
