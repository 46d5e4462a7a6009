"""Adding up costs while a step runs, and what they were for once it is over.

Which FLOP of a backward are recomputation is known only at its end: ops with grad enabled are, except where
the whole backward runs with grad enabled, because it was asked for with ``create_graph=True``. A *graph task*
is one call of the autograd engine.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from mfu_profiler.capture.flop.dispatched_op import Cost
from mfu_profiler.capture.flop.flop_count import OUTSIDE, FlopCount

__all__ = ["FlopTally", "Purpose", "Slot"]


class Purpose(Enum):
    """What an op is run for."""

    FORWARD = "forward"
    BACKWARD = "backward"
    RECOMPUTED = "recomputed"
    OPTIMIZER = "optimizer"


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the FLOP of an op are added."""

    purpose: Purpose
    module: str | None
    """Name of its module; None outside the model."""
    grad_task: int | None = None
    """The graph task, for an op of a backward that ran with grad enabled."""


@dataclass(slots=True)
class _Sums:
    model: int = 0
    recomputed_inside: int = 0
    causal: int = 0
    """``model`` with causal attention by half."""


class FlopTally:
    """Sums of FLOP. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: dict[Slot, _Sums] = {}
        self._precisions: Counter[str] = Counter()
        self._uncounted: Counter[str] = Counter()
        self._says_causal = False
        self._creates_graph: dict[int, bool] = {}
        self._tasks_without_grad: set[int] = set()

    def add(self, slot: Slot, cost: Cost) -> None:
        """Add the cost of one op."""
        flop = cost.flop
        causal = flop.causal_model_flop
        with self._lock:
            sums = self._sums.setdefault(slot, _Sums())
            sums.model += flop.model_flop
            sums.recomputed_inside += flop.recompute_flop
            sums.causal += flop.model_flop if causal is None else causal
            self._says_causal |= causal is not None
            if cost.precision is not None:
                self._precisions[cost.precision] += flop.model_flop + flop.recompute_flop

    def add_unknown(self, name: str) -> None:
        """Count a call whose FLOP nobody knows."""
        with self._lock:
            self._uncounted[name] += 1

    def knows_task(self, task: int) -> bool:
        """Whether it is known already if that backward creates a graph."""
        return task in self._creates_graph

    def note_op_of_task(self, task: int, *, grad_enabled: bool, by_engine: bool) -> None:
        """Learn from an op of a backward whether that creates a graph.

        Args:
            task: number of the graph task.
            grad_enabled: whether the op ran with grad enabled.
            by_engine: whether an autograd node called it; a Python function may set grad mode itself.

        """
        with self._lock:
            if by_engine:
                self._creates_graph.setdefault(task, grad_enabled)
            elif not grad_enabled:
                self._tasks_without_grad.add(task)

    def result(self, module_order: Iterable[str]) -> FlopCount:
        """The sums, every op having found its purpose."""
        with self._lock:
            totals: Counter[Purpose] = Counter()
            modules: dict[str, Counter[Purpose]] = {name: Counter() for name in (*module_order, OUTSIDE)}
            causal = 0
            for slot, sums in self._sums.items():
                purpose = self._final_purpose(slot)
                flop = Counter({purpose: sums.model})
                flop[Purpose.RECOMPUTED] += sums.recomputed_inside
                totals.update(flop)
                modules[OUTSIDE if slot.module is None else slot.module].update(flop)
                if purpose in (Purpose.FORWARD, Purpose.BACKWARD):
                    causal += sums.causal
            return FlopCount(
                forward=totals[Purpose.FORWARD],
                backward=totals[Purpose.BACKWARD],
                recomputed=totals[Purpose.RECOMPUTED],
                optimizer=totals[Purpose.OPTIMIZER],
                causal_model=causal if self._says_causal else None,
                by_precision=dict(self._precisions),
                by_module=tuple(
                    (name, flop[Purpose.FORWARD], flop[Purpose.BACKWARD], flop[Purpose.RECOMPUTED])
                    for name, flop in modules.items()
                    if flop.total() > flop[Purpose.OPTIMIZER]
                ),
                uncounted=dict(self._uncounted),
            )

    def _final_purpose(self, slot: Slot) -> Purpose:
        if slot.grad_task is None:
            return slot.purpose
        by_other_ops = slot.grad_task not in self._tasks_without_grad
        creates_graph = self._creates_graph.get(slot.grad_task, by_other_ops)
        return Purpose.BACKWARD if creates_graph else Purpose.RECOMPUTED
