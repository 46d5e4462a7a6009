"""Optimizer steps that nobody can watch: those compiled by Dynamo into one graph with what surrounds them.

They change the version counters of the parameters, as every in-place update does, so they are seen a little
later, when the counters are read at the next training forward or backward. Hooks of torch's optimizers would
see them at once, but registering one makes Dynamo compile every compiled optimizer again.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from weakref import ref

import torch
from torch import nn
from torch.optim import Optimizer

from mfu_profiler.capture.observe.discover import optimizers_of, parameters_of

__all__ = ["SilentSteps"]

MOST_SEARCHES = 3
"""Where no optimizer was found so often there is none."""
SAMPLED_PARAMETERS = 4
"""Of each optimizer, evenly spread, as some may get no gradient."""


@dataclass(slots=True)
class _Sample:
    optimizer: ref[Optimizer]
    parameters: list[torch.Tensor]
    versions: list[int]


class SilentSteps:
    """Finds the steps of optimizers that are compiled, where no optimizer was seen to step.

    Args:
        model: only optimizers that hold parameters of it are looked at; None: all.

    """

    def __init__(self, model: nn.Module | None) -> None:
        self._model = model
        self._samples: list[_Sample] = []
        self._searches_left = MOST_SEARCHES

    def stepped(self) -> Optimizer | None:
        """An optimizer that has stepped since the last call; None if none has, and at the first call."""
        if not self._samples:
            self._search()
            return None
        found = None
        for sample in self._samples:
            versions = _versions(sample.parameters)
            if versions != sample.versions:
                sample.versions = versions
                found = found or sample.optimizer()
        return found

    def _search(self) -> None:
        if (
            self._searches_left == 0 or "torch._dynamo" not in sys.modules
        ):  # nothing is compiled, nothing silent
            return
        self._searches_left -= 1
        for optimizer in optimizers_of(self._model):
            held = [one for one in parameters_of(optimizer) if one.requires_grad and not one.is_inference()]
            sample = held[:: max(1, len(held) // SAMPLED_PARAMETERS)]
            self._samples.append(_Sample(ref(optimizer), sample, _versions(sample)))


def _versions(parameters: list[torch.Tensor]) -> list[int]:
    return [parameter._version for parameter in parameters]
