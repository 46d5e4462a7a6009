"""Which modules and optimizers of this process belong together, found among the objects that gc knows.

One look takes about 0.2 µs an object (55 ms for the 290,000 of a process that has imported torch._dynamo), so
it is taken once, not in every step. Objects frozen by ``gc.freeze`` are not found.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.optim import Optimizer

from mfu_profiler.capture.observe.patch import hidden

__all__ = [
    "Holders",
    "core_of",
    "instances_of",
    "is_wrapper",
    "module_of",
    "optimizers_of",
    "parameters_of",
    "with_wrapped",
]

_Object = TypeVar("_Object")

_WRAPPED = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Names by which OptimizedModule, FullyShardedDataParallel and CheckpointWrapper hold what they wrap."""
_PARALLEL = (nn.parallel.DistributedDataParallel, nn.parallel.DataParallel)


def with_wrapped(module: nn.Module) -> Iterator[nn.Module]:
    """The module and, if it is one of torch's wrappers, what it wraps, from the outside in."""
    inner: nn.Module | None = module
    while inner is not None:
        yield inner
        children = _children(inner)
        name = "module" if isinstance(inner, _PARALLEL) else next((n for n in _WRAPPED if n in children), "")
        inner = children.get(name)


@hidden
def is_wrapper(module: nn.Module) -> bool:
    """Whether it is one of torch's modules that wrap another."""
    return isinstance(module, _PARALLEL) or any(map(_children(module).__contains__, _WRAPPED))


def core_of(module: nn.Module) -> nn.Module:
    """The module under all wrappers of torch's."""
    *_, core = with_wrapped(module)
    return core


def parameters_of(optimizer: Optimizer) -> Iterator[torch.Tensor]:
    """The tensors that an optimizer holds."""
    for group in optimizer.param_groups:
        yield from group["params"]


class Holders:
    """The optimizers that hold a parameter of a model, as far as it has been asked about them."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._known: WeakKeyDictionary[Optimizer, tuple[int, bool]] = WeakKeyDictionary()

    def __contains__(self, optimizer: Optimizer) -> bool:
        """Looked up again when it holds more than it did."""
        size = sum(len(group["params"]) for group in optimizer.param_groups)
        known = self._known.get(optimizer)
        if known is None or known[0] != size:
            own = {id(parameter) for parameter in self._model.parameters()}
            known = size, any(id(held) in own for held in parameters_of(optimizer))
            self._known[optimizer] = known
        return known[1]


def optimizers_of(model: nn.Module | None) -> list[Optimizer]:
    """The optimizers that hold at least one parameter of the model; without a model all there are."""
    optimizers = instances_of(Optimizer)
    if model is None:
        return optimizers
    own = {id(parameter) for parameter in model.parameters()}
    return [one for one in optimizers if any(id(held) in own for held in parameters_of(one))]


def module_of(optimizer: Optimizer) -> nn.Module | None:
    """The outermost module that holds most of the optimizer's parameters.

    Where several that are no part of another module do (a model, and something that refers to it), it is the
    outermost module that they share; None where there is none.
    """
    held = {id(parameter) for parameter in parameters_of(optimizer)}
    modules = [module for module in instances_of(nn.Module) if "_modules" in module.__dict__]
    inner = {id(child) for module in modules for child in _children(module).values()}
    roots = [module for module in modules if id(module) not in inner and _holds_most(module, held)]
    if not roots:
        return None
    written = [root for root in roots if not isinstance(root, torch.fx.GraphModule)]
    first, *others = written or roots  # a compiled graph holds the parameters too
    shared = [{id(module) for module in other.modules()} for other in others]
    return next(
        (one for one in first.modules() if all(id(one) in ids for ids in shared) and _holds_most(one, held)),
        None,
    )


def _holds_most(module: nn.Module, parameters: set[int]) -> bool:
    return 2 * len(parameters.intersection(id(own) for own in module.parameters())) > len(parameters)


@hidden
def _children(module: nn.Module) -> dict[str, nn.Module | None]:
    """Empty for TorchScript's modules, which keep them elsewhere."""
    children: dict[str, nn.Module | None] | object = module.__dict__.get("_modules")
    return children if isinstance(children, dict) else {}


def instances_of(base: type[_Object]) -> list[_Object]:
    """All that gc knows, found by type and not by isinstance: that may run code of proxies."""
    classes = set(_subclasses(base))
    return [one for one in gc.get_objects() if type(one) in classes]


def _subclasses(base: type) -> Iterator[type]:
    yield base
    derived: type
    for derived in type.__subclasses__(base):
        yield from _subclasses(derived)
