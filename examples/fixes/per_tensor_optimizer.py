"""AdamW updates many small parameters one by one, several ops for each. Fixed: one fused op updates them all.

python examples/fixes/per_tensor_optimizer.py [--fixed]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

import mfu_profiler
from mfu_profiler.render import render_json

BATCH, WIDTH, BLOCKS = 64, 96, 24


class Block(nn.Module):
    """A narrow residual block: six parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + cast(Tensor, self.layers(x))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fixed", action="store_true", help="AdamW(fused=True)")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--report", type=Path, help="write the report as JSON here instead of printing it")
    parser.add_argument("--out", default="mfu_traces")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # several would not help ops this small
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, WIDTH), *(Block() for _ in range(BLOCKS)), nn.Linear(WIDTH, 10))
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False, fused=arguments.fixed)
    inputs, labels = torch.randn(BATCH, 32), torch.randint(10, (BATCH,))

    with mfu_profiler.track(model, out=arguments.out, quiet=arguments.report is not None) as run:
        for _ in range(arguments.steps):
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimizer.step()
            optimizer.zero_grad()

    if arguments.report is not None and run.report is not None:
        arguments.report.write_text(render_json([run.report]))


if __name__ == "__main__":
    main()
