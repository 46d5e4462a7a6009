"""How torch's profiler records a call: by the op's schema, without running it. Imports torch."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mfu_profiler.flops import OpCall

_CPP_NAMES = {
    torch.float32: "float",
    torch.float64: "double",
    torch.float16: "c10::Half",
    torch.bfloat16: "c10::BFloat16",
    torch.float8_e4m3fn: "c10::Float8_e4m3fn",
    torch.int8: "signed char",
    torch.int32: "int",
    torch.int64: "long int",
    torch.complex64: "c10::complex<float>",
}


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A tensor without data."""
    return torch.empty(shape, device="meta", dtype=dtype)


def recorded_call(op: Any, *args: Any, **kwargs: Any) -> OpCall:
    """The ``OpCall`` that a trace would give for ``op(*args, **kwargs)``, with defaults filled in."""
    overload = op if hasattr(op, "_schema") else op.default
    values = list(args)
    for argument in overload._schema.arguments[len(args) :]:
        values.append(kwargs.get(argument.name, argument.default_value))
    return OpCall(
        name=overload._schema.name,
        shapes=tuple(_shape(value) for value in values),
        dtypes=tuple(_dtype(value) for value in values),
        concrete=tuple(_concrete(value) for value in values),
    )


class CallRecorder(TorchDispatchMode):
    """Keeps an ``OpCall`` of every op that runs inside it, as FlopCounterMode sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[OpCall] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append(recorded_call(func, *args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))


def _shape(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, list | tuple) and value and all(isinstance(item, torch.Tensor) for item in value):
        return tuple(tuple(item.shape) for item in value)
    return ()


def _dtype(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return _CPP_NAMES.get(value.dtype, "")
    if value is None or isinstance(value, str):
        return ""
    if isinstance(value, list | tuple):
        return "TensorList" if _shape(value) else "ScalarList"
    return "Scalar"


def _concrete(value: Any) -> str:
    if value is None or isinstance(value, str | torch.Tensor) or _shape(value):
        return ""
    if isinstance(value, torch.dtype):
        return {torch.bfloat16: "15", torch.float32: "6"}.get(value, "")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(str(item) for item in value) + "]"
    return str(value)
