"""Steps and FLOP of ``track`` in the loops that people write; the detector itself has tests of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mfu_profiler
from mfu_profiler.trace.reader import read_trace

from .training import MLP_FLOP, QUICK, STEPS, Mlp, Step, loss_of, mlp_training, report_of, sgd, tracked


def accumulation() -> tuple[nn.Module, Step]:
    model = Mlp()
    optimizer = sgd(model)

    def step() -> None:
        for _ in range(4):
            (loss_of(model) / 4).backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, step


def two_optimizers() -> tuple[nn.Module, Step]:
    """Of which the second steps in every second step."""
    model = Mlp()
    first = torch.optim.SGD(model.wide.parameters(), lr=0.01)
    second = torch.optim.Adam(model.narrow.parameters(), lr=0.01)
    done = [0]

    def step() -> None:
        loss_of(model).backward()
        first.step()
        done[0] += 1
        if done[0] % 2 == 0:
            second.step()
        model.zero_grad()

    return model, step


def gan() -> tuple[nn.Module, Step]:
    """The generator is tracked; it also makes data for the discriminator, without gradients."""
    generator, discriminator = Mlp(), nn.Linear(8, 1)
    of_generator, of_discriminator = sgd(generator), sgd(discriminator)

    def step() -> None:
        with torch.no_grad():
            fake = generator(torch.randn(4, 8))
        discriminator(fake).mean().backward()
        of_discriminator.step()
        of_discriminator.zero_grad()
        discriminator(generator(torch.randn(4, 8))).mean().backward()
        of_generator.step()
        of_generator.zero_grad()

    return generator, step


def optimizer_in_backward() -> tuple[nn.Module, Step]:
    model = Mlp()
    for parameter in model.parameters():
        optimizer = torch.optim.SGD([parameter], lr=0.01)

        def update(changed: Any, optimizer: torch.optim.Optimizer = optimizer) -> None:
            optimizer.step()
            optimizer.zero_grad()

        parameter.register_post_accumulate_grad_hook(update)
    return model, lambda: loss_of(model).backward()


def overflows() -> tuple[nn.Module, Step]:
    """A gradient scaler that skips its first optimizer steps."""
    model = Mlp()
    optimizer = sgd(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)

    def step() -> None:
        scaler.scale(loss_of(model) * 1e4).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return model, step


def lbfgs() -> tuple[nn.Module, Step]:
    """Three forwards inside each optimizer step."""
    model = Mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=1e-4, max_iter=2, max_eval=2)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    return model, lambda: optimizer.step(closure)


LOOPS: dict[str, tuple[Callable[[], tuple[nn.Module, Step]], str, float | None]] = {
    "accumulation": (accumulation, "SGD", 4 * MLP_FLOP),
    "two optimizers": (two_optimizers, "SGD and Adam", MLP_FLOP),
    "GAN": (gan, "SGD", None),
    "optimizer in backward": (optimizer_in_backward, "SGD", MLP_FLOP),
    "GradScaler overflows": (overflows, "SGD", MLP_FLOP),
    "LBFGS": (lbfgs, "LBFGS", None),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_round_of_the_loop_is_a_step(name: str, tmp_path: Path) -> None:
    make, optimizers, flop = LOOPS[name]
    run = tracked(*make(), tmp_path)
    report = report_of(run)
    assert run.metrics()["steps"] == STEPS
    assert [window.label for window in report.windows] == ["ProfilerStep#7", "ProfilerStep#8"]
    assert report.flop.counted_per_step is not None
    if flop is not None:
        assert report.flop.model_per_step == flop
    (timeline,) = read_trace(run.trace_path or "")
    assert timeline.live is not None
    assert timeline.live.run.boundary == f"optimizer steps of {optimizers}"


def test_without_a_model_it_is_found_through_the_optimizer(tmp_path: Path) -> None:
    _, step = mlp_training()
    report = report_of(tracked(None, step, tmp_path))
    assert report.flop.model_per_step == MLP_FLOP
    assert len(report.windows) == 2


def test_inference_is_a_step_a_call(tmp_path: Path) -> None:
    model = Mlp().eval()

    def step() -> None:
        with torch.inference_mode():
            model(torch.randn(4, 8))

    run = tracked(model, step, tmp_path)
    assert run.metrics()["steps"] == STEPS
    assert report_of(run).flop.model_per_step == 2 * 4 * 2 * 128, "forward alone"


def test_steps_without_an_optimizer_of_torchs_are_calls_and_the_report_says_so(tmp_path: Path) -> None:
    model = Mlp()

    def step() -> None:
        loss_of(model).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.01 * parameter.grad
        model.zero_grad()

    run = tracked(model, step, tmp_path)
    assert run.metrics()["steps"] == STEPS
    said = "no optimizer of torch.optim was seen to step, so each call of the model counts as a step"
    assert any(said in note for note in report_of(run).notes)


@pytest.mark.parametrize("every", [1, 3])
def test_evaluation_between_steps_adds_neither_flop_nor_time_to_them(every: int, tmp_path: Path) -> None:
    model, train = mlp_training()
    done = [0]

    def step() -> None:
        train()
        done[0] += 1
        if done[0] % every == 0:
            model.eval()
            with torch.no_grad():
                for _ in range(5):
                    model(torch.randn(400, 8))
            model.train()

    run = tracked(model, step, tmp_path, active=4, steps=14)
    report = report_of(run)
    assert report.flop.model_per_step == report.flop.counted_per_step == MLP_FLOP
    assert run.metrics()["model_flop_per_step"] == MLP_FLOP
    assert all(check.ok for check in report.checks)
    roles = {window.role for window in report.windows if window.label == "evaluation"}
    assert roles == {"pause"}
    assert sum(window.role == "averaged" for window in report.windows) >= 3


def test_what_a_closure_computes_is_the_models(tmp_path: Path) -> None:
    model = Mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.01, max_iter=1, max_eval=1)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    report = report_of(tracked(model, lambda: optimizer.step(closure), tmp_path))
    flop = report.flop
    assert flop.shapes_per_step == flop.counted_per_step == flop.model_per_step == MLP_FLOP
    assert flop.optimizer_per_step, "its own dot products"


def test_evaluation_between_steps_is_named_as_a_pause(tmp_path: Path) -> None:
    model, train = mlp_training()
    done = [0]

    def step() -> None:
        train()
        done[0] += 1
        if done[0] == 5:
            model.eval()
            with torch.no_grad():
                model(torch.randn(4, 8))
                time.sleep(0.5)
            model.train()

    run = tracked(model, step, tmp_path)
    assert run.metrics()["steps"] == STEPS
    (pauses,) = [note for note in report_of(run).notes if note.startswith("pauses")]
    assert "evaluation 50" in pauses and " ms (" in pauses
    assert report_of(run).step_time_s is not None and report_of(run).step_time_s < 0.1


def test_lengths_that_vary_are_told(tmp_path: Path) -> None:
    model, lengths = Mlp(), iter(STEPS // 2 * [4, 8])
    optimizer = sgd(model)

    def step() -> None:
        model(torch.randn(next(lengths), 8)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    report = report_of(tracked(model, step, tmp_path))
    assert report.flop.source == "shapes in the trace; the steps differ in theirs"
    assert report.flop.model_per_step == 1.5 * MLP_FLOP, (
        "the mean of the profiled steps' shapes: 4 rows and 8"
    )


def test_lengths_that_do_not_vary_are_not_told(tmp_path: Path) -> None:
    report = report_of(tracked(*mlp_training(), tmp_path))
    assert report.flop.source is not None and "differ" not in report.flop.source


def test_our_own_work_is_taken_from_the_step_that_holds_it(tmp_path: Path) -> None:
    """With a closure a step is known to be over only when the next optimizer step is over."""
    model = Mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.01, max_iter=2)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    lengths_s = []
    with mfu_profiler.track(model, out=tmp_path, report="never", **QUICK) as run:
        for _ in range(2 * STEPS):
            optimizer.step(closure)
            lengths_s.append(run.step_time_s)
    known = [length for length in lengths_s if length == length]  # not NaN
    assert len(known) > STEPS and min(known) > 0
    assert run.metrics()["pause_fraction"] < 1
