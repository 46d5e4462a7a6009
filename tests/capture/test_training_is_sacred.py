"""Training is sacred: results, exceptions and the process are the same with ``track`` as without it."""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import mfu_profiler
from mfu_profiler.trace.reader import read_trace

from .training import QUICK, STEPS, Mlp, Step, mlp_training, weights_after


def compiled() -> tuple[nn.Module, Step]:
    torch._dynamo.reset()
    model = Mlp()
    return mlp_training(model, called=torch.compile(model, backend="aot_eager"))


def compiled_in_place() -> tuple[nn.Module, Step]:
    torch._dynamo.reset()
    model = Mlp()
    model.compile(backend="aot_eager")
    return mlp_training(model)


def autocast() -> tuple[nn.Module, Step]:
    model = Mlp()
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(torch.randn(4, 8)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, step


def accumulation() -> tuple[nn.Module, Step]:
    model = Mlp()
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        for _ in range(3):
            model(torch.randn(4, 8)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, step


def grad_scaler() -> tuple[nn.Module, Step]:
    model = Mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=2)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.float16):
            loss = model(torch.randn(4, 8)).square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return model, step


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = checkpoint(self.inner, x, use_reentrant=False)
        return result


VARIANTS: dict[str, Callable[[], tuple[nn.Module, Step]]] = {
    "eager with dropout": mlp_training,
    "compiled": compiled,
    "compiled in place": compiled_in_place,
    "autocast": autocast,
    "accumulation": accumulation,
    "GradScaler with overflows": grad_scaler,
    "checkpointing": lambda: mlp_training(Checkpointed()),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_are_the_same_to_the_bit(variant: str, tmp_path: Path) -> None:
    plain = weights_after(VARIANTS[variant], None)
    tracked = weights_after(VARIANTS[variant], tmp_path)
    assert len(list(tmp_path.glob("*.pt.trace.json.gz"))) == 1
    assert all(weight.isfinite().all() for weight in plain), "NaN would hide a difference"
    assert all(torch.equal(a, b) for a, b in zip(plain, tracked, strict=True))


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("fails_in", [1, 2, 3, 5, 6, 8, 9])
def test_an_exception_passes_and_the_trace_so_far_is_kept(
    error: BaseException, fails_in: int, tmp_path: Path
) -> None:
    model, step = mlp_training()
    run = mfu_profiler.track(model, out=str(tmp_path), **QUICK)

    def train() -> None:
        for number in range(1, STEPS + 1):
            if number == fails_in:
                model(torch.randn(4, 8))
                raise error
            step()

    with pytest.raises(type(error)) as caught, run:
        train()
    assert caught.value is error
    assert run.trace_path is not None
    (timeline,) = read_trace(run.trace_path)
    assert timeline.live is not None
    if fails_in <= 8:  # a report that was on its way already cannot know
        assert timeline.live.run.ended == f"{type(error).__name__} in step {fails_in}"
        assert run.report is not None
        assert any(f"in step {fails_in}" in note for note in run.report.notes)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def open_files() -> set[str]:
    paths = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            paths.add(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    return {path for path in paths if path.startswith("/") and "/proc/" not in path}


@pytest.fixture
def nothing_leaks() -> Iterator[None]:
    """Threads, files, hooks and modes are as before."""
    # The first profiler of a process opens what it never closes, in torch itself.
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
        pass
    before = threads(), open_files(), global_state()
    yield
    gc.collect()
    assert (threads(), open_files(), global_state()) == before


def global_state() -> dict[str, object]:
    from torch.autograd import profiler
    from torch.optim import optimizer
    from torch.utils._python_dispatch import _len_torch_dispatch_stack

    return {
        "module call": nn.Module.__call__,
        "own call": Mlp.__dict__.get("__call__"),
        "scaler": torch.amp.GradScaler.step,
        "backward": torch.Tensor.backward,
        "record_function": dict(profiler.record_function.__dict__).keys(),
        "enter": profiler.record_function.__enter__,
        "prepare": profiler.profile._prepare_trace,
        "start": profiler.profile._start_trace,
        "pre hooks": dict(optimizer._global_optimizer_pre_hooks),
        "post hooks": dict(optimizer._global_optimizer_post_hooks),
        "modes": _len_torch_dispatch_stack(),
        "profiling": torch.autograd._profiler_enabled(),
        "grad": torch.is_grad_enabled(),
    }


@pytest.mark.usefixtures("nothing_leaks")
@pytest.mark.parametrize("steps", [0, 1, 2, 5, 7, 8, 12])
def test_nothing_is_left_in_the_process(steps: int, tmp_path: Path) -> None:
    model, step = mlp_training()
    with mfu_profiler.track(model, out=str(tmp_path), **QUICK):
        for _ in range(steps):
            step()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.usefixtures("nothing_leaks")
def test_an_error_of_ours_is_one_warning_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mfu_profiler.capture.step_times import StepTimes

    def broken(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(StepTimes, "add", broken)
    model, step = mlp_training()
    with mfu_profiler.track(model, out=str(tmp_path), **QUICK), caplog.at_level(logging.WARNING):
        for _ in range(4):
            step()
    assert [record.getMessage() for record in caplog.records] == [
        "tracking ends, training goes on: RuntimeError: ours"
    ]
