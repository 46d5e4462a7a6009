"""Compiled models and CUDA graphs, without shapes or launches in the trace: untouched, and said so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import mfu_profiler
from mfu_profiler import Report
from tests.gpu.trainings import (
    QUICK,
    STEPS,
    Make,
    Shape,
    Step,
    StepClock,
    cuda,
    gpt_training,
    timeline_of,
    weights_after,
)

# Of what torch and drivers warn of on a machine that nobody has tried nothing is ours.
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("default"),
    pytest.mark.usefixtures("deterministic"),
]

ROWS, WIDTH = 256, 512
NET_FLOP = (6 + 4) * ROWS * WIDTH**2
"""Two Linear layers: 6 x rows x width x width for each, the first without the gradient of its input."""
DROPOUT = Shape(dropout=0.1)
FIRSTS = (1, 2, 3, 4, 7, 8, 11)
"""The first step of each phase of ``QUICK``; a step in the midst of the profiled ones is 9."""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.Dropout(0.1), nn.Tanh(), nn.Linear(WIDTH, WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.layers(x))


def compiled(mode: str | None) -> Callable[[nn.Module], nn.Module]:
    """``torch.compile`` as users call it, with nothing left of earlier compilations."""

    def call(model: nn.Module) -> nn.Module:
        torch._dynamo.reset()
        return cast(nn.Module, torch.compile(model, mode=mode))

    return call


def net_in_graphs(device: torch.device) -> tuple[nn.Module, Step]:
    """In inductor's CUDA graphs, which it makes of no deterministic backward of an embedding."""
    model = Net().to(device)
    outer = compiled("reduce-overhead")(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batch = torch.randn(ROWS, WIDTH, device=device)

    def step() -> None:
        outer(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, step


@pytest.fixture
def inductor(gpu: torch.device) -> None:
    """Skips where inductor cannot compile for the device."""
    from torch.utils._triton import has_triton

    if not has_triton():
        pytest.skip("no triton for this device")
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler, which triton needs")


@pytest.mark.usefixtures("inductor")
@pytest.mark.parametrize(
    ("make", "model_flop", "has_graphs"),
    [
        pytest.param(
            gpt_training(DROPOUT, called=compiled(None)), DROPOUT.model_flop, False, id="default mode"
        ),
        pytest.param(net_in_graphs, NET_FLOP, True, id="reduce-overhead"),
    ],
)
def test_a_compiled_model_learns_the_same_and_is_reported(
    make: Make, model_flop: int, has_graphs: bool, gpu: torch.device, tmp_path: Path
) -> None:
    plain, tracked = weights_after(make, gpu, None), weights_after(make, gpu, tmp_path)
    assert all(torch.equal(one, other) for one, other in zip(plain, tracked, strict=True))
    timeline = timeline_of(tmp_path)
    assert len(timeline.activities.start_ns) > 0
    called = {timeline.names[name] for name in timeline.calls.name.tolist()}
    assert any("GraphLaunch" in name for name in called) == has_graphs, called
    assert timeline.live is not None and timeline.live.flop is not None
    assert timeline.live.flop.source == "shadow", timeline.live.flop.because
    assert timeline.live.flop.model == model_flop
    assert len(timeline.live.run.step_times_ns) > 0


class GraphTraining:
    """Eager steps on a side stream, as torch's manual says, then a capture of a whole step, then replays."""

    def __init__(self, device: torch.device, capture_at: int) -> None:
        torch.manual_seed(0)
        self.model = Net().to(device)
        self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, capturable=True)
        self._batch = torch.randn(ROWS, WIDTH, device=device)
        self._capture_at = capture_at
        self._graph: torch.cuda.CUDAGraph | None = None
        self._side = cuda.Stream()
        for _ in range(3):
            self._beside()

    def step(self, number: int) -> None:
        """Numbers count from 1."""
        if number < self._capture_at:
            self._beside()
            return
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            self._optimizer.zero_grad(set_to_none=True)
            with torch.cuda.graph(self._graph):
                self._whole_step()
        self._graph.replay()

    def _beside(self) -> None:
        self._side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._side):
            self._optimizer.zero_grad(set_to_none=True)
            self._whole_step()
        torch.cuda.current_stream().wait_stream(self._side)

    def _whole_step(self) -> None:
        self.model(self._batch).square().mean().backward()
        self._optimizer.step()


