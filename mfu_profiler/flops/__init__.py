"""What an op call costs: FLOP and least memory traffic, from what a trace records about it.

::

    event's args  --op_call-->  OpCall  --op_cost-->  OpCost (model FLOP, recomputed FLOP, bytes)
                                        --matmul_dtype-->  "bf16"
                                        --generic_byte-->  bytes of an op without formula

Shapes in, counts out: nothing here reads a file or imports torch. One multiply-add is 2 FLOP. Counts agree
with torch's ``flop_registry`` wherever that is right; ``tests/flops/test_torch_registry.py`` lists where not.
"""

from mfu_profiler.flops.call import Argument, OpCall, OpCost, Shape, op_call
from mfu_profiler.flops.dtypes import Dtype, dtype_named
from mfu_profiler.flops.registry import (
    formula_names,
    has_formula,
    matmul_dtype,
    op_cost,
)
from mfu_profiler.flops.traffic import generic_byte
from mfu_profiler.flops.transformer import TransformerShape, gpt_parameters

__all__ = [
    "Argument",
    "Dtype",
    "OpCall",
    "OpCost",
    "Shape",
    "TransformerShape",
    "dtype_named",
    "formula_names",
    "generic_byte",
    "gpt_parameters",
    "has_formula",
    "matmul_dtype",
    "op_call",
    "op_cost",
]
