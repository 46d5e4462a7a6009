"""Tells a listener when the tracked model runs forward and when its optimizers step. Changes nothing else.

All of it is observed on classes (see ``patch``): Dynamo guards the hooks of modules and optimizers, so that
registering one would compile compiled code again::

    type(model).__call__    a forward; one inside a compiled function cannot be seen
    record_function         every step of a torch optimizer runs inside one, "Optimizer.step#<class>.step"
    GradScaler              its step counts even where it skips the optimizer
    Tensor.backward         only a moment to look for steps of compiled optimizers (see ``silent``)

Unseen, so that ``run.step()`` has to mark the steps: optimizers that hold copies of the parameters (fp32
masters) instead of the model's own; model and optimizer replayed as one CUDA graph.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.autograd.profiler import record_function
from torch.optim import Optimizer

from mfu_profiler.capture.discover import (
    core_of,
    is_wrapper,
    module_of,
    optimizers_of,
    parameters_of,
    with_wrapped,
)
from mfu_profiler.capture.patch import Patch, caller, hidden
from mfu_profiler.capture.silent import SilentSteps

__all__ = ["Listener", "Watch", "optimizers_of"]

_STEP = "Optimizer.step#"
"""How torch names the record_function around a step (Optimizer.profile_hook_step)."""

_SCALER_STEP = "_maybe_opt_step" if hasattr(torch.amp.GradScaler, "_maybe_opt_step") else "step"
"""What GradScaler.step calls to step or to skip; Dynamo looks at GradScaler.step, but not inside."""


class Listener(Protocol):
    """Is told one thing at a time, maybe on a thread of autograd; what it raises never reaches the user."""

    def on_forward(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], trains: bool
    ) -> None:
        """Before a forward.

        Args:
            model: the tracked module, or the one inside it if it is one of torch's wrappers.
            args: of the call, as the outermost wrapper was given them.
            kwargs: likewise.
            trains: gradients are recorded and the module is in training mode.

        """

    def on_optimizer_begin(self, optimizer: Optimizer) -> None:
        """Before an optimizer's step; steps inside steps are not told."""

    def on_optimizer_end(self, optimizer: Optimizer) -> None:
        """After it, also where it raised or was skipped."""

    def on_error(self, error: Exception) -> None:
        """Something of ours failed, the listener included; nothing more will be told."""


@hidden
def _is_step(record: record_function) -> bool:
    return record.name.startswith(_STEP)


class _Thread(threading.local):
    """What is going on in each thread."""

    def __init__(self) -> None:
        self.depth = 0
        """Calls of the tracked model, wrappers included."""
        self.open: list[tuple[object, Optimizer]] = []
        """Optimizer steps, each with the object whose call it is."""
        self.is_telling = False


def _safely(method: Callable[..., Any]) -> Callable[..., bool]:
    """What observes a call of the user's: silent where it should be, and nothing that it raises gets out."""

    @wraps(method)
    def safe(self: Watch, *args: Any) -> bool:
        if not self._is_awake or self._thread.is_telling or os.getpid() != self._process:
            return False
        try:
            return bool(method(self, *args))
        except Exception as error:  # ours or the listener's; the user's call goes on
            self._is_awake = False
            with suppress(Exception):
                self._listener.on_error(error)
            return False

    return safe


