"""What is told of a training: forwards of the tracked model, and steps of its optimizers."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from torch import nn
from torch.optim import Optimizer

__all__ = ["Call", "ForwardMode", "Listener"]

ForwardMode = Literal["training", "evaluation", "other"]
"""``other``: in training mode, but without gradients."""
Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional arguments, and those by name."""


class Listener(Protocol):
    """Is told one thing at a time, maybe on a thread of autograd; what it raises never reaches the user."""

    def on_forward(
        self, model: nn.Module, mode: ForwardMode, now_ns: int, thread: int, mark: object, call: Call | None
    ) -> None:
        """Before a forward.

        Args:
            model: the tracked module, or the one inside it if it is one of torch's wrappers.
            mode: of module and autograd.
            now_ns: Unix epoch.
            thread: identifier of the thread that calls it.
            mark: of ``Watch.clock``, where a step may have ended before this; else None.
            call: its arguments, as the outermost wrapper was given them; None where told late.

        """

    def on_optimizer_begin(self, optimizer: Optimizer) -> None:
        """Before an optimizer's step; steps inside steps are not told."""

    def on_optimizer_end(self, optimizer: Optimizer, now_ns: int, mark: object) -> None:
        """After it, also where it raised or was skipped; see ``on_forward`` for the arguments."""

    def on_error(self, error: Exception) -> None:
        """Something of ours failed, the listener included; nothing more will be told."""
