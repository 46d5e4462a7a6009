"""Models whose FLOP can be counted by hand, and the counting of one step of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from mfu_profiler.capture.flop.flop_count import FlopCount
from mfu_profiler.capture.flop.flop_counter import FlopCounter, dynamo_has_compiled

Step = Callable[[], object]


def count(model: nn.Module | None, step: Step) -> FlopCount:
    """FLOP of a step, counted for real."""
    return count_announced(model, lambda counter: step())


def count_announced(model: nn.Module | None, step: Callable[[FlopCounter], object]) -> FlopCount:
    """FLOP of a step that tells the counter when its optimizers run."""
    if dynamo_has_compiled():  # other tests compile
        torch._dynamo.reset()
    counter = FlopCounter(model)
    assert counter.start() is None
    try:
        step(counter)
    finally:
        counted = counter.stop()
        assert not counter.is_stacked
    assert counted is not None, counter.because
    return counted


def torchs_count(step: Step) -> int:
    """What torch's own counter says."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def matmul(rows: int, *sizes: int) -> int:
    """FLOP of multiplying rows by a matrix of sizes[0] x sizes[1], then sizes[1] x sizes[2], ..."""
    return sum(2 * rows * m * n for m, n in pairwise(sizes))


class Mlp(nn.Module):
    """8 -> 16 -> 4."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow, self.drop = nn.Linear(8, 16), nn.Linear(16, 4), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.narrow(self.drop(torch.relu(self.wide(x))))
        return result


class ConvNet(nn.Module):
    """A stem, a residual block, a depthwise and a 1x1 convolution; images of 16 x 16."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.first, self.second = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.down = nn.Conv2d(8, 16, 1, stride=2)
        self.head = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(images)))
        x = x + self.second(torch.relu(self.first(x)))
        result: Tensor = self.head(self.down(self.depthwise(x)).mean((2, 3)))
        return result

    @staticmethod
    def forward_flop(batch: int) -> dict[str, int]:
        """2 x positions x elements of the weight."""
        return {
            "stem": 2 * batch * 8 * 8 * (8 * 3 * 9),
            "first": 2 * batch * 8 * 8 * (8 * 8 * 9),
            "second": 2 * batch * 8 * 8 * (8 * 8 * 9),
            "depthwise": 2 * batch * 8 * 8 * (8 * 9),
            "down": 2 * batch * 4 * 4 * (16 * 8),
            "head": 2 * batch * 16 * 10,
        }


class Attention(nn.Module):
    """Causal, with fewer key than query heads where asked for."""

    def __init__(self, width: int, n_head: int, kv_heads: int) -> None:
        super().__init__()
        self.n_head, self.kv_heads, self.dim = n_head, kv_heads, width // n_head
        self.qkv = nn.Linear(width, width + 2 * kv_heads * self.dim, bias=False)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        heads = self.qkv(x).view(batch, length, -1, self.dim).transpose(1, 2)
        query, key, value = heads.split([self.n_head, self.kv_heads, self.kv_heads], dim=1)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=self.kv_heads < self.n_head
        )
        result: Tensor = self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return result


class Block(nn.Module):
    def __init__(self, width: int, n_head: int, kv_heads: int) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), Attention(width, n_head, kv_heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm(x))
        result: Tensor = x + self.mlp(x)
        return result


class Gpt(nn.Module):
    """A GPT in nanoGPT's shape, tied output layer included.

    Args:
        reentrant: checkpoint each block, in this of torch's two ways; None: keep all activations.

    """

    width, n_head, vocabulary, layers = 16, 4, 32, 2

    def __init__(self, *, kv_heads: int = 4, reentrant: bool | None = None) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(self.vocabulary, self.width), nn.Embedding(64, self.width)
        self.blocks = nn.ModuleList(Block(self.width, self.n_head, kv_heads) for _ in range(self.layers))
        self.head = nn.Linear(self.width, self.vocabulary, bias=False)
        self.head.weight = self.wte.weight
        self.reentrant = reentrant

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x) if self.reentrant is None else checkpoint(block, x, use_reentrant=self.reentrant)
        result: Tensor = self.head(x)
        return result

    @classmethod
    def linear_flop(cls, batch: int, length: int, kv_heads: int = 4) -> dict[str, int]:
        """Forward FLOP of each linear layer."""
        tokens, width = batch * length, cls.width
        flop = {}
        for layer in range(cls.layers):
            prefix = f"blocks.{layer}"
            flop[f"{prefix}.attention.qkv"] = matmul(
                tokens, width, width + 2 * kv_heads * width // cls.n_head
            )
            flop[f"{prefix}.attention.project"] = matmul(tokens, width, width)
            flop[f"{prefix}.mlp.0"] = flop[f"{prefix}.mlp.2"] = matmul(tokens, width, 4 * width)
        flop["head"] = matmul(tokens, width, cls.vocabulary)
        return flop

    @classmethod
    def attention_flop(cls, batch: int, length: int) -> int:
        """Forward FLOP of one layer's attention: two matmuls over all scores."""
        return 2 * 2 * batch * length * length * cls.width


def gpt_step(model: nn.Module, batch: int = 2, length: int = 8) -> Step:
    """Forward and backward of a language model."""
    tokens = torch.randint(32, (batch, length))

    def step() -> None:
        logits: Any = model(tokens)
        functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()

    return step
