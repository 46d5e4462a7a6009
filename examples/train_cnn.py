"""Trains a small residual CNN fed by a real DataLoader: worker processes, pinned memory on a GPU.

    python examples/train_cnn.py --workers 2

Try ``--workers 0``: the report then names data loading, because the main process makes the images itself.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import mfu_profiler


class Images(Dataset[tuple[Tensor, int]]):
    """Random images, smoothed one by one: that takes the time that decoding would."""

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        generator = torch.Generator().manual_seed(index)
        image = torch.randn(3, 32, 32, generator=generator)
        for _ in range(4):
            image = functional.avg_pool2d(image, 3, stride=1, padding=1)
        return image, index % 10


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.layers(x))


def small_resnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1, bias=False),
        Residual(32),
        nn.MaxPool2d(2),
        Residual(32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", default="mfu_traces")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = small_resnet().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loader = DataLoader(
        Images(),
        batch_size=32,
        num_workers=arguments.workers,
        pin_memory=device == "cuda",
        persistent_workers=arguments.workers > 0,
    )
    batches = iter(loader)

    with mfu_profiler.track(model, warmup=3, timed=10, active=4, out=arguments.out) as run:
        for _ in range(arguments.steps):
            images, labels = next(batches)
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            loss = functional.cross_entropy(model(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimizer.step()
            optimizer.zero_grad()

    if run.report is not None and run.report.partition is not None:
        print(f"waiting for data: {run.report.partition.idle_data_loading:.1%} of a profiled step")


if __name__ == "__main__":
    main()
