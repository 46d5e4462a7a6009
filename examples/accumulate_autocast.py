"""Gradient accumulation under autocast: one step is one optimizer step, however many micro-batches it takes.

python examples/accumulate_autocast.py --micro-batches 4
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

import mfu_profiler


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--micro-batches", type=int, default=4)
    parser.add_argument("--out", default="mfu_traces")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = nn.Sequential(nn.Linear(256, 1024), nn.GELU(), nn.Linear(1024, 256)).to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    rows = 64

    with mfu_profiler.track(model, warmup=3, timed=10, active=4, out=arguments.out) as run:
        for _ in range(arguments.steps):
            for _ in range(arguments.micro_batches):
                x = torch.randn(rows, 256, device=device)
                with torch.autocast(device, dtype=torch.bfloat16):
                    loss = (model(x) - x).square().mean() / arguments.micro_batches
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    # Two layers of 256 x 1024: forward, weight gradients, and the second layer's input gradient.
    by_hand = arguments.micro_batches * rows * 2 * 256 * 1024 * (2 + 2 + 1)
    print(f"FLOP of a step by hand:       {by_hand}")
    if run.report is not None:
        print(f"FLOP of a step in the report: {run.report.flop.model_per_step:.0f}")
        print(f"precision: {run.report.device.precision}")


if __name__ == "__main__":
    main()
