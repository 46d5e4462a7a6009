"""Matmuls of the optimizer are executed, but are not model FLOP; those of its closure are the model's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mfu_profiler.capture.flop.flop_counter import FlopCounter

from .counted_models import Mlp, count_announced, matmul


class Muon(torch.optim.Optimizer):
    """Without momentum: the Newton-Schulz iteration X <- (a + b A + c A^2) X, with A = X X^T."""

    rounds = 2

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None and parameter.grad.ndim == 2:
                x = parameter.grad / parameter.grad.norm()
                for _ in range(self.rounds):
                    gram = x @ x.T
                    x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
                parameter.sub_(x, alpha=0.1)
        return loss

    @classmethod
    def flop(cls, rows: int, columns: int) -> int:
        """Of one matrix."""
        return cls.rounds * (2 * matmul(rows, columns, rows) + matmul(rows, rows, rows))


MLP_MUON = Muon.flop(16, 8) + Muon.flop(4, 16)
FORWARD = matmul(5, 8, 16, 4)
BACKWARD = 2 * FORWARD - matmul(5, 8, 16)


def announced(counter: FlopCounter, step: Callable[[], object]) -> None:
    """An optimizer step as the watch announces it."""
    counter.optimizer_begins()
    step()
    counter.optimizer_ends()


def test_matmuls_of_muon_are_hardware_flop_but_not_model_flop() -> None:
    model, x = Mlp(), torch.randn(5, 8)
    optimizer = Muon(model.parameters())

    def step(counter: FlopCounter) -> None:
        model(x).sum().backward()
        announced(counter, optimizer.step)
        model(x).sum().backward()  # FLOP after it are the model's again

    count = count_announced(model, step)
    assert (count.forward, count.backward) == (2 * FORWARD, 2 * BACKWARD)
    assert (count.optimizer, count.recomputed) == (MLP_MUON, 0)
    assert count.hardware == count.model + MLP_MUON
    assert sum(count.by_precision.values()) == count.hardware
    assert sum(flop for _, *parts in count.by_module for flop in parts) == count.model


def test_the_closure_of_an_optimizer_step_runs_the_model() -> None:
    model, x = Mlp(), torch.randn(5, 8)
    optimizer = Muon(model.parameters())

    def closure() -> float:
        loss = model(x).sum()
        loss.backward()
        return loss.item()

    count = count_announced(model, lambda counter: announced(counter, lambda: optimizer.step(closure)))
    assert (count.forward, count.backward, count.optimizer) == (FORWARD, BACKWARD, MLP_MUON)


def test_an_optimizer_that_steps_inside_backward_is_an_optimizer() -> None:
    model, x = Mlp(), torch.randn(5, 8)

    def step(counter: FlopCounter) -> None:
        for parameter in model.parameters():
            optimizer = Muon([parameter])
            parameter.register_post_accumulate_grad_hook(
                lambda _, optimizer=optimizer: announced(counter, optimizer.step)
            )
        model(x).sum().backward()

    count = count_announced(model, step)
    assert (count.forward, count.backward, count.optimizer) == (FORWARD, BACKWARD, MLP_MUON)


def test_a_training_step_inside_a_module_leaves_the_optimizer_an_optimizer() -> None:
    model, x = Mlp(), torch.randn(5, 8)
    optimizer = Muon(model.parameters())

    class Trainer(nn.Module):
        def forward(self, counter: FlopCounter) -> None:
            model(x).sum().backward()
            announced(counter, optimizer.step)

    count = count_announced(model, Trainer())
    assert (count.forward, count.backward) == (FORWARD, BACKWARD)
    assert (count.optimizer, count.recomputed) == (MLP_MUON, 0)


def test_optimizer_steps_nest() -> None:
    model, x = Mlp(), torch.randn(5, 8)
    optimizer = Muon(model.parameters())

    def step(counter: FlopCounter) -> None:
        model(x).sum().backward()
        announced(counter, lambda: announced(counter, optimizer.step))
        counter.optimizer_ends()  # one too many does no harm
        model(x)

    count = count_announced(model, step)
    assert (count.forward, count.optimizer) == (2 * FORWARD, MLP_MUON)


def test_an_optimizer_without_matmuls_costs_nothing() -> None:
    model, x = Mlp(), torch.randn(5, 8)
    optimizer = torch.optim.AdamW(model.parameters())

    def step(counter: FlopCounter) -> None:
        model(x).sum().backward()
        announced(counter, optimizer.step)

    assert count_announced(model, step).optimizer == 0
