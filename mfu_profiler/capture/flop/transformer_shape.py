"""The analytic count of PaLM and nanoGPT beside the counted FLOP, where the model looks like a transformer.

It is for comparison, so it is given only where nothing is in doubt: one token embedding, called on tokens of
shape (batch, length), and a list of alike blocks, all of whose heads agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from mfu_profiler.capture.flop.forward_calls import ForwardCall, TensorSpec
from mfu_profiler.capture.observe.discover import core_of
from mfu_profiler.flops import TransformerShape

__all__ = ["transformer_shape"]

_HEADS = ("n_head", "n_heads", "num_heads", "num_attention_heads", "nhead")
_POSITION_NAMES = ("pos", "wpe")
"""Parts of the names of position embeddings."""


def transformer_shape(model: nn.Module, calls: Sequence[ForwardCall]) -> dict[str, Any] | None:
    """Sizes of a decoder-only transformer and its model FLOP for the calls of a step; None when in doubt.

    N leaves out position embeddings, as nanoGPT does, and counts a tied output layer once.
    """
    core = core_of(model)
    tokens, blocks, embedding = _tokens(calls), _blocks(core), _token_embedding(core)
    if tokens is None or blocks is None or embedding is None:
        return None
    sequences, context = tokens
    width = embedding.embedding_dim
    heads = _heads((core, *(module for block in blocks for module in block.modules())))
    trains = {call.trains for call in calls} == {True}
    if heads is None or width % heads or (trains and _is_partly_frozen(core)):
        return None
    shape = TransformerShape(_parameters(core, embedding), len(blocks), heads, width // heads, context)
    forward_flop = shape.forward_flop_per_token * context * sequences
    return {
        "parameters": shape.parameters,
        "layers": shape.layers,
        "heads": shape.heads,
        "head_dim": shape.head_dim,
        "context": context,
        "sequences": sequences,
        "step_flop": shape.step_flop(sequences) if trains else forward_flop,
    }


def _tokens(calls: Sequence[ForwardCall]) -> tuple[int, int] | None:
    """Sequences of all calls together, and their common length; None where tokens are not plainly given."""
    shapes = []
    for call in calls:
        integers = [spec for spec in call.tensors() if _is_integer(spec)]
        if not integers or len(integers[0].shape) != 2:
            return None
        shapes.append(integers[0].shape)
    lengths = {length for _, length in shapes}
    if len(lengths) != 1 or 0 in lengths:
        return None
    return sum(batch for batch, _ in shapes), lengths.pop()


def _is_partly_frozen(core: nn.Module) -> bool:
    """Frozen weights need no gradient of their own: 4N, not 6N."""
    return not all(weight.requires_grad for weight in core.parameters())


def _is_integer(spec: TensorSpec) -> bool:
    return spec.dtype in (torch.int64, torch.int32)


def _blocks(core: nn.Module) -> list[nn.Module] | None:
    """The one list of alike blocks with attention; None where there are several, or experts inside."""
    lists = [
        list(module.children())
        for module in core.modules()
        if isinstance(module, nn.ModuleList | nn.Sequential) and _are_blocks(list(module.children()))
    ]
    if len(lists) != 1:
        return None
    experts = [
        module
        for module in lists[0][0].modules()
        if isinstance(module, nn.ModuleList) and len(module) > 1 and _are_alike(list(module))
        if any(weight.ndim > 1 for weight in module.parameters())
    ]
    return None if experts else lists[0]


def _are_blocks(children: list[nn.Module]) -> bool:
    return bool(children) and _are_alike(children) and bool(_head_counts(children[0].modules()))


def _are_alike(children: list[nn.Module]) -> bool:
    kinds = {(type(child), tuple(tuple(weight.shape) for weight in child.parameters())) for child in children}
    return len(kinds) == 1


def _heads(modules: Sequence[nn.Module]) -> int | None:
    counts = _head_counts(modules)
    return counts.pop() if len(counts) == 1 else None


def _head_counts(modules: Iterable[nn.Module]) -> set[int]:
    """All numbers of heads that modules, or their configurations, have among their attributes."""
    found = set()
    for module in modules:
        config = vars(module).get("config")
        for source in (vars(module), config if isinstance(config, dict) else getattr(config, "__dict__", {})):
            values = (source.get(name) for name in _HEADS)
            found |= {value for value in values if type(value) is int and value > 0}
    return found


def _embeddings(core: nn.Module) -> Iterator[tuple[str, nn.Embedding]]:
    for name, module in core.named_modules():
        if isinstance(module, nn.Embedding):
            yield name, module


def _is_position(name: str) -> bool:
    return any(part in name.rpartition(".")[2].lower() for part in _POSITION_NAMES)


def _token_embedding(core: nn.Module) -> nn.Embedding | None:
    tokens = [module for name, module in _embeddings(core) if not _is_position(name)]
    return tokens[0] if len(tokens) == 1 else None


def _parameters(core: nn.Module, embedding: nn.Embedding) -> int:
    """Parameters that multiply something: not position embeddings, nor an untied token embedding."""
    looked_up = {id(module.weight) for name, module in _embeddings(core) if _is_position(name)}
    looked_up |= {id(weight) for name, weight in core.named_parameters() if _is_position(name)}
    linears = [module for module in core.modules() if isinstance(module, nn.Linear)]
    outputs = [linear for linear in linears if linear.out_features == embedding.num_embeddings]
    if outputs and all(output.weight is not embedding.weight for output in outputs):
        looked_up.add(id(embedding.weight))
    return sum(weight.numel() for weight in core.parameters() if id(weight) not in looked_up)
