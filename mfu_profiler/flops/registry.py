"""Every formula by op name, and the questions one may ask about a call."""

from __future__ import annotations

from collections.abc import Mapping

from mfu_profiler.flops.arguments import LARGEST_COUNT, NoCostError, dtype_at
from mfu_profiler.flops.attention_ops import ATTENTION_FORMULAS
from mfu_profiler.flops.call import OpCall, OpCost
from mfu_profiler.flops.convolution import CONVOLUTION_FORMULAS
from mfu_profiler.flops.convolution_backward import CONVOLUTION_BACKWARD_FORMULAS
from mfu_profiler.flops.dtypes import widest_precision
from mfu_profiler.flops.formula import Formula
from mfu_profiler.flops.matmul import MATMUL_FORMULAS
from mfu_profiler.flops.packed_matmul import PACKED_MATMUL_FORMULAS
from mfu_profiler.flops.recurrent import RECURRENT_FORMULAS

__all__ = ["formula_names", "has_formula", "matmul_dtype", "op_cost"]

_FORMULAS: Mapping[str, Formula] = {
    **MATMUL_FORMULAS,
    **PACKED_MATMUL_FORMULAS,
    **CONVOLUTION_FORMULAS,
    **CONVOLUTION_BACKWARD_FORMULAS,
    **ATTENTION_FORMULAS,
    **RECURRENT_FORMULAS,
}


def formula_names() -> frozenset[str]:
    """Names of all ops that have a formula."""
    return frozenset(_FORMULAS)


def has_formula(name: str) -> bool:
    """Whether calls of that op may have FLOP. Ops without matmuls (elementwise, embedding, ...) have none."""
    return name in _FORMULAS


def op_cost(call: OpCall) -> OpCost | None:
    """Cost of a call, or None: no formula, or its shapes do not suffice or contradict each other.

    Composite ops (``aten::linear``) have a cost, and so do the ops inside them (``aten::addmm``): only
    the innermost op with a cost may be summed. Never raises, whatever the trace says, and every count
    fits an int64.
    """
    formula = _FORMULAS.get(call.name)
    if formula is None:
        return None
    try:
        cost = formula.cost(call)
    except NoCostError:
        return None
    return cost if max(cost.model_flop, cost.recompute_flop, cost.byte or 0) <= LARGEST_COUNT else None


def matmul_dtype(call: OpCall) -> str | None:
    """Precision of the arithmetic (``"bf16"``, ``"fp8"``, ...), by the dtypes of what is multiplied.

    Under autocast the innermost op receives operands that are cast already. ``"fp32"`` may run as TF32.
    None for an op without formula, and where a dtype is missing (traces of 2020) or no matmul dtype.
    """
    formula = _FORMULAS.get(call.name)
    if formula is None:
        return None
    return widest_precision(dtype_at(call, index) or "" for index in formula.operands)
