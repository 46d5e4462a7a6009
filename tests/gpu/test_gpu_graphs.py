"""Compiled models and CUDA graphs, without shapes or launches in the trace: untouched, and said so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import mfu_profiler  # noqa: E402
from tests.gpu.trainings import (  # noqa: E402
    QUICK,
    STEPS,
    Shape,
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

SHAPE = Shape(dropout=0.1)
ROWS, WIDTH = 256, 512


def compiled(mode: str | None) -> Callable[[nn.Module], nn.Module]:
    """``torch.compile`` as users call it, with nothing left of earlier compilations."""

    def call(model: nn.Module) -> nn.Module:
        torch._dynamo.reset()
        return torch.compile(model, mode=mode)  # type: ignore[return-value]

    return call


@pytest.fixture
def inductor(gpu: torch.device) -> None:
    """Skips where inductor cannot compile for the device."""
    from torch.utils._triton import has_triton

    if not has_triton():
        pytest.skip("no triton for this device")


@pytest.mark.usefixtures("inductor")
@pytest.mark.parametrize("mode", [None, "reduce-overhead"])
def test_a_compiled_gpt_learns_the_same_and_is_reported(
    mode: str | None, gpu: torch.device, tmp_path: Path
) -> None:
    make = gpt_training(SHAPE, called=compiled(mode))
    plain, tracked = weights_after(make, gpu, None), weights_after(make, gpu, tmp_path)
    assert all(torch.equal(one, other) for one, other in zip(plain, tracked, strict=True))
    timeline = timeline_of(tmp_path)
    assert len(timeline.activities.start_ns) > 0
    assert timeline.live is not None and timeline.live.flop is not None
    assert timeline.live.flop.source == "shadow", timeline.live.flop.because
    assert timeline.live.flop.model == SHAPE.model_flop
    assert len(timeline.live.run.step_times_ns) > 0


@pytest.mark.usefixtures("inductor")
def test_nothing_is_compiled_again_because_of_tracking(gpu: torch.device, tmp_path: Path) -> None:
    from torch._dynamo.utils import counters

    model, step = gpt_training(SHAPE, called=compiled(None))(gpu)
    for _ in range(3):
        step()
    before = dict(counters["stats"])
    with mfu_profiler.track(model, out=tmp_path, report="never", **QUICK):
        for _ in range(STEPS):
            step()
    for _ in range(3):
        step()
    assert dict(counters["stats"]) == before


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.Dropout(0.1), nn.Tanh(), nn.Linear(WIDTH, WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


class GraphTraining:
    """Eager steps on a side stream, as torch's manual says, then a capture of a whole step, then replays."""

    def __init__(self, device: torch.device, capture_at: int) -> None:
        torch.manual_seed(0)
        self.model = Net().to(device)
        self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, capturable=True)
        self._batch = torch.randn(ROWS, WIDTH, device=device)
        self._capture_at = capture_at
        self._graph: torch.cuda.CUDAGraph | None = None
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
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._optimizer.zero_grad(set_to_none=True)
            self._whole_step()
        torch.cuda.current_stream().wait_stream(stream)

    def _whole_step(self) -> None:
        self.model(self._batch).square().mean().backward()
        self._optimizer.step()


def graph_weights(
    device: torch.device, capture_at: int, out: Path | None, *, says_steps: bool = True, **settings: Any
) -> list[Tensor]:
    """Weights after 13 steps, the first of them captured before the block for 0."""
    training = GraphTraining(device, max(1, capture_at))
    if capture_at == 0:
        training.step(1)
    block: AbstractContextManager[Any] = nullcontext()
    if out is not None:
        block = mfu_profiler.track(training.model, out=out, **{**QUICK, "report": "never", **settings})
    with block as run:
        for number in range(1, STEPS + 1):
            training.step(number)
            if run is not None and says_steps:
                run.step()
    return [parameter.detach().cpu() for parameter in training.model.parameters()]


@pytest.mark.parametrize("capture_at", range(12))
def test_a_step_captured_as_one_graph_learns_the_same_wherever_it_is_captured(
    capture_at: int, gpu: torch.device, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the block, and in each of its phases: in none may anything of ours break the capture."""
    plain, tracked = graph_weights(gpu, capture_at, None), graph_weights(gpu, capture_at, tmp_path)
    assert all(torch.equal(one, other) for one, other in zip(plain, tracked, strict=True))
    assert [record.getMessage() for record in caplog.records if record.name == "mfu_profiler"] == []
    live = timeline_of(tmp_path).live
    assert live is not None and live.run.boundary == "run.step()"
    assert live.run.step_clock == "device events"


@pytest.mark.parametrize("capture_at", range(1, 12))
def test_a_capture_that_ends_a_step_by_its_forward_is_not_broken(
    capture_at: int, gpu: torch.device, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without ``run.step()`` a step is over at the next forward: here one that is being captured, in which
    the profiler must neither start nor end, and no event be asked for."""
    plain = graph_weights(gpu, capture_at, None)
    tracked = graph_weights(gpu, capture_at, tmp_path, says_steps=False)
    assert all(torch.equal(one, other) for one, other in zip(plain, tracked, strict=True))
    assert [record.getMessage() for record in caplog.records if record.name == "mfu_profiler"] == []
    live = timeline_of(tmp_path).live
    assert live is not None and live.run.steps_done is not None and live.run.steps_done <= capture_at


def test_replays_are_timed_and_their_flop_may_be_given(gpu: torch.device, tmp_path: Path) -> None:
    """Two Linear layers: 6 x rows x width x width for each, the first without the gradient of its input."""
    flop = (6 + 4) * ROWS * WIDTH**2
    graph_weights(gpu, 0, tmp_path, report="now", flop_per_step=float(flop), peak_tflops=2000.0)
    (path,) = tmp_path.glob("*.pt.trace.json.gz")
    report = mfu_profiler.analyze(path)
    timeline = timeline_of(tmp_path)
    assert len(timeline.activities.start_ns) > 0, "kernels of replays are in the trace"
    assert report.step_time_s is not None and report.mfu == pytest.approx(flop / report.step_time_s / 2000e12)


def test_replays_without_a_count_have_no_mfu_and_say_why(gpu: torch.device, tmp_path: Path) -> None:
    graph_weights(gpu, 0, tmp_path, report="now")
    (path,) = tmp_path.glob("*.pt.trace.json.gz")
    report = mfu_profiler.analyze(path)
    assert report.mfu is None and report.mfu_unknown_because
    assert report.step_time_s is not None and report.step_time_s > 0
