"""A compiled model: tracking neither compiles it again nor runs it eagerly; its FLOP are counted on a copy.

python examples/compiled.py
"""

from __future__ import annotations

import argparse
import shutil

import torch
from torch import nn

import mfu_profiler


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--out", default="mfu_traces")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = nn.Sequential(nn.Linear(256, 1024), nn.GELU(), nn.Linear(1024, 256)).to(device)
    # On a CPU inductor writes C++.
    has_compiler = device == "cuda" or any(shutil.which(name) for name in ("c++", "g++", "clang++"))
    compiled = torch.compile(model, backend="inductor" if has_compiler else "aot_eager")
    optimizer = torch.optim.AdamW(model.parameters())

    with mfu_profiler.track(model, warmup=3, timed=10, active=4, out=arguments.out) as run:
        for _ in range(arguments.steps):
            x = torch.randn(512, 256, device=device)
            loss = (compiled(x) - x).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    print(f"FLOP of a step by hand:       {512 * 2 * 256 * 1024 * (2 + 2 + 1)}")
    if run.report is not None:
        print(f"FLOP of a step in the report: {run.report.flop.model_per_step:.0f}")


if __name__ == "__main__":
    main()
