"""What a module was called with: shapes, dtypes and structure, without any tensor.

Enough to call a copy of the module again (``shadow``) and to say whether the shapes vary from step to step.
Called before every forward of a few steps, so it must be quick: about 15 µs, and 2 more for each tensor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

__all__ = ["ForwardCall", "TensorSpec", "UnknownArgumentError", "describe_call", "tensors_in"]

_MOST_PARTS = 1000
_DEEPEST = 16
"""Arguments with more parts than this, or nested more deeply, are not described."""

_PLAIN = (type(None), bool, int, float, complex, str, torch.dtype, torch.device, torch.Size)
_AUTOCAST_DEVICES = ("cpu", "cuda", "xpu", "mps")


class UnknownArgumentError(ValueError):
    """An argument was neither a tensor nor a plain value, so that the call cannot be made again."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor without its data."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    requires_grad: bool


@dataclass(frozen=True, slots=True)
class _Container:
    """A list, tuple, mapping or dataclass of arguments."""

    kind: type
    keys: tuple[Hashable, ...] | None
    """Of a mapping, or the fields of a dataclass; None for sequences."""
    items: tuple[_Part, ...]


@dataclass(frozen=True, slots=True)
class _Other:
    """An argument of another type: a plain value, kept beside, or something that cannot be made again."""

    kind: type


_Part = TensorSpec | _Container | _Other


@dataclass(frozen=True, slots=True)
class ForwardCall:
    """One call of a module. Two are equal if shapes, dtypes and structure are; plain values may differ."""

    arguments: tuple[_Part, _Part]
    """Positional ones, and keywords."""
    trains: bool
    """Whether a backward pass follows."""
    autocast: tuple[tuple[str, torch.dtype], ...]
    """Device types with autocast on, and to which dtype."""
    values: tuple[Any, ...] = field(default=(), compare=False)
    """Numbers, strings and the like among the arguments, in order."""

    def tensors(self) -> Iterator[TensorSpec]:
        """Those among the arguments, in order."""
        for part in self.arguments:
            yield from _specs(part)

    def made_again(self, make: Callable[[TensorSpec], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments like those of the call, with tensors from ``make``.

        Raises:
            UnknownArgumentError: an argument is neither tensor nor plain value.

        """
        values = iter(self.values)
        args, kwargs = (_made(part, values, make) for part in self.arguments)
        return args, kwargs


def describe_call(args: tuple[Any, ...], kwargs: Mapping[str, Any], trains: bool) -> ForwardCall:
    """Describe a call that is about to be made, and the autocast state it is made in. Never raises."""
    values: list[Any] = []
    arguments = _described(args, values), _described(dict(kwargs), values)
    return ForwardCall(arguments, trains, _autocast(), tuple(values))


def tensors_in(value: object) -> Iterator[torch.Tensor]:
    """All tensors in nested containers and dataclasses, as models return them."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for entry in dataclasses.fields(value):
            yield from tensors_in(getattr(value, entry.name, None))


def _described(value: object, values: list[Any], depth: int = 0) -> _Part:
    kind = type(value)
    if isinstance(value, torch.Tensor):
        if value.layout is torch.strided and not value.is_nested and not hasattr(kind, "__tensor_flatten__"):
            return TensorSpec(tuple(value.shape), value.dtype, value.device, value.requires_grad)
        return _Other(kind)
    if kind in _PLAIN:
        values.append(value)
        return _Other(kind)
    keys: tuple[Hashable, ...] | None = None
    items: Collection[object]
    if isinstance(value, list | tuple):
        items = value
    elif isinstance(value, Mapping):
        keys, items = tuple(value), value.values()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        keys = tuple(entry.name for entry in dataclasses.fields(value) if entry.init)
        items = [getattr(value, str(name), None) for name in keys]
    else:
        return _Other(kind)
    if depth == _DEEPEST or len(values) + len(items) > _MOST_PARTS:
        return _Other(kind)
    return _Container(kind, keys, tuple([_described(item, values, depth + 1) for item in items]))


def _specs(part: _Part) -> Iterator[TensorSpec]:
    if isinstance(part, TensorSpec):
        yield part
    elif isinstance(part, _Container):
        for item in part.items:
            yield from _specs(item)


def _autocast() -> tuple[tuple[str, torch.dtype], ...]:
    return tuple(
        (device, torch.get_autocast_dtype(device))
        for device in _AUTOCAST_DEVICES
        if torch.is_autocast_enabled(device)
    )


def _made(part: _Part, values: Iterator[Any], make: Callable[[TensorSpec], Any]) -> Any:
    if isinstance(part, TensorSpec):
        return make(part)
    if isinstance(part, _Other):
        if part.kind in _PLAIN:
            return next(values)
        raise UnknownArgumentError(f"an argument of type {part.kind.__name__} cannot be made again")
    items = [_made(item, values, make) for item in part.items]
    if part.keys is None:
        if hasattr(part.kind, "_fields"):  # a named tuple
            return part.kind(*items)
        return part.kind(items)
    if dataclasses.is_dataclass(part.kind):
        return part.kind(**{str(name): item for name, item in zip(part.keys, items, strict=True)})
    return part.kind(zip(part.keys, items, strict=True))
