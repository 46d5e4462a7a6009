"""What one dispatched op costs: our formulas by its arguments' shapes, else torch's or the user's own.

::

    func, args  --described-->  OpCall  --op_cost-->  FLOP, precision
                                   |
                                   +-- no formula, or not enough said --> torch's flop_registry
                                                                            |
                                                                            +-- nor there --> unknown
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch._ops import HigherOrderOperator, OpOverload

from mfu_profiler.capture.flop.hidden_matmuls import FUSED_LAYER_FORMULAS
from mfu_profiler.capture.torch_private import AnyOp, is_capturing
from mfu_profiler.flops import Argument, OpCall, OpCost, dtype_named, has_formula, matmul_dtype, op_cost
from mfu_profiler.flops.arguments import NoCostError, dtype_at
from mfu_profiler.flops.dtypes import widest_precision

__all__ = ["EXPECTED_ERRORS", "Cost", "OpCosts", "is_foreign"]

EXPECTED_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a formula may raise on arguments it was not written for, and torch on tensors without plain sizes.

Not ``Exception``: a signal handler's own exception may surface in our code, and must pass.
"""

_TORCHS_NAMESPACES = frozenset(
    {
        "_c10d_functional",
        "_c10d_functional_autograd",
        "_dtensor",
        "aten",
        "c10d",
        "c10d_functional",
        "debugprims",
        "dtensor",
        "fsdp",
        "prim",
        "prims",
        "profiler",
        "quantized_decomposed",
        "rngprims",
        "streams",
        "torch_attn",
    }
)
"""An op of these without formula has no FLOP. ``quantized::linear`` has some, ``symm_mem`` fuses matmuls."""

_WITHOUT_FLOP = frozenset({"run_dtensor_rng_op", "run_and_save_rng_state", "run_with_rng_state"})
"""Higher-order ops around random number generation."""

_PLAIN_LAYOUTS = frozenset({"torch.strided", "torch._mkldnn"})

_PACKED_BACKWARDS: Mapping[str, int] = {
    "aten::_flash_attention_backward": 1,
    "aten::_efficient_attention_backward": 1,
    "torch_attn::_varlen_attn_backward": 1,
}
"""Packed attention whose lengths only the data tell: index of the query; key and value follow."""


@dataclass(frozen=True, slots=True)
class Cost:
    """FLOP of one dispatched op."""

    flop: OpCost
    precision: str | None
    """Of the operands; None where their dtype has none."""


def is_foreign(name: str) -> bool:
    """Whether an op (``"mylib::op"``) is none of torch's, so that no formula means unknown, not zero."""
    return name.partition("::")[0] not in _TORCHS_NAMESPACES


