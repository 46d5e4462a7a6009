"""Attention by hand writes all scores to memory, several times. Fixed: scaled_dot_product_attention does not.

python examples/fixes/attention_by_hand.py [--fixed]
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

import mfu_profiler
from mfu_profiler.render import render_json

LENGTH, WIDTH, HEADS = 512, 64, 2


def attention_by_hand(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention over (batch, head, position, channel)."""
    shape = query.shape
    query, key, value = (x.flatten(0, 1) for x in (query, key, value))
    scores = torch.bmm(query, key.transpose(1, 2)) / math.sqrt(query.shape[-1])
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    return torch.bmm(weights, value).view(shape)


class Block(nn.Module):
    def __init__(self, is_fixed: bool) -> None:
        super().__init__()
        self.is_fixed = is_fixed
        self.before_attention, self.before_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(self.before_attention(x)).view(*x.shape[:2], 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if self.is_fixed:
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            mixed = attention_by_hand(query, key, value)
        x = x + self.project(mixed.transpose(1, 2).flatten(2))
        return x + cast(Tensor, self.mlp(self.before_mlp(x)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fixed", action="store_true", help="scaled_dot_product_attention")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--report", type=Path, help="write the report as JSON here instead of printing it")
    parser.add_argument("--out", default="mfu_traces")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the same on any machine, and undisturbed by others
    torch.manual_seed(0)
    model = nn.Sequential(Block(arguments.fixed), Block(arguments.fixed))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    inputs = torch.randn(1, LENGTH, WIDTH)

    with mfu_profiler.track(model, out=arguments.out, quiet=arguments.report is not None) as run:
        for _ in range(arguments.steps):
            functional.mse_loss(model(inputs), inputs).backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
            optimizer.zero_grad()

    if arguments.report is not None and run.report is not None:
        arguments.report.write_text(render_json([run.report]))


if __name__ == "__main__":
    main()
