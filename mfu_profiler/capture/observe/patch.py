"""Methods of other people's classes: observed for a while, then given back.

A plain function in the method's place would be compiled into whatever Dynamo traces meanwhile, and when the
method is given back its guards would fail and everything be compiled again. So the observer is a descriptor
that shows Dynamo the original: nothing is compiled again and no graph breaks, whether a function was compiled
before or while the method is observed (torch 2.13; the tests count frames).
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from types import FrameType, MethodType
from typing import Any, TypeVar

import torch
from torch._guards import _TLS

__all__ = ["After", "Before", "Patch", "caller", "hidden"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
Before = Callable[[Any, tuple[Any, ...], dict[str, Any]], bool]
After = Callable[[Any], object]


def hidden(function: _Function) -> _Function:
    """The same function; Dynamo does not look into it, but into those that it calls."""
    plain: Any = function
    code: types.CodeType = plain.__code__
    frames: Any = torch._C._dynamo.eval_frame
    if hasattr(frames, "skip_code"):  # torch before 2.7
        frames.skip_code(code)
    else:
        skip, default = frames._FrameAction.SKIP, frames._FrameAction.DEFAULT
        frames.set_code_exec_strategy(code, frames._FrameExecStrategy(skip, default))
    return function


class Patch:
    """Observes calls of ``owner.name`` from now until ``undo``.

    Patches of one method nest and are undone in any order; one that somebody else has wrapped stays, but does
    nothing any more.

    Args:
        owner: the class; it may inherit the method.
        name: the method.
        before: called before each call with (instance, args, kwargs).
        after: called with the instance after a call for which ``before`` returned True, also one that raised.
        failed: called with what ``before`` or ``after`` raised; the user's call goes on.
        concerns: whether calls of this instance are observed, to be quick where most are not; None: all are.

    """

    def __init__(
        self,
        owner: type,
        name: str,
        before: Before,
        after: After | None = None,
        *,
        failed: Callable[[Exception], object],
        concerns: Callable[[Any], bool] | None = None,
    ) -> None:
        self._owner = owner
        self._name = name
        self._previous = owner.__dict__.get(name)
        self._concerns = concerns
        self._failed = failed
        self._is_inert = False
        self._call = _observed(self, before, after)
        functools.update_wrapper(self._call, getattr(owner, name), updated=())  # TorchScript reads its source
        setattr(owner, name, self)

    @hidden
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if self._is_inert or getattr(_TLS, "compile_context", None) is not None:  # CompileContext.try_get
            return self._original(instance, owner or type(instance))
        if instance is None:
            return self._call
        if self._concerns is not None and not self._concerns(instance):
            return self._original(instance, owner or type(instance))
        return MethodType(self._call, instance)

    def undo(self) -> None:
        """Gives the method back."""
        self._is_inert = True
        if self._owner.__dict__.get(self._name) is not self:
            return
        previous = self._previous
        while isinstance(previous, Patch) and previous._is_inert:
            previous = previous._previous
        if previous is None:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, previous)

    @hidden
    def _original(self, instance: Any, owner: type) -> Any:
        """The method as it was before this patch, or as the base classes have it now."""
        if self._previous is None:
            return getattr(super(self._owner, owner if instance is None else instance), self._name)
        return self._previous.__get__(instance, owner)


def _observed(patch: Patch, before: Before, after: After | None) -> Callable[..., Any]:
    """The function in the method's place. What it raises and returns is the method's own.

    While our own code runs Dynamo compiles nothing, though the call may come from compiled code.
    """
    set_eval_frame: Any = torch._C._dynamo.eval_frame.set_eval_frame

    @hidden
    def observed_call(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        prior = set_eval_frame(None)
        try:
            original = patch._original(instance, type(instance))
            try:
                has_begun = not patch._is_inert and before(instance, args, kwargs)
            except Exception as error:  # ours, whatever it is
                has_begun = False
                patch._failed(error)
        finally:
            set_eval_frame(prior)
        if not has_begun or after is None:
            return original(*args, **kwargs)
        try:
            return original(*args, **kwargs)
        finally:
            prior = set_eval_frame(None)
            try:
                after(instance)
            except Exception as error:  # ours, whatever it is
                patch._failed(error)
            finally:
                set_eval_frame(prior)

    return observed_call


def caller() -> FrameType | None:
    """The frame that called an observed method; to be asked by ``before`` itself."""
    own = globals()
    frame: FrameType | None = sys._getframe(3)  # behind ``before`` and the observer
    while frame is not None and frame.f_globals is own:  # patches nest
        frame = frame.f_back
    return frame
