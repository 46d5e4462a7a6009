"""Left from debugging: norms and checks of every gradient are read back in every step. Fixed: they are not.

python examples/fixes/needless_work.py [--fixed]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

import mfu_profiler
from mfu_profiler.render import render_json

BATCH, WIDTH, LAYERS = 64, 128, 16


def check_gradients(model: nn.Module, norms: dict[str, tuple[float, float]]) -> None:
    """Keep the norms of each parameter and its gradient; each ``.item()`` waits for its value."""
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        assert gradient is not None
        if not torch.isfinite(gradient).all().item():
            raise FloatingPointError(f"the gradient of {name} is not finite")
        norms[name] = gradient.norm().item(), parameter.detach().norm().item()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fixed", action="store_true", help="leave the checks out")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--report", type=Path, help="write the report as JSON here instead of printing it")
    parser.add_argument("--out", default="mfu_traces")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # several would not help ops this small
    torch.manual_seed(0)
    layers = [layer for _ in range(LAYERS) for layer in (nn.Linear(WIDTH, WIDTH), nn.GELU())]
    model = nn.Sequential(nn.Linear(32, WIDTH), *layers, nn.Linear(WIDTH, 10))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    inputs, labels = torch.randn(BATCH, 32), torch.randint(10, (BATCH,))
    norms: dict[str, tuple[float, float]] = {}

    with mfu_profiler.track(model, out=arguments.out, quiet=arguments.report is not None) as run:
        for _ in range(arguments.steps):
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            if not arguments.fixed:
                check_gradients(model, norms)
            optimizer.step()
            optimizer.zero_grad()

    if arguments.report is not None and run.report is not None:
        arguments.report.write_text(render_json([run.report]))


if __name__ == "__main__":
    main()
