"""A formula: how to cost the calls of one op, and which arguments its matmul multiplies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mfu_profiler.flops.call import OpCall, OpCost

__all__ = ["Formula"]


@dataclass(frozen=True, slots=True)
class Formula:
    """One row of the table of formulas."""

    cost: Callable[[OpCall], OpCost]
    """Cost of a call. Raises ``NoCostError`` where the call does not say enough or contradicts itself."""
    operands: tuple[int, ...]
    """Indices of the arguments whose dtypes decide in which precision the arithmetic runs."""
