"""Two runs to compare: the training of ``demo`` with its slow loader, and with the fix of its report."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import mfu_profiler
from mfu_profiler.capture.demo_training import ACTIVE, BATCH, STEPS, TIMED, WARMUP, Gpt, SlowText

__all__ = ["train_runs"]

WORKERS = {"slow_loader": 0, "two_workers": 2}
"""Name of the run -> processes that make its batches."""


def train_runs(folder: Path) -> None:
    """Train both; each leaves its files in a folder of its name."""
    torch.set_num_threads(1)
    for name, workers in WORKERS.items():
        train(folder / name, DataLoader(SlowText(), batch_size=BATCH, num_workers=workers))


def train(out: Path, loader: DataLoader[torch.Tensor]) -> None:
    """One tracked training on the CPU."""
    torch.manual_seed(0)
    model = Gpt()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    batches = iter(loader)
    with mfu_profiler.track(model, warmup=WARMUP, timed=TIMED, active=ACTIVE, out=out, report="exit"):
        for _ in range(STEPS):
            tokens = next(batches)
            logits = model(tokens[:, :-1])
            loss = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimizer.step()
            optimizer.zero_grad()
