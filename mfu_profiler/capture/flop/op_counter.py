"""The dispatch mode that notes what every op costs and for what it runs, and runs it as it is.

It sees every op below autograd and autocast. Compiled code stays compiled under it, because it hides from
Dynamo, and is seen only in part.

A known limit: under any dispatch mode torch computes some backwards in another way
(``at::areAnyTensorSubclassLike``). Of the 677 operators of torch's own test suite this rounds otherwise (CPU,
torch 2.13) only in the gradients of ``prod`` over a dim, of ``linalg.eig``, and of the value, where that is a
tensor, of ``masked_fill``.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mfu_profiler.capture.flop.call_sites import CallSite, call_site, is_called_by_engine, module_calls
from mfu_profiler.capture.flop.dispatched_op import EXPECTED_ERRORS, Cost, OpCosts
from mfu_profiler.capture.flop.flop_count import FlopCount
from mfu_profiler.capture.flop.flop_tally import FlopTally, Purpose, Slot
from mfu_profiler.capture.flop.hidden_matmuls import HIDING_MATMULS
from mfu_profiler.capture.observe.patch import hidden
from mfu_profiler.capture.torch_private import (
    AnyOp,
    graph_task,
    is_composite,
    last_made_node,
    op_name,
    parts_of_composite,
    running_node,
    set_eval_frame,
)

__all__ = ["OpCounter"]

_WRAPPER_PARTS = frozenset({"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"})
"""Left out of the names of modules, as torch leaves them out of those of parameters."""


class OpCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type it
    """Costs every op that runs under it, on this thread or on autograd's for it.

    Args:
        model: whose modules have names in the count; None: no count by module.
        counts_fakes: whether to count ops on fake tensors, which compute nothing.
        forbid: called with each op before it runs, and may raise.

    """

    supports_higher_order_operators = True

    def __init__(
        self,
        model: nn.Module | None,
        *,
        counts_fakes: bool = False,
        forbid: Callable[[AnyOp], None] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not type it
        self.is_counting = True
        """Ops are passed on unseen once this is unset."""
        self.failure: str | None = None
        """Why the count is worthless; None where it is fine."""
        self._model = model  # keeps the modules alive: their ids are keys
        self._names = (
            {} if model is None else {id(module): _clean(name) for name, module in model.named_modules()}
        )
        self._counts_fakes = counts_fakes
        self._forbid = forbid
        self._home = threading.get_ident()
        self._costs = OpCosts()
        self._tally = FlopTally()
        self._makers: dict[int, list[tuple[int, str | None]]] = {}
        """By thread, in order: sequence numbers of autograd nodes, and the module of each one's op."""
        self._optimizers: dict[int, list[tuple[int | None, int]]] = {}
        """By thread, for each optimizer step under way: the graph task and how many modules called it."""
        self._known_ops: dict[AnyOp, tuple[str, bool]] = {}
        self._kinds: dict[type, str] = {}

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Let Dynamo compile, and run what it has compiled, as it would without this mode."""
        return True

    def begin_optimizer(self) -> None:
        """Ops of this thread are the optimizer's from here on."""
        steps = self._optimizers.setdefault(threading.get_ident(), [])
        steps.append((graph_task(), module_calls()))

    def end_optimizer(self) -> None:
        """Undo the last ``begin_optimizer`` of this thread."""
        steps = self._optimizers.get(threading.get_ident())
        if steps:
            steps.pop()

    def result(self) -> FlopCount:
        """What has been counted so far."""
        return self._tally.result(self._names.values())

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Do not wrap ``__torch_dispatch__`` for Dynamo, which that would import. It is hidden in our way."""
        return False

    @hidden
    def __torch_dispatch__(
        self,
        func: AnyOp,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an op. Called by torch."""
        prior = set_eval_frame(None)  # Dynamo compiles none of our code, which compiled code may call
        try:
            return self._run(func, types, args, kwargs or {})
        finally:
            set_eval_frame(prior)

    def _run(self, func: AnyOp, types: Sequence[type], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self.is_counting:
            return func(*args, **kwargs)
        if self._forbid is not None:
            self._forbid(func)
        kinds = {self._kind(subclass) for subclass in types} if types else ()
        if "wrapper" in kinds:
            return NotImplemented  # it runs ops on the tensors that it wraps, which are seen
        if "fake" in kinds and not self._counts_fakes:
            return func(*args, **kwargs)
        name, may_cost = self._known(func)
        cost = self._cost(func, name, args, kwargs) if may_cost else None
        if cost is None and name in HIDING_MATMULS and is_composite(func, args):
            with self:
                return parts_of_composite(func, args, kwargs)
        out = func(*args, **kwargs)
        if may_cost and cost is None:
            cost = self._late_cost(func, name, args, kwargs, out)
        try:
            self._note(name, may_cost, cost)
        except EXPECTED_ERRORS as error:
            self.is_counting = False
            self.failure = f"counting failed: {type(error).__name__}: {error}".splitlines()[0]
        return out

    def _kind(self, subclass: type) -> str:
        """``wrapper``: made of other tensors (DTensor, nested); ``fake``: computes nothing; ``plain``."""
        kind = self._kinds.get(subclass)
        if kind is None:
            if subclass.__name__ in ("FakeTensor", "FunctionalTensor"):
                kind = "fake"
            else:
                kind = "wrapper" if hasattr(subclass, "__tensor_flatten__") else "plain"
            self._kinds[subclass] = kind
        return kind

    def _known(self, func: AnyOp) -> tuple[str, bool]:
        """The op's name, and whether it may have FLOP."""
        known = self._known_ops.get(func)
        if known is None:
            name = op_name(func)
            known = self._known_ops[func] = (name, self._costs.may_cost(func, name))
        return known

    def _cost(self, func: AnyOp, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Cost | None:
        try:
            return self._costs.by_shapes(func, name, args, kwargs)
        except EXPECTED_ERRORS:  # a tensor without plain sizes: its cost is unknown, and said to be
            return None

    def _late_cost(
        self, func: AnyOp, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any
    ) -> Cost | None:
        try:
            return self._costs.by_registry(func, name, args, kwargs, out)
        except EXPECTED_ERRORS:  # a formula that does not fit the call: unknown, and said to be
            return None

    def _note(self, name: str, may_cost: bool, cost: Cost | None) -> None:
        task, grad_enabled = graph_task(), torch.is_grad_enabled()
        if task is not None and not self._tally.knows_task(task):
            by_engine = is_called_by_engine(__file__)
            self._tally.note_op_of_task(task, grad_enabled=grad_enabled, by_engine=by_engine)
        if cost is None and may_cost:
            self._tally.add_unknown(name)
        elif cost is not None and (cost.flop.model_flop or cost.flop.recompute_flop):
            self._tally.add(self._slot(task, grad_enabled), cost)

    def _slot(self, task: int | None, grad_enabled: bool) -> Slot:
        thread = threading.get_ident()
        site = call_site(self._names, ends_in_engine=task is not None and thread != self._home)
        if self._is_optimizers(thread, task, site):
            return Slot(Purpose.OPTIMIZER, site.module)
        module = site.module
        if task is not None and module is None:
            module = self._maker(thread, site)
        made = self._makers.setdefault(thread, [])
        if not made or made[-1][0] < last_made_node():  # an op with grad off has no node of its own
            made.append((last_made_node(), module))
        if task is None:
            return Slot(Purpose.FORWARD, module)
        if site.is_recomputed:
            return Slot(Purpose.RECOMPUTED, module)
        return Slot(Purpose.BACKWARD, module, task if grad_enabled else None)

    def _maker(self, thread: int, site: CallSite) -> str | None:
        """Module of the op that made the autograd node that runs now, or of the last op with FLOP before it.

        Each thread counts its own nodes. They were made where the backward was started from.
        """
        node = running_node()
        made = self._makers.get(thread if site.is_below_engine else self._home, [])
        position = 0 if node is None else bisect_right(made, node, key=lambda maker: maker[0])
        return made[position - 1][1] if position else None

    def _is_optimizers(self, thread: int, task: int | None, site: CallSite) -> bool:
        """Whether an op is an optimizer's own; a closure runs in another graph task, or in a module."""
        steps = self._optimizers.get(thread)
        if not steps:
            return False
        task_of_step, modules_around = steps[-1]
        return task == task_of_step and site.module_calls <= modules_around


def _clean(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPER_PARTS)
