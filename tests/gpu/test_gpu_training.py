"""Training is sacred on a device too: the weights are the same to the bit, and every step is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.gpu.trainings import (
    LAST_PROFILED,
    PRECISIONS,
    STEPS,
    Make,
    Shape,
    Step,
    cnn_training,
    gpt_training,
    in_precision,
    timeline_of,
    weights_after,
)

# Of what torch and drivers warn of on a machine that nobody has tried nothing is ours.
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("default"),
    pytest.mark.usefixtures("deterministic"),
]

DROPOUT = Shape(dropout=0.1)


def are_same(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


def assert_same(make: Make, device: torch.device, folder: Path) -> None:
    """The weights with and without tracking; the trace has each step, and the device's kernels."""
    fresh = weights_after(make, device, None, steps=0)
    plain, tracked = weights_after(make, device, None), weights_after(make, device, folder)
    assert all(weight.isfinite().all() for weight in plain), "NaN would hide a difference"
    assert not are_same(plain, fresh), "who learns nothing always learns the same"
    assert are_same(plain, tracked)
    timeline = timeline_of(folder)
    assert timeline.live is not None and timeline.live.run.notes == ()
    if device.type == "cuda":
        assert len(timeline.activities.start_ns) > 0
    assert len(timeline.live.run.step_times_ns) > 0
    assert timeline.live.run.steps_done == LAST_PROFILED, "whole steps up to the export"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_gpt_with_dropout_learns_the_same(precision: str, device: torch.device, tmp_path: Path) -> None:
    with in_precision(precision, device):
        assert_same(gpt_training(DROPOUT, precision), device, tmp_path)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_cnn_learns_the_same(precision: str, device: torch.device, tmp_path: Path) -> None:
    with in_precision(precision, device):
        assert_same(cnn_training(precision), device, tmp_path)


def accumulating(device: torch.device) -> tuple[nn.Module, Step]:
    """Three micro-batches a step."""
    model = nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.5), nn.Linear(64, 64)).to(device)
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        for _ in range(3):
            model(torch.randn(8, 64, device=device)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, step


def overflowing(device: torch.device) -> tuple[nn.Module, Step]:
    """fp16 with a scale that overflows at first and grows back soon, so that some steps are skipped."""
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler(device.type, init_scale=2.0**19, growth_interval=2)
    batch = torch.randn(8, 64, device=device)

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.float16):
            loss = model(batch).square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return model, step


def stepping_in_backward(device: torch.device) -> tuple[nn.Module, Step]:
    """An optimizer for each parameter, run by backward: on a GPU, in a thread of autograd."""
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64)).to(device)
    for parameter in model.parameters():
        optimizer = torch.optim.AdamW([parameter])

        def update(parameter: Tensor, optimizer: torch.optim.Optimizer = optimizer) -> None:
            optimizer.step()
            optimizer.zero_grad()

        parameter.register_post_accumulate_grad_hook(update)  # type: ignore[no-untyped-call]  # torch's
    batch = torch.randn(8, 64, device=device)
    return model, lambda: model(batch).square().mean().backward()


class Checkpointed(nn.Module):
    """A stack whose dropout must draw the same when it is recomputed."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.5), nn.Tanh()) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False)
        return x


def checkpointing(device: torch.device) -> tuple[nn.Module, Step]:
    model = Checkpointed().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    batch = torch.randn(8, 64, device=device)

    def step() -> None:
        model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, step


@pytest.mark.parametrize("make", [accumulating, overflowing, stepping_in_backward, checkpointing])
def test_other_ways_to_train_learn_the_same(make: Make, device: torch.device, tmp_path: Path) -> None:
    assert_same(make, device, tmp_path)


def test_the_scale_overflows_in_some_steps_and_not_in_others(device: torch.device) -> None:
    """Else the case above shows nothing."""
    torch.manual_seed(0)
    model, step = overflowing(device)
    has_learnt: list[bool] = []
    for _ in range(STEPS):
        before = [parameter.detach().clone() for parameter in model.parameters()]
        step()
        has_learnt.append(not are_same(before, list(model.parameters())))
    assert not has_learnt[0] and any(has_learnt), has_learnt


def test_a_model_on_the_second_device_is_recorded_there(gpu: torch.device, tmp_path: Path) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("one device only")
    second = torch.device("cuda", 1 if gpu.index == 0 else 0)
    weights_after(gpt_training(Shape()), second, tmp_path)  # the current device stays the first
    timeline = timeline_of(tmp_path)
    assert timeline.live is not None and timeline.live.device is not None
    assert timeline.live.device.index == timeline.device_index == second.index
    assert timeline.live.run.step_clock == "device events" and len(timeline.live.run.step_times_ns) > 0
    assert len(timeline.activities.start_ns) > 0
