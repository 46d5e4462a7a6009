"""A copy of a module that holds fake tensors: shapes and devices, no data.

Fake tensors are meta tensors that claim the device of the original, so that torch chooses the same kernels,
and autocast applies. (On plain meta tensors it would choose another attention.) An op that meets a real
tensor raises, and so does reading a data pointer: whatever the copy runs, it can touch nothing real.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.overrides import TorchFunctionMode

from mfu_profiler.capture.flop.forward_calls import TensorSpec

__all__ = ["ShadowError", "fake_mode", "fake_tensor", "shadow_copy", "unwrapped"]


class ShadowError(Exception):
    """The module cannot be counted on a copy without data; says why in one line."""


_TORCHS_OWN_HOOKS = "torch.nn.utils."
"""Hooks of weight_norm, spectral_norm and pruning compute weights: they are part of the module."""

_HOOKS = ("_hooks", "_hooks_with_kwargs", "_hooks_always_called")
"""How a module's dictionaries of hooks are named."""


def fake_mode() -> FakeTensorMode:
    """A mode for fake tensors that lets nothing reach real memory."""
    mode = FakeTensorMode(allow_non_fake_inputs=False)
    mode._allow_unsafe_data_ptr_access = False  # no null pointers for extensions
    return mode


def fake_tensor(mode: FakeTensorMode, spec: TensorSpec) -> torch.Tensor:
    """A contiguous fake tensor."""
    with mode:
        tensor = torch.empty(spec.shape, dtype=spec.dtype, device=spec.device)
    return tensor.requires_grad_(spec.requires_grad)


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside DDP, DataParallel and ``torch.compile``, which run it unchanged."""
    while True:
        if isinstance(model, DistributedDataParallel | DataParallel):
            model = model.module
        elif isinstance(inner := model._modules.get("_orig_mod"), nn.Module):
            model = inner
        else:
            return model


def shadow_copy(model: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """A copy with fake tensors, in which tied weights are tied and the user's hooks are left out.

    Raises:
        ShadowError: some part of the module cannot be copied so.

    """
    modules = list(model.modules())
    _require_plain(modules)
    try:
        tensors = (*model.parameters(), *model.buffers())
        memo: dict[int, Any] = {id(tensor): _fake_of(tensor, mode) for tensor in tensors}
        for module in modules:
            memo.update(_without_users_hooks(module))
        with _FakeCopies(mode):
            for module in reversed(modules):
                inner = unwrapped(module)
                if inner is not module:
                    memo[id(module)] = copy.deepcopy(inner, memo)
            return copy.deepcopy(unwrapped(model), memo)
    except ShadowError:
        raise
    except Exception as error:  # __deepcopy__ of the user's classes may raise anything
        raise ShadowError(f"the module cannot be copied ({one_line(error)})") from error


def one_line(error: BaseException) -> str:
    """Type and first line of an error."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


class _FakeCopies(TorchFunctionMode):
    """While it is on, copying a real tensor gives a fake one."""

    def __init__(self, mode: FakeTensorMode) -> None:
        super().__init__()
        self._mode = mode

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in (torch.Tensor.__deepcopy__, torch.Tensor.clone):
            return _fake_of(args[0], self._mode)
        return func(*args, **(kwargs or {}))


def _fake_of(tensor: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    if hasattr(type(tensor), "__tensor_flatten__") or tensor.layout is not torch.strided or tensor.is_nested:
        kind = type(tensor).__name__
        raise ShadowError(f"it holds a {kind} of layout {tensor.layout}, which cannot be copied without data")
    with mode:
        fake = torch.empty_strided(
            tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device=tensor.device
        )
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(fake, requires_grad=tensor.requires_grad)
    return fake.requires_grad_(tensor.requires_grad)


def _require_plain(modules: list[nn.Module]) -> None:
    for module in modules:
        if isinstance(module, torch.jit.ScriptModule):
            raise ShadowError("it holds TorchScript, which keeps its tensors to itself")
        if "_fsdp_wrapped_module" in module._modules:
            raise ShadowError("FSDP holds its parameters in pieces")


def _without_users_hooks(module: nn.Module) -> Iterator[tuple[int, Any]]:
    """What deepcopy shall take in place of the module's dictionaries of hooks."""
    for name, hooks in vars(module).items():
        if name.endswith(_HOOKS) and isinstance(hooks, dict):
            kept = {key: hook for key, hook in hooks.items() if _is_torchs(hook)}
            yield id(hooks), OrderedDict((key, copy.deepcopy(hook)) for key, hook in kept.items())


def _is_torchs(hook: object) -> bool:
    return type(hook).__module__.startswith(_TORCHS_OWN_HOOKS)
