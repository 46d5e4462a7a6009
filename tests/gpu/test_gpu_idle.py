"""Known causes of idle time on a real device: a sync, a slow loader, and neither; the host runs ahead."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import mfu_profiler
from mfu_profiler import Run
from mfu_profiler.analysis.report import Partition
from tests.gpu.trainings import Shape, StepClock, cuda, gpt_training

# Of what torch and drivers warn of on a machine that nobody has tried nothing is ours.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

PLAN: dict[str, Any] = {"warmup": 2, "timed": 5, "active": 8, "quiet": True}
STEPS = 22


@pytest.fixture(scope="module")
def busy(gpu: torch.device) -> Callable[[float], None]:
    """``busy(seconds)`` keeps the device so long with one kernel, and returns at once."""
    cycles = 20_000_000
    for _ in range(10):  # until the clock has risen
        cuda._sleep(cycles)
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    start.record()
    cuda._sleep(cycles)
    end.record()
    end.synchronize()
    cycles_per_s = cycles / (start.elapsed_time(end) / 1e3)
    return lambda seconds: cuda._sleep(round(seconds * cycles_per_s))


def small_training(gpu: torch.device) -> Callable[[Tensor], Tensor]:
    """One step of a small model; returns the loss."""
    model = nn.Linear(64, 64).to(gpu)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step(batch: Tensor) -> Tensor:
        loss: Tensor = model(batch).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


def partition_of(step: Callable[[Run], object], folder: Path) -> Partition:
    with mfu_profiler.track(out=folder, peak_tflops=1.0, **PLAN) as run:
        for _ in range(STEPS):
            step(run)
    assert run.report is not None and run.report.partition is not None
    return run.report.partition


@pytest.mark.parametrize("has_item", [True, False])
def test_an_item_in_every_step_is_a_loss_only_where_the_device_drains(
    has_item: bool, busy: Callable[[float], None], gpu: torch.device, tmp_path: Path
) -> None:
    """10 ms of device work, then 5 ms in which the host sleeps: hidden, or 5 of 15 ms if it waits."""
    train, batch = small_training(gpu), torch.randn(8, 64, device=gpu)

    def step(run: Run) -> None:
        busy(0.010)
        loss = train(batch)
        if has_item:
            loss.item()
        time.sleep(0.005)

    parts = partition_of(step, tmp_path)
    if has_item:
        assert parts.idle_synchronization == pytest.approx(0.33, abs=0.08)
    else:
        assert parts.idle_synchronization < 0.03
        assert parts.compute > 0.9


def test_an_item_on_a_device_with_much_to_do_costs_next_to_nothing(
    busy: Callable[[float], None], gpu: torch.device, tmp_path: Path
) -> None:
    """The next step's launch follows the wait at once: some 0.1 of 20 ms."""
    train, batch = small_training(gpu), torch.randn(8, 64, device=gpu)

    def step(run: Run) -> None:
        busy(0.020)
        train(batch).item()

    parts = partition_of(step, tmp_path)
    assert parts.idle_synchronization < 0.05 and parts.compute > 0.9


class Slow(Dataset[Tensor]):
    """Batches that take their time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> Tensor:
        time.sleep(self._seconds)
        return torch.full((64,), float(index))


def test_a_slow_loader_is_data_loading(
    busy: Callable[[float], None], gpu: torch.device, tmp_path: Path
) -> None:
    """20 ms for a batch, while the device works for 5: about 15 of 20 ms."""
    train = small_training(gpu)
    batches = iter(DataLoader(Slow(0.020), batch_size=1, pin_memory=True))

    def step(run: Run) -> None:
        batch = next(batches).to(gpu, non_blocking=True)
        busy(0.005)
        train(batch)

    parts = partition_of(step, tmp_path)
    assert parts.idle_data_loading == pytest.approx(0.73, abs=0.08)
    assert parts.idle_data_loading > 0.85 * (1 - parts.compute - parts.copy)


def test_a_slow_loader_whose_workers_keep_up_costs_nothing(
    busy: Callable[[float], None], gpu: torch.device, tmp_path: Path
) -> None:
    """10 ms for a batch in each of two forked workers, 20 ms of device work a step; pinned by a thread."""
    train = small_training(gpu)
    workers: dict[str, Any] = {"num_workers": 2, "multiprocessing_context": "fork"}
    batches = iter(DataLoader(Slow(0.010), batch_size=1, pin_memory=True, **workers))

    def step(run: Run) -> None:
        batch = next(batches).to(gpu, non_blocking=True)
        busy(0.020)
        train(batch)

    parts = partition_of(step, tmp_path)
    assert parts.idle_data_loading < 0.03 and parts.compute > 0.9


def test_the_users_own_mark_is_data_loading(
    busy: Callable[[float], None], gpu: torch.device, tmp_path: Path
) -> None:
    """``run.data()`` around 15 ms, in the first 5 of which the device works: some 11 of 16."""
    train, batch = small_training(gpu), torch.randn(8, 64, device=gpu)

    def step(run: Run) -> None:
        with run.data():
            time.sleep(0.015)
        busy(0.005)
        train(batch)

    parts = partition_of(step, tmp_path)
    assert parts.idle_data_loading == pytest.approx(0.68, abs=0.08)
    assert parts.idle_data_loading > 0.85 * (1 - parts.compute - parts.copy)


def test_the_live_step_time_is_the_devices_though_nothing_waits_for_it(
    device: torch.device, tmp_path: Path
) -> None:
    """The host runs some steps ahead, never a tenth of the window; reading live numbers waits for nothing."""
    is_cuda = device.type == "cuda"
    shape = Shape(width=1024, context=512, heads=16, layers=6, sequences=4) if is_cuda else Shape()
    model, step = gpt_training(shape)(device)
    steps = 160
    plan: dict[str, Any] = {"warmup": 2, "timed": 10, "active": 3, "report": "never", "quiet": True}
    clock = StepClock(device)
    with mfu_profiler.track(model, out=tmp_path, peak_tflops=1000.0, **plan) as run:
        for _ in range(steps):
            step()
            clock.mark()
        live_s, numbers = run.step_time_s, run.metrics()
        is_behind = clock.is_behind()
    assert is_behind or not is_cuda, "the host waited for the device, or was no quicker than it"
    rest_s = mean(clock.lengths_s()[20:])  # profiled are 16 to 18
    assert live_s == pytest.approx(rest_s, rel=0.1 if is_cuda else 0.5)
    assert numbers["steps"] >= steps - 1 and numbers["step_time_s"] == pytest.approx(live_s, rel=0.05)
    assert numbers["mfu"] == pytest.approx(shape.model_flop / numbers["step_time_s"] / 1000e12)
