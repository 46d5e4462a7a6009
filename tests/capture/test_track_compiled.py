"""What is compiled stays compiled under ``track``, and is compiled no more often than without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from .training import MLP_FLOP, STEPS, Mlp, Step, mlp_training, report_of, sgd, tracked

DYNAMO_ASKS = pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)
"""Of an input of a compiled helper; torch's own, without ``track`` too."""


def frames_compiled() -> int:
    """By Dynamo in this process since the last reset of its counters."""
    return sum(torch._dynamo.utils.counters["frames"].values())


@pytest.fixture
def dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def compiled_model() -> tuple[nn.Module, Step]:
    model = Mlp()
    return mlp_training(model, called=torch.compile(model, backend="aot_eager"))


def compiled_helper() -> tuple[nn.Module, Step]:
    """The model is eager, what computes the loss is not."""
    model = Mlp()
    optimizer = sgd(model)
    helper = torch.compile(lambda y: (y.square() + y.sin()).mean(), backend="aot_eager")

    def step() -> None:
        helper(model(torch.randn(4, 8))).backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, step


def compiled_train_step() -> tuple[nn.Module, Step]:
    """Forward and backward inside one compiled function: no forward of the model is ever seen."""
    model = Mlp()
    optimizer = sgd(model)

    @torch.compile(backend="aot_eager")
    def loss_and_grads(x: Any) -> Any:
        return model(x).square().mean()

    def step() -> None:
        loss_and_grads(torch.randn(4, 8)).backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, step


@DYNAMO_ASKS
@pytest.mark.usefixtures("dynamo")
@pytest.mark.parametrize("make", [compiled_model, compiled_helper, compiled_train_step])
@pytest.mark.parametrize("is_warm", [True, False], ids=["compiled before", "compiled within"])
def test_what_is_compiled_stays_compiled_and_is_never_compiled_again(
    make: Callable[[], tuple[nn.Module, Step]], is_warm: bool, tmp_path: Path
) -> None:
    model, step = make()
    for _ in range(2 * is_warm):
        step()
    before = frames_compiled()
    run = tracked(model, step, tmp_path)
    within = frames_compiled()
    with torch._dynamo.config.patch(error_on_recompile=True):
        step()
    assert frames_compiled() == within, "nothing is compiled again afterwards"
    assert (within == before) == is_warm
    assert not torch._dynamo.utils.counters["graph_break"]
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model, step = make()
    for _ in range(STEPS + 1):
        step()
    assert within == frames_compiled(), "as many as without track"
    assert run.metrics()["steps"] == STEPS


@DYNAMO_ASKS
@pytest.mark.usefixtures("dynamo")
def test_a_compiled_helper_runs_compiled_afterwards(tmp_path: Path) -> None:
    entered = []

    def backend(graph: Any, inputs: Any) -> Any:
        def run_graph(*args: Any) -> Any:
            entered.append(1)
            return graph(*args)

        return run_graph

    model = Mlp()
    optimizer = sgd(model)
    helper = torch.compile(lambda y: y.sin().mean(), backend=backend)

    def step() -> None:
        helper(model(torch.randn(4, 8))).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    tracked(model, step, tmp_path, report="never")
    step()
    assert len(entered) == STEPS + 2, "the compiled graph ran in every step, the counted one included"


@pytest.mark.usefixtures("dynamo")
@pytest.mark.parametrize("make", [compiled_model, compiled_train_step])
def test_flop_of_compiled_code_are_known(make: Callable[[], tuple[nn.Module, Step]], tmp_path: Path) -> None:
    model, step = make()
    step()
    report = report_of(tracked(model, step, tmp_path))
    assert len(report.windows) == 2
    assert report.flop.model_per_step == MLP_FLOP
