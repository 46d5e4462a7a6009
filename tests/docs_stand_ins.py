"""What the reader of an example has already: a model, batches, a training step."""

from __future__ import annotations

from typing import Any

import torch

import mfu_profiler

__all__ = ["stand_ins"]


def stand_ins() -> dict[str, Any]:
    """Names for the namespace of one block; none is shared with another block."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = [torch.randn(8, 16) for _ in range(12)]

    def train_step(batch: torch.Tensor) -> float:
        loss = model(batch).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return {
        "mfu_profiler": mfu_profiler,
        "torch": torch,
        "model": model,
        "optimizer": optimizer,
        "loader": loader,
        "train_step": train_step,
        "run": mfu_profiler.track(model, quiet=True),
        "iteration": 0,
        "loss": 1.0,
        "dt": 0.5,
    }
