"""Running a copy of the user's code so that the user's process does not notice: see ``undisturbed``."""

from __future__ import annotations

import io
import logging
import random
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TextIO

import torch
import torch.nn.modules.module
import torch.utils.checkpoint
from torch._C._autograd import _enable_record_function, _profiler_enabled

__all__ = ["undisturbed"]

_GLOBAL_HOOKS = (
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
    "_global_forward_hooks",
    "_global_forward_hooks_always_called",
    "_global_forward_hooks_with_kwargs",
    "_global_forward_pre_hooks",
)
_TALKATIVE = "torch._subclasses.fake_tensor"
"""Logs ops that have no implementation for fake tensors; we say so ourselves."""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within it: no compiled code, no output, no global module hooks, no events; random states are kept."""
    with ExitStack() as stack:
        stack.enter_context(_random_states_kept())
        stack.enter_context(_without_global_hooks())
        stack.enter_context(_without_device_random_states())
        stack.enter_context(_silence())
        stack.enter_context(_unrecorded())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


@contextmanager
def _random_states_kept() -> Iterator[None]:
    numpy: Any = sys.modules.get("numpy")
    cuda: Any = torch.cuda
    devices = cuda.get_rng_state_all() if cuda.is_initialized() else []
    states = torch.get_rng_state(), random.getstate(), numpy and numpy.random.get_state()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        if numpy:
            numpy.random.set_state(states[2])
        if devices:
            cuda.set_rng_state_all(devices)


@contextmanager
def _without_global_hooks() -> Iterator[None]:
    """No hooks registered for all modules."""
    registries: list[dict[int, Any]] = [getattr(torch.nn.modules.module, name) for name in _GLOBAL_HOOKS]
    kept = [dict(registry) for registry in registries]
    for registry in registries:
        registry.clear()
    try:
        yield
    finally:
        for registry, hooks in zip(registries, kept, strict=True):
            registry.update(hooks)


@contextmanager
def _without_device_random_states() -> Iterator[None]:
    """Checkpointing leaves device generators alone: it would set their states to fake tensors."""
    checkpoint: Any = torch.utils.checkpoint
    kept = checkpoint.get_device_states, checkpoint.set_device_states
    checkpoint.get_device_states = lambda *args: ([], [])
    checkpoint.set_device_states = lambda *args, **kwargs: None
    try:
        yield
    finally:
        checkpoint.get_device_states, checkpoint.set_device_states = kept


@contextmanager
def _unrecorded() -> Iterator[None]:
    """A profiler of the user's that records at the moment shows nothing of it."""
    is_recording = _profiler_enabled()
    if is_recording:
        _enable_record_function(False)
    try:
        yield
    finally:
        if is_recording:
            _enable_record_function(True)


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing that this thread prints, or warns of, is seen."""
    log = logging.getLogger(_TALKATIVE)
    kept = sys.stdout, sys.stderr, log.disabled
    sys.stdout, sys.stderr = _Muted(sys.stdout), _Muted(sys.stderr)
    log.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stdout, sys.stderr, log.disabled = kept


class _Muted(io.TextIOBase):
    """A stream that drops what this thread writes, and passes on what others do."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        """Write, or not."""
        return len(text) if threading.get_ident() == self._thread else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
