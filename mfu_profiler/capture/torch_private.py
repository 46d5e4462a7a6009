"""What torch knows but keeps to itself: the functions of ``torch._C`` that counting needs, with types."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch._ops import HigherOrderOperator, OpOverload

__all__ = [
    "AnyOp",
    "dynamo_has_compiled",
    "graph_task",
    "is_capturing",
    "is_composite",
    "last_made_node",
    "number_of_modes",
    "op_name",
    "parts_of_composite",
    "running_node",
    "set_eval_frame",
    "top_mode",
]

AnyOp: TypeAlias = "OpOverload[..., Any] | HigherOrderOperator"
"""What a dispatch mode is called with."""

_C: Any = torch._C
_COMPOSITE = "CompositeImplicitAutograd"


def dynamo_has_compiled() -> bool:
    """Whether Dynamo has compiled anything in this process. Never imports it.

    ``torch._dynamo.reset()`` makes it forget; what is compiled again afterwards counts again.
    """
    module = sys.modules.get("torch._dynamo.convert_frame")
    return bool(getattr(module, "FRAME_COUNTER", 0))


def op_name(func: AnyOp) -> str:
    """``aten::addmm`` for any of its overloads; a higher-order op has no namespace."""
    return str(func._schema.name if isinstance(func, OpOverload) else func._name)


def graph_task() -> int | None:
    """Number of the backward pass (one call of the autograd engine) that this thread is in."""
    task: int = _C._current_graph_task_id()
    return None if task == -1 else task


def last_made_node() -> int:
    """Sequence number of the autograd node that this thread made last.

    While an op is dispatched to a mode, that is the op's own node, if it has one.
    """
    number: int = _C._autograd._get_sequence_nr()
    return number - 1


def running_node() -> int | None:
    """Sequence number of the autograd node that this thread is running, in a backward pass."""
    node = _C._current_autograd_node()
    return None if node is None else int(node._sequence_nr())


def set_eval_frame(callback: object) -> object:
    """Set what Dynamo does with functions that this thread calls (None: nothing); returns the last one."""
    prior: object = _C._dynamo.eval_frame.set_eval_frame(callback)
    return prior


def number_of_modes() -> int:
    """How many dispatch modes this thread is under."""
    return int(_C._len_torch_dispatch_stack())


def top_mode() -> object:
    """The innermost dispatch mode of this thread; None where there is none."""
    depth = number_of_modes()
    mode: object = _C._get_dispatch_stack_at(depth - 1) if depth else None
    return mode


def is_composite(func: AnyOp, args: Sequence[object]) -> bool:
    """Whether torch runs the op as a composite of other ops on these arguments."""
    tensors = _tensors(args)
    if not isinstance(func, OpOverload) or any(map(_has_kernels_of_its_own, tensors)):
        return False
    overload: Any = func
    has_kernel, name = _C._dispatch_has_kernel_for_dispatch_key, overload.name()
    devices = {tensor.device.type for tensor in tensors}
    return bool(has_kernel(name, _COMPOSITE)) and not any(
        has_kernel(name, _C._dispatch_key_for_device(device)) for device in devices
    )


def parts_of_composite(func: AnyOp, args: Sequence[object], kwargs: dict[str, Any]) -> Any:
    """Run a composite op part by part, by torch's own C++ code, so that a mode sees the parts."""
    composite: Any = func
    return composite._op_dk(_C.DispatchKey.CompositeImplicitAutograd, *args, **kwargs)


def is_capturing() -> bool:
    """Whether a CUDA graph is being captured, so that no device memory may be read."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def _has_kernels_of_its_own(tensor: torch.Tensor) -> bool:
    """Nested, sparse and quantized tensors do, which take precedence over composites."""
    return tensor.is_nested or tensor.is_quantized or tensor.layout is not torch.strided


def _tensors(values: Sequence[object]) -> list[torch.Tensor]:
    found = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found
