"""Trains a GPT in nanoGPT's shape, with nanoGPT's print line: the MFU in it is ``run.mfu``.

    python examples/train_gpt.py --steps 40

One step is several micro-batches (gradient accumulation). At the end it prints the FLOP of a step by PaLM's
formula.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

import mfu_profiler


@dataclass(frozen=True)
class Sizes:
    """What the model is made of."""

    layers: int = 4
    heads: int = 4
    width: int = 128
    context: int = 64
    vocabulary: int = 128


class Block(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.before_attention, self.before_mlp = nn.LayerNorm(sizes.width), nn.LayerNorm(sizes.width)
        self.qkv = nn.Linear(sizes.width, 3 * sizes.width, bias=False)
        self.project = nn.Linear(sizes.width, sizes.width, bias=False)
        self.widen = nn.Linear(sizes.width, 4 * sizes.width, bias=False)
        self.narrow = nn.Linear(4 * sizes.width, sizes.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.before_attention(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + cast(Tensor, self.narrow(functional.gelu(self.widen(self.before_mlp(x)))))


class Gpt(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.characters = nn.Embedding(sizes.vocabulary, sizes.width)
        self.positions = nn.Embedding(sizes.context, sizes.width)
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.width)
        self.head = nn.Linear(sizes.width, sizes.vocabulary, bias=False)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        x = self.characters(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def step_flop(sizes: Sizes, sequences: int) -> int:
    """6 N per token and 12 L H Q T for attention; N counts what is multiplied (PaLM, appendix B)."""
    matrices = sizes.layers * 12 * sizes.width**2 + sizes.vocabulary * sizes.width
    attention = 12 * sizes.layers * sizes.width * sizes.context
    return (6 * matrices + attention) * sizes.context * sequences


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--out", default="mfu_traces")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sizes, batch, micro_batches = Sizes(), 4, 2
    model = Gpt(sizes).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    text = torch.randint(sizes.vocabulary, (10_000,))

    with mfu_profiler.track(model, warmup=3, timed=12, active=4, out=arguments.out) as run:
        for iteration in range(arguments.steps):
            began = time.perf_counter()
            for _ in range(micro_batches):
                starts = torch.randint(len(text) - sizes.context - 1, (batch,)).tolist()
                chunks = torch.stack([text[start : start + sizes.context + 1] for start in starts]).to(device)
                loss = model(chunks[:, :-1], chunks[:, 1:]) / micro_batches
                loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if iteration % 5 == 0:
                took_ms = (time.perf_counter() - began) * 1000
                value = loss.item() * micro_batches
                print(f"iter {iteration}: loss {value:.4f}, time {took_ms:.2f}ms, mfu {run.mfu * 100:.2f}%")

    print(f"FLOP of a step by PaLM's formula: {step_flop(sizes, batch * micro_batches)}")
    if run.report is not None:
        print(f"FLOP of a step in the report:     {run.report.flop.model_per_step:.0f}")


if __name__ == "__main__":
    main()
