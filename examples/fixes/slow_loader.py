"""The main process unpacks every picture itself, and training waits. Fixed: two worker processes do it ahead.

python examples/fixes/slow_loader.py [--fixed]
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import mfu_profiler
from mfu_profiler.render import render_json

SIDE, BATCH = 144, 16


class Pictures(Dataset[tuple[Tensor, int]]):
    """Compressed pictures in memory; a sample is unpacked, flipped, made smaller and normalized."""

    def __init__(self) -> None:
        slope = np.add.outer(np.arange(SIDE), np.arange(SIDE))[:, :, None]
        noise = np.random.default_rng(0).integers(0, 16, (64, SIDE, SIDE, 3))
        self.packed = [zlib.compress(((slope + grain) % 256).astype(np.uint8).tobytes()) for grain in noise]

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = np.frombuffer(zlib.decompress(self.packed[index % len(self.packed)]), np.uint8)
        picture = pixels.reshape(SIDE, SIDE, 3)[:, :: -1 if index % 2 else 1]
        small = picture.reshape(SIDE // 3, 3, SIDE // 3, 3, 3).mean(axis=(1, 3), dtype=np.float32)
        normal = (small - small.mean()) / small.std()
        return torch.from_numpy(normal.transpose(2, 0, 1).copy()), index % 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fixed", action="store_true", help="load in two worker processes")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--report", type=Path, help="write the report as JSON here instead of printing it")
    parser.add_argument("--out", default="mfu_traces")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the workers need a core, too
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    workers = 2 if arguments.fixed else 0
    loader = DataLoader(Pictures(), BATCH, num_workers=workers, persistent_workers=workers > 0)
    batches = iter(loader)

    with mfu_profiler.track(model, out=arguments.out, quiet=arguments.report is not None) as run:
        for _ in range(arguments.steps):
            pictures, labels = next(batches)
            loss = nn.functional.cross_entropy(model(pictures), labels)
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimizer.step()
            optimizer.zero_grad()

    if arguments.report is not None and run.report is not None:
        arguments.report.write_text(render_json([run.report]))


if __name__ == "__main__":
    main()