class OpCosts:
    """Costs of dispatched ops. Keeps no tensor."""

    def __init__(self) -> None:
        self._schemas: dict[OpOverload[..., Any], tuple[tuple[str, Any], ...]] = {}
        self._by_call: dict[OpCall, Cost | None] = {}

    def may_cost(self, func: AnyOp, name: str) -> bool:
        """Whether calls of the op may have FLOP, or FLOP that nobody knows."""
        if has_formula(name) or name in FUSED_LAYER_FORMULAS:
            return True
        if isinstance(func, HigherOrderOperator):
            return name not in _WITHOUT_FLOP
        return is_foreign(name) or _registered(func._overloadpacket) is not None

    def by_shapes(
        self,
        func: AnyOp,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Cost | None:
        """The cost by our formulas; None where there is none or the shapes do not say enough."""
        if not has_formula(name) and name not in FUSED_LAYER_FORMULAS:
            return None
        call = self._described(func, name, args, kwargs)
        if call is None:
            return None
        if call not in self._by_call:  # layers are alike, and formulas take longer than this look-up
            self._by_call[call] = _cost_of(call)
        return self._by_call[call]

    def by_registry(
        self,
        func: AnyOp,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        out: Any,
    ) -> Cost | None:
        """The cost by ``torch.utils.flop_counter.flop_registry``, to which users add formulas of their own.

        Some of torch's formulas read lengths from device memory, which may not be done while a CUDA graph is
        being captured. Then, where there is no formula, and where it fails: None.
        """
        target = (
            _triton_kernel(func, kwargs) if isinstance(func, HigherOrderOperator) else func._overloadpacket
        )
        is_ours = has_formula(name)
        formula = _registered(target, load=is_ours)
        if formula is None or is_capturing() or (is_ours and not all(map(_is_plain, args))):
            return None  # torch takes a sparse matrix for a dense one
        flop = int(formula(*args, **kwargs, out_val=out))
        return Cost(_without_recomputed_scores(name, args, flop), _precision(args))

    def _described(
        self,
        func: AnyOp,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> OpCall | None:
        """The call as a trace would record it; None where a tensor has no plain sizes."""
        values = list(args)
        if isinstance(func, OpOverload):
            values += [kwargs.get(key, default) for key, default in self._schema(func)[len(values) :]]
        if not all(map(_is_plain, values)):
            return None
        return OpCall(
            name=name,
            shapes=tuple(_shapes(value) for value in values),
            dtypes=tuple(_dtype(value) for value in values),
            concrete=tuple(_text(value) for value in values),
        )

    def _schema(self, func: OpOverload[..., Any]) -> tuple[tuple[str, Any], ...]:
        """Names and defaults of the op's arguments."""
        schema = self._schemas.get(func)
        if schema is None:
            arguments = func._schema.arguments
            schema = tuple(
                (item.name, item.default_value if item.has_default_value() else None) for item in arguments
            )
            self._schemas[func] = schema
        return schema


def _cost_of(call: OpCall) -> Cost | None:
    fused = FUSED_LAYER_FORMULAS.get(call.name)
    if fused is None:
        cost = op_cost(call)
        return None if cost is None else Cost(cost, matmul_dtype(call))
    try:
        precision = widest_precision(dtype_at(call, index) or "" for index in fused.operands)
        return Cost(fused.cost(call), precision)
    except NoCostError:
        return None


def _is_tensors(value: Any) -> bool:
    """Whether this is a TensorList, optional tensors included."""
    if not isinstance(value, list | tuple) or not value:
        return False
    return all(item is None or isinstance(item, torch.Tensor) for item in value) and value[0] is not None


def _is_plain(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return str(value.layout) in _PLAIN_LAYOUTS and not value.is_nested
    return not _is_tensors(value) or all(item is None or _is_plain(item) for item in value)


def _shapes(value: Any) -> Argument:
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if _is_tensors(value):
        return tuple(() if item is None else tuple(item.shape) for item in value)
    return ()


def _dtype(value: Any) -> str:
    """A list has the dtype of its first tensor (a trace says ``TensorList``)."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype)
    return str(value[0].dtype) if _is_tensors(value) else ""


def _text(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, list | tuple) and not _is_tensors(value):
        return "[" + ", ".join(str(item) for item in value) + "]"
    return ""


def _registered(target: Any, *, load: bool = False) -> Any:
    """The formula that torch, or the user, has registered; None if there is none.

    Nobody can have registered one before importing the registry, which costs a second: it is imported only
    where torch's own formulas may know more than ours (``load``).
    """
    module = sys.modules.get("torch.utils.flop_counter")
    if module is None and load:
        module = importlib.import_module("torch.utils.flop_counter")
    return None if module is None or target is None else module.flop_registry.get(target)


def _triton_kernel(func: HigherOrderOperator, kwargs: Mapping[str, Any]) -> Any:
    """The kernel that a triton op launches, under which formulas are registered; else the op itself."""
    if "kernel_idx" not in kwargs:
        return func
    from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table

    kernel: Any = kernel_side_table.get_kernel(kwargs["kernel_idx"])
    while type(kernel).__name__ != "JITFunction" and hasattr(kernel, "fn"):  # autotuner, heuristics
        kernel = kernel.fn
    return kernel


def _without_recomputed_scores(name: str, args: Sequence[Any], flop: int) -> OpCost:
    """Of packed attention's backward, which torch counts with the scores that its kernels compute again.

    Per score 2 * (3 * dim_qk + 2 * dim_v), of which 2 * dim_qk are the scores.
    """
    query = _PACKED_BACKWARDS.get(name)
    if query is None:
        return OpCost(flop)
    dim_qk, dim_v = args[query].shape[-1], args[query + 2].shape[-1]
    recomputed = flop * dim_qk // (3 * dim_qk + 2 * dim_v)
    return replace(OpCost(flop - recomputed), recompute_flop=recomputed)


def _precision(args: Sequence[Any]) -> str | None:
    for value in args:
        if isinstance(value, torch.Tensor):
            dtype = dtype_named(str(value.dtype))
            if dtype is not None and dtype.precision is not None:
                return dtype.precision
    return None