class Watch:
    """Watches between ``start`` and ``stop``, in the process that started it.

    Args:
        model: what to watch; calls of it, of what it wraps (DDP, FSDP, a compiled module, ...) and of such
            wrappers around it count as one. None: after the first optimizer step the module that holds most
            of its parameters is looked for, once (see ``discover`` for what that costs).
        listener: what to tell.

    """

    def __init__(self, model: nn.Module | None, listener: Listener) -> None:
        self._tracked = model
        self._listener = listener
        self._is_awake = False
        self._patches: list[Patch] = []
        self._lock = threading.RLock()

    @property
    def model(self) -> nn.Module | None:
        """The module watched, under any wrapper; None while none is known."""
        return self._core

    def start(self) -> None:
        """Begins to watch."""
        self._process = os.getpid()
        self._thread = _Thread()
        self._core: nn.Module | None = None
        self._holds_parameter: WeakKeyDictionary[Optimizer, tuple[int, bool]] = WeakKeyDictionary()
        self._may_search = self._tracked is None
        self._silent: SilentSteps | None = SilentSteps(self._tracked)
        self._is_awake = True
        self._patches = [
            Patch(record_function, "__enter__", self._record_begins, concerns=_is_step),
            Patch(record_function, "__exit__", self._record_ends, concerns=_is_step),
            Patch(torch.amp.GradScaler, _SCALER_STEP, self._scaler_begins, self._scaler_ended),
            Patch(torch.Tensor, "backward", self._backward_begins),
        ]
        if self._tracked is not None:
            self._watch(self._tracked)

    def stop(self) -> None:
        """Leaves nothing behind; may be called again."""
        self._is_awake = False
        for patch in reversed(self._patches):
            patch.undo()
        self._patches.clear()
        self._silent = None

    def _watch(self, model: nn.Module) -> None:
        classes = {type(module): None for module in with_wrapped(model)}
        classes[nn.DataParallel] = None  # calls copies of the module
        compiled = sys.modules.get("torch._dynamo.eval_frame")
        if compiled is not None:  # one that was made earlier calls the original method, which it keeps
            classes[compiled.OptimizedModule] = None
        self._core = core_of(model)
        self._patches += [
            Patch(one, "__call__", self._forward_begins, self._forward_ended, concerns=self._tracks)
            for one in classes
        ]

    @hidden
    def _tracks(self, module: nn.Module) -> bool:
        return module is self._core or (is_wrapper(module) and core_of(module) is self._core)

    # Forwards -----------------------------------------------------------------------------------

    @_safely
    def _forward_begins(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        core = self._core
        if core is None or not self._tracks(module):
            return False
        self._thread.depth += 1
        is_recomputed = torch._C._current_graph_task_id() != -1  # checkpointing, in backward
        if self._thread.depth == 1 and not is_recomputed:
            trains = core.training and torch.is_grad_enabled()
            if trains:
                self._look_for_silent_steps()
            self._tell(self._listener.on_forward, core, args, kwargs, trains)
        return True

    @_safely
    def _forward_ended(self, module: nn.Module) -> None:
        self._thread.depth = max(0, self._thread.depth - 1)  # 0 if started anew meanwhile

    # Optimizers ---------------------------------------------------------------------------------

    @_safely
    def _record_begins(self, record: record_function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        frame = caller()
        optimizer = None if frame is None else frame.f_locals.get("self")
        if isinstance(optimizer, Optimizer):
            self._optimizer_begins(record, optimizer)

    @_safely
    def _record_ends(self, record: record_function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._optimizer_ended(record)

    @_safely
    def _scaler_begins(self, scaler: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        optimizer = args[0] if args else kwargs.get("optimizer")
        return isinstance(optimizer, Optimizer) and self._optimizer_begins(scaler, optimizer)

    @_safely
    def _scaler_ended(self, scaler: object) -> None:
        self._optimizer_ended(scaler)

    @_safely
    def _backward_begins(self, tensor: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._look_for_silent_steps()

    def _optimizer_begins(self, call: object, optimizer: Optimizer) -> bool:
        if not self._holds(optimizer):
            return False
        self._silent = None
        self._thread.open.append((call, optimizer))
        if len(self._thread.open) == 1:
            self._tell(self._listener.on_optimizer_begin, optimizer)
        return True

    def _optimizer_ended(self, call: object) -> None:
        running = self._thread.open
        index = next((index for index, (one, _) in enumerate(running) if one is call), None)
        if index is None:
            return
        optimizer = running[index][1]
        del running[index:]
        if index == 0:
            self._tell(self._listener.on_optimizer_end, optimizer)
            self._find_model(optimizer)

    def _look_for_silent_steps(self) -> None:
        silent = self._silent
        optimizer = silent.stepped() if silent is not None else None
        if optimizer is not None:
            self._tell(self._listener.on_optimizer_begin, optimizer)
            self._tell(self._listener.on_optimizer_end, optimizer)
            self._find_model(optimizer)

    def _holds(self, optimizer: Optimizer) -> bool:
        """Whether it holds a parameter of the model; asked again when it holds more than it did."""
        if self._core is None:
            return True
        size = sum(len(group["params"]) for group in optimizer.param_groups)
        known = self._holds_parameter.get(optimizer)
        if known is None or known[0] != size:
            own = {id(parameter) for parameter in self._core.parameters()}
            known = size, any(id(held) in own for held in parameters_of(optimizer))
            self._holds_parameter[optimizer] = known
        return known[1]

    def _find_model(self, optimizer: Optimizer) -> None:
        with self._lock:
            if not self._may_search:
                return
            self._may_search = False
            model = module_of(optimizer)
            if model is not None:
                self._watch(model)

    def _tell(self, what: Callable[..., None], *told: Any) -> None:
        with self._lock:
            if self._is_awake:
                self._thread.is_telling = True
                try:
                    what(*told)
                finally:
                    self._thread.is_telling = False
