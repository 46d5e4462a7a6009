"""What a watch is told, as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mfu_profiler.capture.observe.listener import Call, ForwardMode
from mfu_profiler.capture.observe.watch import Watch

WATCHED = [
    (torch.autograd.profiler.record_function, "__enter__"),
    (torch.autograd.profiler.record_function, "__exit__"),
    (torch.amp.GradScaler, "_maybe_opt_step"),
    (Tensor, "backward"),
]


class Heard:
    """F: a training forward, E: another one, ( and ): an optimizer begins and ends, !: an error."""

    def __init__(self) -> None:
        self.picture = ""
        self.models: list[nn.Module] = []
        self.optimizers: list[Optimizer] = []
        self.arguments: list[Call | None] = []
        self.errors: list[Exception] = []

    def on_forward(
        self, model: nn.Module, mode: ForwardMode, now_ns: int, thread: int, mark: object, call: Call | None
    ) -> None:
        self.picture += "F" if mode == "training" else "E"
        self.models.append(model)
        self.arguments.append(call)

    def on_optimizer_begin(self, optimizer: Optimizer) -> None:
        self.picture += "("
        self.optimizers.append(optimizer)

    def on_optimizer_end(self, optimizer: Optimizer, now_ns: int, mark: object) -> None:
        self.picture += ")"
        assert optimizer is self.optimizers[-1]

    def on_error(self, error: Exception) -> None:
        self.picture += "!"
        self.errors.append(error)


@contextmanager
def watched(model: nn.Module | None) -> Iterator[Heard]:
    """Watches the block."""
    heard = Heard()
    watch = Watch(model, heard)
    watch.start()
    try:
        yield heard
    finally:
        watch.stop()


class Net(nn.Module):
    """Two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        result: Tensor = self.second(torch.relu(self.first(x))) * scale
        return result


class OwnCall(Net):
    """Defines what others inherit."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)


class Descent(Optimizer):
    """An optimizer that Dynamo compiles without a break."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.01})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.add_(parameter.grad, alpha=-group["lr"])


def train(model: nn.Module, *optimizers: Optimizer, steps: int = 2) -> None:
    """Forward, backward, a step of each optimizer."""
    for _ in range(steps):
        model(torch.ones(2, 4)).sum().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
