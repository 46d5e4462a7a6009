"""Counting a step on a copy of the module that computes nothing.

Where compiled code runs, a real step cannot be counted. Then the calls that it made are made again, forward
and backward, on a copy of the original module without data (see ``shadow_copy``), eagerly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from mfu_profiler.capture.flop.flop_count import FlopCount
from mfu_profiler.capture.flop.forward_calls import ForwardCall, UnknownArgumentError, tensors_in
from mfu_profiler.capture.flop.op_counter import OpCounter
from mfu_profiler.capture.flop.shadow_copy import ShadowError, fake_mode, fake_tensor, one_line, shadow_copy
from mfu_profiler.capture.flop.undisturbed import undisturbed
from mfu_profiler.capture.torch_private import AnyOp, graph_task, number_of_modes, op_name

__all__ = ["ShadowError", "shadow_count"]

_COMMUNICATION = ("c10d", "_c10d_functional", "c10d_functional", "_c10d_functional_autograd", "symm_mem")
_AUTOCAST_DEVICES = ("cpu", "cuda", "xpu", "mps")


def shadow_count(model: nn.Module, calls: Sequence[ForwardCall]) -> FlopCount:
    """FLOP of these calls of the module, and of their backward passes. The module itself is not touched.

    Alike calls are made once and multiplied. A loss outside the module has no FLOP here; the backward pass
    starts from all outputs that require a gradient.

    Raises:
        ShadowError: the module cannot be copied without data, or does what such a copy cannot.

    """
    if number_of_modes() > 0 or graph_task() is not None:
        raise ShadowError("another dispatch mode, or a backward pass, is active")
    mode = fake_mode()
    total = FlopCount()
    with undisturbed():
        copy = shadow_copy(model, mode)
        for call, times in _distinct(calls):
            total += _count(copy, call, mode) * times
    return total


def _distinct(calls: Sequence[ForwardCall]) -> list[tuple[ForwardCall, int]]:
    """Calls and how often each was made; plain arguments count, for they may decide what runs."""
    by_key = {(call, repr(call.values)): call for call in calls}
    times = Counter((call, repr(call.values)) for call in calls)
    return [(by_key[key], times[key]) for key in times]


def _count(copy: nn.Module, call: ForwardCall, mode: FakeTensorMode) -> FlopCount:
    counter = OpCounter(copy, counts_fakes=True, forbid=_refuse_communication)
    try:
        args, kwargs = call.made_again(lambda spec: fake_tensor(mode, spec))
        with mode, counter, torch.set_grad_enabled(call.trains), _autocast(call):
            outputs = copy(*args, **kwargs)
            if call.trains:
                _backward(outputs)
    except ShadowError:
        raise
    except UnknownArgumentError as error:
        raise ShadowError(str(error)) from error
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise ShadowError(f"its forward depends on data ({_first_word(error)})") from error
    except Exception as error:  # the user's forward may raise anything on tensors without data
        raise ShadowError(f"its forward fails without data ({one_line(error)})") from error
    if counter.failure is not None:
        raise ShadowError(counter.failure)
    return counter.result()


def _backward(outputs: object) -> None:
    roots = [tensor for tensor in tensors_in(outputs) if tensor.requires_grad]
    if not roots:
        raise ShadowError("no output of it requires a gradient")
    torch.autograd.backward(roots, [torch.ones_like(root) for root in roots])


@contextmanager
def _autocast(call: ForwardCall) -> Iterator[None]:
    """Autocast as it was at the call, whatever it is now."""
    wanted = dict(call.autocast)
    with ExitStack() as stack:
        for device in _AUTOCAST_DEVICES:
            if device in wanted or torch.is_autocast_enabled(device):
                stack.enter_context(
                    torch.autocast(device, dtype=wanted.get(device), enabled=device in wanted)
                )
        yield


def _refuse_communication(func: AnyOp) -> None:
    """Other ranks take no part in a shadow: a collective would wait for them for ever."""
    if op_name(func).partition("::")[0] in _COMMUNICATION:
        raise ShadowError("its forward communicates with other ranks")


def _first_word(error: BaseException) -> str:
    return str(getattr(error, "func", type(error).__name__))
