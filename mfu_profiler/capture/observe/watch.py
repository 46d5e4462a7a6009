"""Tells a listener when the tracked model runs forward and when its optimizers step. Changes nothing else.

All of it is observed on classes (see ``patch``): Dynamo guards the hooks of modules and optimizers, so that
registering one would compile compiled code again::

    type(model).__call__    a forward; one inside a compiled function cannot be seen
    record_function         every step of a torch optimizer runs inside one, "Optimizer.step#<class>.step"
    GradScaler              its step counts even where it skips the optimizer
    Tensor.backward         only a moment to look for steps of compiled optimizers (see ``silent``)

Code that runs once in a step finds the caches of the processor full of the training's data, and takes several
times as long as in a loop. So what happens is put into a queue, and the listener decides how much of it may
wait there (``patience``).

Unseen, so that ``run.step()`` has to mark the steps: optimizers that hold copies of the parameters (fp32
masters) instead of the model's own; model and optimizer replayed as one CUDA graph.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from time import time_ns
from typing import Any
from weakref import WeakSet

import torch
from torch import is_grad_enabled, nn
from torch._C import _current_graph_task_id as current_graph_task_id
from torch.autograd.profiler import record_function
from torch.optim import Optimizer

from mfu_profiler.capture.machine.device_clock import DeviceClock
from mfu_profiler.capture.observe.discover import (
    Holders,
    core_of,
    is_wrapper,
    module_of,
    optimizers_of,
    with_wrapped,
)
from mfu_profiler.capture.observe.listener import Listener
from mfu_profiler.capture.observe.patch import After, Before, Patch, caller, hidden
from mfu_profiler.capture.observe.silent import SilentSteps

__all__ = ["Watch", "optimizers_of"]

_STEP = "Optimizer.step#"
"""How torch names the record_function around a step (Optimizer.profile_hook_step)."""

MOST_WAITING = 1000
"""Events; a step of many micro-batches has several."""
_SCALER_STEP = "_maybe_opt_step" if hasattr(torch.amp.GradScaler, "_maybe_opt_step") else "step"
"""What GradScaler.step calls to step or to skip; Dynamo looks at GradScaler.step, but not inside."""


@hidden
def _is_step(record: record_function) -> bool:
    return record.name.startswith(_STEP)


_awake: WeakSet[Watch] = WeakSet()


def _stop_in_child() -> None:
    """A process forked off the training (a worker of a DataLoader) is not watched."""
    for watch in list(_awake):
        watch.stop()
        watch.lock = threading.RLock()  # another thread of the parent may hold it, and is not here to let go


if hasattr(os, "register_at_fork"):  # not on Windows; to ask for the process's id takes a system call
    os.register_at_fork(after_in_child=_stop_in_child)


class Watch:
    """Watches between ``start`` and ``stop``, in the process that started it.

    Args:
        model: what to watch; calls of it, of what it wraps (DDP, FSDP, a compiled module, ...) and of such
            wrappers around it count as one. None: after the first optimizer step the module that holds most
            of its parameters is looked for, once (see ``discover`` for what that costs).
        listener: what to tell.

    """

    def __init__(self, model: nn.Module | None, listener: Listener) -> None:
        self.patience = 0
        """So many possible ends of steps may wait until the listener is told; 0: it is told all at once.
        What waits is told without its arguments."""
        self.clock: DeviceClock | None = None
        """Marks the ends of steps on the device."""
        self._tracked = model
        self._on_forward = listener.on_forward
        self._on_optimizer_begin = listener.on_optimizer_begin
        self._on_optimizer_end = listener.on_optimizer_end
        self._on_error = listener.on_error
        self._is_awake = False
        self._events: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        """What to call, and with what; in the order in which it happened."""
        self._patches: list[Patch] = []
        self.lock = threading.RLock()
        """Held while the listener is told something."""

    @property
    def model(self) -> nn.Module | None:
        """The module watched, under any wrapper; None while none is known."""
        return self._core

    def start(self) -> None:
        """Begins to watch."""
        self._core: nn.Module | None = None
        self._calling: set[int] = set()
        """Threads inside a call of the model."""
        self._stepping: dict[int, tuple[object, Optimizer]] = {}
        """By thread: the step of an optimizer that it is inside, with the object whose call that is."""
        self._last: object = None
        """The optimizer that stepped last."""
        self._holders: Holders | None = None
        self._teller: int | None = None
        """The thread on which the listener is being told something; what happens on it is its own doing."""
        self._has_stepped = False
        self._ends = 0
        """Possible ends of steps among the events."""
        self._may_end = True
        """Whether the next training forward may be the first of another step."""
        self._may_search = self._tracked is None
        self._silent: SilentSteps | None = SilentSteps(self._tracked)
        self._is_awake = True
        _awake.add(self)
        self._backward = self._patch(torch.Tensor, "backward", self._backward_begins)
        self._patches = [
            self._backward,
            self._patch(record_function, "__enter__", self._record_begins, concerns=_is_step),
            self._patch(record_function, "__exit__", self._step_ended, concerns=_is_step),
            self._patch(torch.amp.GradScaler, _SCALER_STEP, self._scaler_begins, self._step_ended),
        ]
        if self._tracked is not None:
            self._watch(self._tracked)

    def stop(self) -> None:
        """Leaves nothing behind; may be called again."""
        self._is_awake = False
        _awake.discard(self)
        for patch in reversed(self._patches):
            patch.undo()
        self._patches.clear()
        self._silent = self._last = None
        self._events.clear()

    def forget_model(self) -> None:
        """Stopped for good: who keeps this does not keep the model."""
        self._tracked, self._core, self._holders = None, None, None

    def tell(self) -> None:
        """Tells the listener all that has happened so far."""
        if self._teller == get_ident():  # asked again from within: by a signal handler of the user's
            return
        with self.lock:
            self._teller, self._ends = get_ident(), 0
            try:
                while self._events and self._is_awake:
                    what, told = self._events.popleft()
                    what(*told)
            finally:
                self._teller = None

    def _patch(
        self, owner: type, name: str, before: Before, after: After | None = None, **options: Any
    ) -> Patch:
        return Patch(owner, name, before, after, failed=self._fail, **options)

    def _watch(self, model: nn.Module) -> None:
        classes = {type(module): None for module in with_wrapped(model)}
        classes[nn.DataParallel] = None  # calls copies of the module
        compiled = sys.modules.get("torch._dynamo.eval_frame")
        if compiled is not None:  # one that was made earlier calls the original method, which it keeps
            classes[compiled.OptimizedModule] = None
        self._core = core_of(model)
        self._holders = Holders(self._core)
        self._patches += [
            self._patch(one, "__call__", self._forward_begins, self._forward_ended, concerns=self._tracks)
            for one in classes
        ]

    @hidden
    def _tracks(self, module: nn.Module) -> bool:
        return module is self._core or (is_wrapper(module) and core_of(module) is self._core)

    def _fail(self, error: Exception) -> None:
        if self._is_awake:
            self.stop()
            with suppress(Exception):  # there is nobody left to tell
                self._on_error(error)

    # Forwards -----------------------------------------------------------------------------------

    def _forward_begins(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        core, thread = self._core, get_ident()
        if core is None or thread in self._calling or thread == self._teller:
            return False
        if module is not core and not self._tracks(module):
            return False
        if current_graph_task_id() != -1:  # checkpointing computes it again, in backward
            return False
        self._calling.add(thread)
        trains = core.training and is_grad_enabled()
        if trains and self._silent is not None:
            self._look_for_silent_steps()
        mark = None
        if trains or not self._has_stepped:
            if self._may_end:
                self._ends += 1
                mark = self.clock.now() if self.clock is not None else None
            self._may_end = not self._has_stepped
        mode = "training" if trains else "other" if core.training else "evaluation"
        call = None if self.patience else (args, kwargs)
        self._events.append((self._on_forward, (core, mode, time_ns(), thread, mark, call)))
        if self._ends >= self.patience or len(self._events) >= MOST_WAITING:
            self.tell()
        return True

    def _forward_ended(self, module: nn.Module) -> None:
        self._calling.discard(get_ident())

    # Optimizers ---------------------------------------------------------------------------------

    def _record_begins(self, record: record_function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        frame = caller()
        optimizer = None if frame is None else frame.f_locals.get("self")
        return optimizer is not None and self._step_begins(record, optimizer)

    def _scaler_begins(self, scaler: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        optimizer = args[0] if args else kwargs.get("optimizer")
        return optimizer is not None and self._step_begins(scaler, optimizer)

    def _step_begins(self, call: object, optimizer: Any) -> bool:
        thread = get_ident()
        if thread in self._stepping or thread == self._teller:
            return False
        if optimizer is not self._last:
            holders = self._holders
            if not isinstance(optimizer, Optimizer) or (holders is not None and optimizer not in holders):
                return False
            self._last = optimizer
            self._silent = None
            self._backward.undo()
        self._stepping[thread] = call, optimizer
        self._events.append((self._on_optimizer_begin, (optimizer,)))
        if self._ends >= self.patience or len(self._events) >= MOST_WAITING:
            self.tell()
        return True

    def _step_ended(self, call: object, *arguments: object) -> bool:
        running = self._stepping.get(get_ident())
        if running is not None and running[0] is call:
            del self._stepping[get_ident()]
            self._optimizer_stepped(running[1])
        return False

    def _optimizer_stepped(self, optimizer: Optimizer) -> None:
        mark = None
        if self._may_end:
            self._ends += 1
            mark = self.clock.now() if self.clock is not None else None
        self._may_end = self._has_stepped = True
        self._events.append((self._on_optimizer_end, (optimizer, time_ns(), mark)))
        if self._ends >= self.patience or len(self._events) >= MOST_WAITING:
            self.tell()
        if self._may_search:
            self._find_model(optimizer)

    def _backward_begins(self, tensor: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        if get_ident() != self._teller:
            self._look_for_silent_steps()
        return False

    def _look_for_silent_steps(self) -> None:
        silent = self._silent
        optimizer = silent.stepped() if silent is not None else None
        if optimizer is not None:
            self._events.append((self._on_optimizer_begin, (optimizer,)))
            self._optimizer_stepped(optimizer)

    def _find_model(self, optimizer: Optimizer) -> None:
        with self.lock:
            if not self._may_search:
                return
            self._may_search = False
            model = module_of(optimizer)
            if model is not None:
                self._watch(model)
