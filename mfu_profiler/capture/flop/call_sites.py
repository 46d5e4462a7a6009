"""Where in the program an op was called, read from the Python stack of its thread.

No hook on any module is needed: ``nn.Module.__call__`` leaves a frame that holds the module. The stack is
cut where it enters the autograd engine; the engine's own threads run nothing else, so that their bottom is
a cut too::

    a plain backward op              op | engine  loss.backward  train
    recomputed by checkpoint         op  forward  [module]  checkpoint | engine  loss.backward  train
    nested backward (reentrant)      op | engine  checkpoint | engine  loss.backward  train
    forces = autograd.grad(energy)   op | engine  forward  [module]  train
    the same, recomputed             op | engine  forward  [module]  checkpoint | engine  loss.backward  train

A module that runs above a cut runs inside a backward: it is recomputed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType

import torch
import torch.autograd.graph
import torch.utils.checkpoint
from torch import nn

__all__ = ["CallSite", "call_site", "is_called_by_engine", "module_calls"]

_MODULE_CALL = nn.Module._call_impl.__code__
_ENGINE_CALL = torch.autograd.graph._engine_run_backward.__code__
_CHECKPOINT = torch.utils.checkpoint.__file__
_TORCH = os.path.dirname(torch.__file__)
_BETWEEN = frozenset({os.path.join(_TORCH, "_compile.py"), os.path.join(_TORCH, "_dynamo", "eval_frame.py")})
"""Files whose frames lie between an op and a dispatch mode."""


@dataclass(frozen=True, slots=True)
class CallSite:
    """What the stack says about one op."""

    module: str | None
    """Name of the innermost known module above the first cut; None where there is none."""
    module_calls: int
    """How many modules, known or not, are running on this thread."""
    is_recomputed: bool
    """Whether a module or a checkpointed function is run again inside a backward."""
    is_below_engine: bool
    """Whether a call of the autograd engine is on this thread's stack."""


def call_site(names: Mapping[int, str], *, ends_in_engine: bool) -> CallSite:
    """The call site of the code that calls this function.

    Args:
        names: names of the model's modules by ``id``.
        ends_in_engine: this is a thread of the engine's own.

    """
    module: str | None = None
    module_calls = cuts = 0
    has_module = has_checkpoint = is_recomputed = False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code is _MODULE_CALL:
            has_module = True
            module_calls += 1
            if module is None and cuts == 0:
                module = names.get(id(frame.f_locals["self"]))
        elif code is _ENGINE_CALL:
            is_recomputed |= has_module or has_checkpoint
            has_module = has_checkpoint = False
            cuts += 1
        elif cuts == 0 and code.co_filename == _CHECKPOINT:
            has_checkpoint = True
        frame = frame.f_back
    is_recomputed |= ends_in_engine and (has_module or has_checkpoint)
    return CallSite(module, module_calls, is_recomputed, cuts > 0)


def is_called_by_engine(mode_file: str) -> bool:
    """Whether the op at hand is called by a C++ autograd node, with no Python function between.

    Args:
        mode_file: file of the dispatch mode, whose own frames are on the stack.

    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (
        frame.f_code.co_filename == mode_file or frame.f_code.co_filename in _BETWEEN
    ):
        frame = frame.f_back
    return frame is None or frame.f_code is _ENGINE_CALL


def module_calls() -> int:
    """How many modules are running on this thread."""
    frame: FrameType | None = sys._getframe(1)
    count = 0
    while frame is not None:
        count += frame.f_code is _MODULE_CALL
        frame = frame.f_back
    return count
