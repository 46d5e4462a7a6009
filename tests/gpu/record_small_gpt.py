"""Records a trace of a small GPT with ``track``: ``python -m tests.gpu.record_small_gpt FOLDER``.

The trace holds the machine's name and the paths of source files: look through it before it is given away.
"""

from __future__ import annotations

import argparse

import torch

import mfu_profiler
from tests.gpu.trainings import PRECISIONS, Shape, gpt_training, in_precision

STEPS = 40
SHAPE = Shape(vocabulary=8192, context=512, width=512, heads=8, layers=4, sequences=8)
SMALL = Shape()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Record a trace of a small GPT.")
    parser.add_argument("folder", help="where trace and report go")
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    device = torch.device(given.device)
    torch.manual_seed(0)
    with in_precision(given.precision, device):
        model, step = gpt_training(SHAPE if device.type == "cuda" else SMALL, given.precision)(device)
        with mfu_profiler.track(model, out=given.folder) as run:
            for _ in range(STEPS):
                step()
    print(run.trace_path)


if __name__ == "__main__":
    main()
