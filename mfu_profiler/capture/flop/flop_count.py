"""The FLOP of one step as counted live, split by purpose, precision and module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = ["OUTSIDE", "FlopCount", "ModuleFlop"]

ModuleFlop = tuple[str, int, int, int]
"""Name of a module within the model, and its own FLOP: forward, backward, recomputed. ``""`` is the model."""

OUTSIDE = "(outside the model)"
"""The name under which FLOP stand that ran in no module of the model: a loss, a second model."""

_NOTHING: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class FlopCount:
    """FLOP of one step on this process' device. One multiply-add is 2 FLOP."""

    forward: int = 0
    """Model FLOP of the forward pass."""
    backward: int = 0
    """Model FLOP of the backward pass, that of ``create_graph=True`` included."""
    recomputed: int = 0
    """FLOP executed a second time: by checkpointing, and the scores inside flash attention's backward."""
    optimizer: int = 0
    """Matmuls of the optimizer (Muon, Shampoo): executed, but not model FLOP."""
    causal_model: int | None = None
    """``model`` with causal attention counted by half; None where no call says causal."""
    by_precision: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    """Executed FLOP by operand precision (``"bf16"``, ...); those of unknown operands are left out."""
    by_module: tuple[ModuleFlop, ...] = ()
    """In the model's order, those without FLOP left out; they add up to the totals."""
    uncounted: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    """Calls, by op name, whose FLOP are not known."""

    @property
    def model(self) -> int:
        """What the model needs: forward and backward."""
        return self.forward + self.backward

    @property
    def hardware(self) -> int:
        """What was executed: model FLOP, recomputation, and the optimizer's matmuls."""
        return self.model + self.recomputed + self.optimizer

    def __add__(self, other: FlopCount) -> FlopCount:
        """FLOP of both."""
        causal = None
        if self.causal_model is not None or other.causal_model is not None:
            causal = self._model_with_causal_by_half() + other._model_with_causal_by_half()
        return FlopCount(
            forward=self.forward + other.forward,
            backward=self.backward + other.backward,
            recomputed=self.recomputed + other.recomputed,
            optimizer=self.optimizer + other.optimizer,
            causal_model=causal,
            by_precision=_sums(self.by_precision, other.by_precision),
            by_module=_module_sums((*self.by_module, *other.by_module)),
            uncounted=_sums(self.uncounted, other.uncounted),
        )

    def __mul__(self, times: int) -> FlopCount:
        """FLOP of as many steps alike."""
        return FlopCount(
            forward=self.forward * times,
            backward=self.backward * times,
            recomputed=self.recomputed * times,
            optimizer=self.optimizer * times,
            causal_model=None if self.causal_model is None else self.causal_model * times,
            by_precision={name: flop * times for name, flop in self.by_precision.items()},
            by_module=tuple((name, a * times, b * times, c * times) for name, a, b, c in self.by_module),
            uncounted={name: calls * times for name, calls in self.uncounted.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """The members that a trace keeps of it."""
        return {
            "forward": self.forward,
            "backward": self.backward,
            "recomputed": self.recomputed,
            "optimizer": self.optimizer,
            "causal_model": self.causal_model,
            "by_precision": dict(self.by_precision),
            "by_module": [list(row) for row in self.by_module],
            "uncounted": dict(self.uncounted),
        }

    def _model_with_causal_by_half(self) -> int:
        return self.model if self.causal_model is None else self.causal_model


def _sums(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return dict(Counter(first) + Counter(second))


def _module_sums(rows: Iterable[ModuleFlop]) -> tuple[ModuleFlop, ...]:
    sums: dict[str, tuple[int, int, int]] = {}
    for name, forward, backward, recomputed in rows:
        before = sums.get(name, (0, 0, 0))
        sums[name] = (before[0] + forward, before[1] + backward, before[2] + recomputed)
    return tuple((name, *flop) for name, flop in sums.items())
