"""One sample a step: ops cost their overhead and little else. Fixed: 32 a step, which takes hardly longer.

    python examples/fixes/tiny_batches.py [--fixed]

Compare the time per sample: a step of the fixed run trains on 32.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

import mfu_profiler
from mfu_profiler.render import render_json

WIDTH, LAYERS = 128, 8


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fixed", action="store_true", help="32 samples a step instead of one")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--report", type=Path, help="write the report as JSON here instead of printing it")
    parser.add_argument("--out", default="mfu_traces")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # several would not help ops this small
    torch.manual_seed(0)
    batch = 32 if arguments.fixed else 1
    layers = [layer for _ in range(LAYERS) for layer in (nn.Linear(WIDTH, WIDTH), nn.GELU())]
    model = nn.Sequential(nn.Linear(32, WIDTH), *layers, nn.Linear(WIDTH, 10))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    samples, labels = torch.randn(1024, 32), torch.randint(10, (1024,))

    with mfu_profiler.track(model, out=arguments.out, quiet=arguments.report is not None) as run:
        for step in range(arguments.steps):
            rows = slice(step * batch % len(samples), step * batch % len(samples) + batch)
            loss = nn.functional.cross_entropy(model(samples[rows]), labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimizer.step()
            optimizer.zero_grad()

    if arguments.report is not None and run.report is not None:
        arguments.report.write_text(render_json([run.report]))


if __name__ == "__main__":
    main()
