"""Trainings for a device that nobody has tried, with their FLOP by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

import mfu_profiler
from mfu_profiler.trace.reader import read_trace
from mfu_profiler.trace.timeline import Timeline

__all__ = [
    "LAST_PROFILED",
    "PRECISIONS",
    "QUICK",
    "STEPS",
    "Cnn",
    "Gpt",
    "Make",
    "Shape",
    "Step",
    "StepClock",
    "cnn_training",
    "cuda",
    "gpt_training",
    "in_precision",
    "timeline_of",
    "weights_after",
]

QUICK: dict[str, Any] = {"warmup": 1, "timed": 3, "active": 3, "quiet": True}
"""Untouched 1, counted 2, warm-up 3, timed 4 to 6, prepared 7, profiled 8 to 10."""
LAST_PROFILED = 10
STEPS = 13

cuda: Any = torch.cuda
"""Torch does not type its functions."""

Step = Callable[[], object]
Make = Callable[[torch.device], tuple[nn.Module, Step]]
PRECISIONS = ("fp32", "tf32", "bf16")


@dataclass(frozen=True)
class Shape:
    """Sizes of a small GPT and its batch."""

    vocabulary: int = 256
    context: int = 128
    width: int = 128
    heads: int = 4
    layers: int = 2
    sequences: int = 4
    dropout: float = 0.0

    @property
    def model_flop(self) -> int:
        """Of one step: 6 a weight of each matmul and token, 12 x length x width a layer and token."""
        tokens = self.sequences * self.context
        weights = 12 * self.layers * self.width**2 + self.width * self.vocabulary
        return 6 * tokens * weights + 12 * self.layers * tokens * self.context * self.width


class _Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.norms[0](x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.drop(self.project(mixed.transpose(1, 2).reshape(batch, length, width)))
        return x + cast(Tensor, self.drop(self.down(nn.functional.gelu(self.up(self.norms[1](x))))))


class Gpt(nn.Module):
    """A decoder-only transformer in the shape of nanoGPT, its head not tied."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.Sequential(*(_Block(shape) for _ in range(shape.layers)))
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return cast(Tensor, self.head(self.blocks(self.tokens(tokens) + self.positions(places))))


class Cnn(nn.Module):
    """3 -> 16 -> 32 channels with strides instead of pooling, whose backward pass is not deterministic."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, 2, padding=1)
        self.norm, self.head = nn.BatchNorm2d(16), nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(images)))
        return cast(Tensor, self.head(torch.relu(self.second(x)).mean((2, 3))))

    @staticmethod
    def model_flop(images: int, size: int) -> int:
        """Of one step of square images: the first layer needs no gradient of its input."""
        first = 2 * images * size**2 * 16 * 3 * 9
        second = 2 * images * (size // 2) ** 2 * 32 * 16 * 9
        return 2 * first + 3 * (second + 2 * images * 32 * 10)


def gpt_training(
    shape: Shape, precision: str = "fp32", called: Callable[[nn.Module], nn.Module] | None = None
) -> Make:
    """AdamW on random tokens; ``called`` makes what stands before the model, compiled say."""

    def make(device: torch.device) -> tuple[nn.Module, Step]:
        model = Gpt(shape).to(device)
        outer = model if called is None else called(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        tokens = torch.randint(shape.vocabulary, (shape.sequences, shape.context + 1), device=device)

        def step() -> None:
            with _autocast(device, precision):
                logits = outer(tokens[:, :-1])
                loss = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimizer.step()
            optimizer.zero_grad()

        return model, step

    return make


def cnn_training(precision: str = "fp32", images: int = 8, size: int = 32) -> Make:
    """SGD on random images."""

    def make(device: torch.device) -> tuple[nn.Module, Step]:
        model = Cnn().to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        batch = torch.randn(images, 3, size, size, device=device)
        labels = torch.arange(images, device=device) % 10

        def step() -> None:
            with _autocast(device, precision):
                loss = cross_entropy(model(batch), labels)
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimizer.step()
            optimizer.zero_grad()

        return model, step

    return make


def _autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


@contextmanager
def in_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Torch's settings for one of ``PRECISIONS``; skips where the device lacks it."""
    is_nvidia = device.type == "cuda" and torch.version.hip is None
    if precision == "tf32" and not is_nvidia:
        pytest.skip("TF32 is NVIDIA's")
    if precision != "fp32" and is_nvidia and torch.cuda.get_device_capability(device) < (8, 0):
        pytest.skip(f"{precision} needs compute capability 8.0")
    matmul, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = cudnn


class StepClock:
    """The length of each step by events of the device; by the host's clock on a CPU. Waits for nothing."""

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._marks = [self._mark()]

    def mark(self) -> None:
        """A step ends."""
        self._marks.append(self._mark())

    def is_behind(self) -> bool:
        """Whether the device has not finished the last step yet; a CPU always has."""
        return self._is_cuda and not self._marks[-1].query()

    def lengths_s(self) -> list[float]:
        """Of all steps, the first at 0; waits for the device."""
        if not self._is_cuda:
            return [other - one for one, other in pairwise(self._marks)]
        self._marks[-1].synchronize()
        return [one.elapsed_time(other) / 1e3 for one, other in pairwise(self._marks)]

    def _mark(self) -> Any:
        if not self._is_cuda:
            return time.perf_counter()
        event = cuda.Event(enable_timing=True)
        event.record()
        return event


def weights_after(make: Make, device: torch.device, out: Path | None, steps: int = STEPS) -> list[Tensor]:
    """Weights after some steps from seed 0, tracked into a folder or not tracked."""
    torch.manual_seed(0)  # of all devices
    model, step = make(device)
    block: AbstractContextManager[Any] = nullcontext()
    if out is not None:
        block = mfu_profiler.track(model, out=str(out), report="never", **QUICK)
    with block:
        for _ in range(steps):
            step()
    return [parameter.detach().cpu() for parameter in model.parameters()]


def timeline_of(run_or_folder: mfu_profiler.Run | Path) -> Timeline:
    """The one trace of a run, or in a folder, read back."""
    if isinstance(run_or_folder, Path):
        (path,) = run_or_folder.glob("*.pt.trace.json.gz")
    else:
        assert run_or_folder.trace_path is not None
        path = run_or_folder.trace_path
    (timeline,) = read_trace(path)
    return timeline
