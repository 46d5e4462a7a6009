"""What the command ``demo`` trains: a small GPT whose batches are made too slowly, in the main process."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mfu_profiler.capture.run import Run, track

__all__ = ["STEPS", "Gpt", "SlowText", "demo_device", "train_demo"]

VOCABULARY, CONTEXT, WIDTH, HEADS, LAYERS, BATCH = 256, 128, 128, 4, 4, 8
WARMUP, TIMED, ACTIVE = 3, 12, 5
STEPS = 2 + WARMUP + TIMED + 1 + ACTIVE + 2
"""Untouched, counted, warm-up, timed, prepared, profiled, and two more."""
MERGES = 300
"""How slow the tokenizer is: it goes through the text once for each."""


class SlowText(Dataset[Tensor]):
    """Random letters, tokenized when they are asked for: the deliberate bottleneck."""

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, index: int) -> Tensor:
        letters = random.Random(index).choices(b"etaoin shrdlu", k=4 * CONTEXT)
        return torch.tensor(_tokenized(letters)[: CONTEXT + 1])


def _tokenized(text: list[int]) -> list[int]:
    """Byte-pair encoding as nobody should write it: in pure Python, one pass over the text for each merge."""
    tokens = list(text)
    for merge in range(MERGES):
        pair = (ord("a") + merge % 26, ord("e"))
        for place, found in enumerate(pairwise(tokens)):
            if found == pair:
                tokens[place] = 128 + merge % 128
    return tokens


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.before_attention(x)).view(batch, length, 3, HEADS, width // HEADS)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + cast(Tensor, self.mlp(self.before_mlp(x)))


class Gpt(nn.Module):
    """A decoder-only transformer in the shape of nanoGPT."""

    def __init__(self) -> None:
        super().__init__()
        self.characters, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(_Block() for _ in range(LAYERS)))
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits ``(batch, length, vocabulary)`` of tokens ``(batch, length)``."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.characters(tokens) + self.positions(positions)
        return cast(Tensor, self.head(self.blocks(x)))


def demo_device() -> str:
    """The accelerator of this machine, else its CPU."""
    return "cuda" if torch.cuda.is_available() else "xpu" if torch.xpu.is_available() else "cpu"


def train_demo(out: str, device: str) -> Run:
    """Train for ``STEPS`` steps; returns the finished run."""
    if device == "cpu":  # threads that wait for each other are slowed most by whatever else runs
        torch.set_num_threads(max(1, torch.get_num_threads() // 2))
    model = Gpt().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    batches = iter(DataLoader(SlowText(), batch_size=BATCH))
    with track(model, warmup=WARMUP, timed=TIMED, active=ACTIVE, out=out, report="exit", quiet=True) as run:
        for _ in range(STEPS):
            tokens = next(batches).to(device)
            logits = model(tokens[:, :-1])
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimizer.step()
            optimizer.zero_grad()
    return run
