"""A training with steps of about 20 ms on one CPU thread, and how its steps are timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

import mfu_profiler
from mfu_profiler.capture.demo_training import VOCABULARY, Gpt

__all__ = ["Training", "one_thread", "tracked"]

SEQUENCES, LENGTH = 2, 96


class Training:
    """A small GPT: some 1,500 ops a step."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = Gpt()
        self._optimizer: torch.optim.Optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self._tokens = torch.randint(VOCABULARY, (SEQUENCES, LENGTH + 1))

    def step(self) -> None:
        """One training step."""
        logits = self.model(self._tokens[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), self._tokens[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._optimizer.zero_grad()

    def times_ns(self, steps: int, after: Callable[[], object] = lambda: None) -> list[int]:
        """Time of each of so many steps; ``after`` is called between them, and not timed."""
        lengths = []
        for _ in range(steps):
            start_ns = time.perf_counter_ns()
            self.step()
            lengths.append(time.perf_counter_ns() - start_ns)
            after()
        return lengths


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on one thread: several would wait for each other whenever another process runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tracked(training: Training, out: Path, **settings: Any) -> mfu_profiler.Run:
    """Its run, without a report: what is measured is what the training process pays."""
    return mfu_profiler.track(
        training.model, out=str(out), report="never", peak_tflops=1.0, quiet=True, **settings
    )
