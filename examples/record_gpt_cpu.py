"""Records the trace that the project ships: a small GPT trained on a CPU, a data loader in its loop.

    python examples/record_gpt_cpu.py examples/traces/gpt_cpu.json.gz

Prints the best rate of a large matrix product on the same threads, to be given as ``--peak-tflops``.
"""

from __future__ import annotations

import sys
import time
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

CONTEXT, VOCABULARY, WIDTH, HEADS, LAYERS, BATCH = 64, 65, 128, 4, 2, 16


class Characters(Dataset[Tensor]):
    """Random characters; each sample is made on demand, as a real data set decodes its files."""

    def __len__(self) -> int:
        return 10_000

    def __getitem__(self, index: int) -> Tensor:
        generator = torch.Generator().manual_seed(index)
        return torch.randint(VOCABULARY, (CONTEXT + 1,), generator=generator)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.project = nn.Linear(WIDTH, WIDTH, bias=False)
        self.before_mlp = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.qkv(self.before_attention(x)).view(batch, length, 3, HEADS, width // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + cast(Tensor, self.mlp(self.before_mlp(x)))


class Gpt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.characters(tokens) + self.positions(torch.arange(tokens.shape[1]))
        return cast(Tensor, self.head(self.blocks(x)))


def record(path: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Gpt()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    loader = iter(DataLoader(Characters(), batch_size=BATCH))
    schedule = torch.profiler.schedule(wait=2, warmup=1, active=4, repeat=1)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, schedule=schedule, record_shapes=True) as profiler:
        for _ in range(7):
            tokens = next(loader)
            logits = model(tokens[:, :-1])
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimizer.step()
            optimizer.zero_grad()
            profiler.step()
    profiler.export_chrome_trace(path)


def best_matmul_flop_per_s(size: int = 1024, repeats: int = 20) -> float:
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def main(arguments: list[Any]) -> None:
    record(arguments[1])
    rate = best_matmul_flop_per_s()
    print(f"recorded {arguments[1]}; the fastest matrix product here: {rate / 1e12:.3f} TFLOP/s")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"python {sys.argv[0]} trace.json")
    main(sys.argv)
