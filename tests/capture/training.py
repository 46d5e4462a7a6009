"""Small trainings for the tests of ``track``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import mfu_profiler
from mfu_profiler.analysis import Report

QUICK: dict[str, Any] = {"warmup": 1, "timed": 2, "active": 2, "peak_tflops": 1.0, "quiet": True}
"""Untouched 1, counted 2, warm-up 3, timed 4 and 5, prepared 6, profiled 7 and 8."""
STEPS = 10
"""Enough steps for the whole plan of ``QUICK`` and one beyond."""

MLP_FLOP = 2 * 4 * 2 * 128 + 3 * 4 * 2 * 128
"""Of one step of ``Mlp`` with 4 rows: two layers forward; backward all but the first one's input gradient."""

Step = Callable[[], object]


class Mlp(nn.Module):
    """8 -> 16 -> 8 with dropout: 2 x 128 multiply-adds per row."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow, self.drop = nn.Linear(8, 16), nn.Linear(16, 8), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.narrow(self.drop(torch.relu(self.wide(x))))
        return result


def mlp_training(
    model: nn.Module | None = None, *, called: nn.Module | None = None, rows: int = 4
) -> tuple[nn.Module, Step]:
    """(Model, one training step of it); ``called`` stands before it, compiled say."""
    model = Mlp() if model is None else model
    outer = model if called is None else called
    optimizer = sgd(model)

    def step() -> None:
        loss = outer(torch.randn(rows, 8)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, step


def weights_after(
    make: Callable[[], tuple[nn.Module, Step]], out: Path | None, steps: int = STEPS
) -> list[Tensor]:
    """Weights after some steps from seed 0, tracked into a folder or not tracked."""
    torch.manual_seed(0)
    model, step = make()
    block: AbstractContextManager[Any] = nullcontext()
    if out is not None:
        block = mfu_profiler.track(model, out=str(out), report="never", **QUICK)
    with block:
        for _ in range(steps):
            step()
    return [parameter.detach().clone() for parameter in model.parameters()]


def tracked(
    model: nn.Module | None, step: Step, folder: Path, steps: int = STEPS, **settings: Any
) -> mfu_profiler.Run:
    """A block of some steps, ended."""
    with mfu_profiler.track(model, out=folder, **{**QUICK, **settings}) as run:
        for _ in range(steps):
            step()
    return run


def report_of(run: mfu_profiler.Run) -> Report:
    """Its report, which must exist."""
    assert run.report is not None
    return run.report


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """The plainest optimizer."""
    return torch.optim.SGD(model.parameters(), lr=0.01)


def loss_of(model: nn.Module) -> Any:
    """Of a random batch of 4 rows."""
    return model(torch.randn(4, 8)).square().mean()


def train_to_the_end(folder: object, **settings: Any) -> tuple[mfu_profiler.Run, int]:
    """A tracked training, and how many steps it made."""
    model, step = mlp_training()
    done = 0
    with mfu_profiler.track(model, out=str(folder), **{**QUICK, **settings}) as run:
        for _ in range(STEPS):
            step()
            done += 1
    return run, done