def graph_weights(
    device: torch.device, capture_at: int, out: Path | None, *, says_steps: bool = True
) -> list[Tensor]:
    """Weights after 13 steps, the first of them captured before the block for 0."""
    training = GraphTraining(device, max(1, capture_at))
    if capture_at == 0:
        training.step(1)
    block: AbstractContextManager[Any] = nullcontext()
    if out is not None:
        block = mfu_profiler.track(training.model, out=out, report="never", **QUICK)
    with block as run:
        for number in range(1, STEPS + 1):
            training.step(number)
            if run is not None and says_steps:
                run.step()
    return [parameter.detach().cpu() for parameter in training.model.parameters()]


@pytest.mark.parametrize("capture_at", [0, *FIRSTS, 9])
def test_a_step_captured_as_one_graph_learns_the_same_wherever_it_is_captured(
    capture_at: int, gpu: torch.device, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the block, and in each of its phases: in none may anything of ours break the capture."""
    plain, tracked = graph_weights(gpu, capture_at, None), graph_weights(gpu, capture_at, tmp_path)
    assert all(torch.equal(one, other) for one, other in zip(plain, tracked, strict=True))
    assert [record.getMessage() for record in caplog.records if record.name == "mfu_profiler"] == []
    timeline = timeline_of(tmp_path)
    assert len(timeline.activities.start_ns) > 0
    assert timeline.live is not None and timeline.live.run.boundary == "run.step()"
    assert timeline.live.run.step_clock == "device events"


@pytest.mark.parametrize("capture_at", [*FIRSTS, 9])
def test_a_capture_that_ends_a_step_by_its_forward_is_not_broken(
    capture_at: int, gpu: torch.device, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without ``run.step()`` a step is over at the next forward: here one that is being captured, in which
    the profiler must neither start nor end, and no event be asked for. Replays are no steps then."""
    plain = graph_weights(gpu, capture_at, None)
    tracked = graph_weights(gpu, capture_at, tmp_path, says_steps=False)
    assert all(torch.equal(one, other) for one, other in zip(plain, tracked, strict=True))
    assert [record.getMessage() for record in caplog.records if record.name == "mfu_profiler"] == []
    live = timeline_of(tmp_path).live
    assert live is not None and live.run.steps_done == capture_at


def replayed(gpu: torch.device, folder: Path, **settings: Any) -> tuple[Report, float]:
    """The report of a block of replays, and the length of a timed one by events of our own."""
    training = GraphTraining(gpu, capture_at=1)
    training.step(1)
    clock = StepClock(gpu)
    with mfu_profiler.track(training.model, out=folder, peak_tflops=2000.0, **QUICK, **settings) as run:
        for number in range(2, STEPS + 2):
            training.step(number)
            clock.mark()
            run.step()
    assert run.report is not None
    return run.report, median(clock.lengths_s()[4:6])  # timed are 4 to 6, and 4 starts the clock samples


def test_replays_are_timed_and_their_flop_may_be_given(gpu: torch.device, tmp_path: Path) -> None:
    report, timed_s = replayed(gpu, tmp_path, flop_per_step=float(NET_FLOP))
    assert report.step_time_s is not None and report.step_time_s == pytest.approx(timed_s, rel=0.5)
    assert report.mfu == pytest.approx(NET_FLOP / report.step_time_s / 2000e12)


def test_replays_without_a_count_have_no_mfu_and_say_why(gpu: torch.device, tmp_path: Path) -> None:
    report, timed_s = replayed(gpu, tmp_path)
    assert report.step_time_s == pytest.approx(timed_s, rel=0.5)
    assert report.mfu is None and report.flop.model_per_step is None
    assert report.mfu_unknown_because is not None and "FLOP" in report.mfu_unknown_because
