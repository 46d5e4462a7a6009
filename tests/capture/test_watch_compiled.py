"""Watching compiles nothing again and breaks no graph: Dynamo's frames, counted before, while and after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._dynamo as dynamo
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch._dynamo.utils import counters
from torch.optim import SGD, AdamW

from mfu_profiler.capture.observe.watch import Watch
from tests.capture.watching import Descent, Heard, Net, OwnCall

X = torch.ones(2, 4)
ITERATIONS = 3

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

Compile = Callable[[Any], Any]
Setup = tuple[nn.Module, Callable[[], Callable[[], None]]]
"""What to track, and what makes the iteration, compiling what is to be compiled."""


def hooked() -> nn.Module:
    """Dynamo cannot go past ``__call__`` to ``forward`` where there are hooks."""
    model = Net()
    model.register_forward_hook(lambda module, args, result: None)
    return model


def iteration(forward: Callable[..., Any], step: Callable[[], Any], optimizer: Any) -> Callable[[], None]:
    def iterate() -> None:
        forward(X).sum().backward()
        step()
        optimizer.zero_grad(set_to_none=False)

    return iterate


def compiled_model(make: Callable[[], nn.Module], compile: Compile) -> Setup:
    model = make()
    optimizer = SGD(model.parameters())
    return model, lambda: iteration(compile(model), optimizer.step, optimizer)


def tracked_compiled_model(make: Callable[[], nn.Module], compile: Compile) -> Setup:
    model = make()
    optimizer, compiled = SGD(model.parameters()), compile(model)
    return compiled, lambda: iteration(compiled, optimizer.step, optimizer)


def compiled_in_place(make: Callable[[], nn.Module], compile: Compile) -> Setup:
    model = make()
    optimizer = SGD(model.parameters())
    model._compiled_call_impl = compile(model._call_impl)  # what model.compile() does
    return model, lambda: iteration(model, optimizer.step, optimizer)


def helper(make: Callable[[], nn.Module], compile: Compile) -> Setup:
    model = make()
    optimizer = SGD(model.parameters())
    return model, lambda: iteration(compile(lambda x: model(x) * 2), optimizer.step, optimizer)


def compiled_stock_step(make: Callable[[], nn.Module], compile: Compile) -> Setup:
    model = make()
    optimizer = AdamW(model.parameters())
    return model, lambda: iteration(model, compile(optimizer.step), optimizer)


def compiled_own_step(make: Callable[[], nn.Module], compile: Compile) -> Setup:
    model = make()
    optimizer = Descent(model.parameters())
    return model, lambda: iteration(model, compile(lambda: optimizer.step()), optimizer)


def whole_step(make: Callable[[], nn.Module], compile: Compile) -> Setup:
    model = make()
    optimizer = Descent(model.parameters())
    return model, lambda: compile(iteration(model, optimizer.step, optimizer))


def whole_stock_step(make: Callable[[], nn.Module], compile: Compile) -> Setup:
    model = make()
    optimizer = SGD(model.parameters())
    return model, lambda: compile(iteration(model, optimizer.step, optimizer))


def whole_scaled_step(make: Callable[[], nn.Module], compile: Compile) -> Setup:
    model = make()
    optimizer, scaler = Descent(model.parameters()), torch.amp.GradScaler("cpu")

    def iterate() -> None:
        scaler.scale(model(X).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=False)

    return model, lambda: compile(iterate)


SETUPS = {
    compiled_model: "F()F()F()",
    tracked_compiled_model: "F()F()F()",
    compiled_in_place: "F()F()F()",
    helper: "()()()",
    compiled_stock_step: "F()F()F",  # the optimizer is heard at the next forward or backward
    compiled_own_step: "F()F()F",
    whole_step: "()()",
    whole_stock_step: "()()",
    whole_scaled_step: "()()()",
}
"""With what is heard in three iterations."""


def frames(
    setup: Callable[..., Setup], make: Callable[[], nn.Module], *, is_watched: bool, is_compiled_before: bool
) -> tuple[list[tuple[int, int, int]], str]:
    """(Graphs, frames, breaks) so far, at the ends of three rounds, and what is heard in the second."""
    dynamo.reset()
    counters.clear()
    counter = CompileCounter()
    tracked, compiled = setup(make, lambda what: torch.compile(what, backend=counter))
    iterate = compiled() if is_compiled_before else None
    heard = Heard()
    watch = Watch(tracked, heard)
    counts = []
    for round_of in ("before", "while", "after"):
        if is_watched and round_of == "while":
            watch.start()
        if is_compiled_before or round_of != "before":
            iterate = iterate or compiled()
            for _ in range(ITERATIONS):
                iterate()
        watch.stop()
        counts.append(
            (counter.frame_count, counters["frames"]["total"], sum(counters["graph_break"].values()))
        )
    return counts, heard.picture


@pytest.mark.parametrize("make", [Net, OwnCall, hooked])
@pytest.mark.parametrize("setup", [compiled_model, compiled_in_place, helper, whole_step])
@pytest.mark.parametrize("is_compiled_before", [True, False], ids=["before", "while"])
def test_no_kind_of_model_is_compiled_again(
    setup: Callable[..., Setup], make: Callable[[], nn.Module], is_compiled_before: bool
) -> None:
    plain, _ = frames(setup, make, is_watched=False, is_compiled_before=is_compiled_before)
    watched, picture = frames(setup, make, is_watched=True, is_compiled_before=is_compiled_before)
    assert watched == plain
    assert plain[1] == plain[2] and plain[1][0] > 0
    assert picture == SETUPS[setup]


@pytest.mark.parametrize(
    "setup",
    [tracked_compiled_model, compiled_stock_step, compiled_own_step, whole_stock_step, whole_scaled_step],
)
@pytest.mark.parametrize("is_compiled_before", [True, False], ids=["before", "while"])
def test_no_compiled_step_is_compiled_again(setup: Callable[..., Setup], is_compiled_before: bool) -> None:
    plain, _ = frames(setup, Net, is_watched=False, is_compiled_before=is_compiled_before)
    watched, picture = frames(setup, Net, is_watched=True, is_compiled_before=is_compiled_before)
    assert watched == plain
    assert plain[1] == plain[2] and plain[1][0] > 0
    assert picture == SETUPS[setup]


def test_a_model_compiled_while_watched_is_heard_by_the_next_watch_too() -> None:
    dynamo.reset()
    model = Net()
    watch = Watch(model, Heard())
    watch.start()
    compiled = torch.compile(model, backend="eager")  # it keeps the method that it finds now
    compiled(X)
    watch.stop()
    heard = Heard()
    watch = Watch(model, heard)
    watch.start()
    compiled(X)
    model(X)
    watch.stop()
    compiled(X)
    assert heard.picture == "FF"


def test_a_compiled_optimizer_is_heard_without_a_model() -> None:
    dynamo.reset()
    model = Net()
    optimizer = AdamW(model.parameters())
    step = torch.compile(optimizer.step, backend="eager")
    heard = Heard()
    watch = Watch(None, heard)
    watch.start()
    iterate = iteration(model, step, optimizer)
    for _ in range(4):
        iterate()
    watch.stop()
    assert watch.model is model
    assert heard.picture == "()()F()F"  # the model is known from the third forward on


def test_accumulation_with_a_compiled_optimizer_is_one_step() -> None:
    dynamo.reset()
    model = Net()
    optimizer = Descent(model.parameters())
    step = torch.compile(optimizer.step, backend="eager")
    heard = Heard()
    watch = Watch(model, heard)
    watch.start()
    for _ in range(3):
        for _ in range(3):
            model(X).sum().backward()
        step()
    watch.stop()
    assert heard.picture == "FFF()FFF()FFF"
