"""Watching changes nothing for the user."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from mfu_profiler.capture.observe.watch import Watch
from tests.capture.watching import WATCHED, Heard, Net, OwnCall, train, watched

X = torch.ones(2, 4)
optimizer_module = sys.modules["torch.optim.optimizer"]  # torch.optim hides it


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_not_heard() -> None:
    model = Net()
    with watched(model) as heard:
        child = os.fork()
        if child == 0:
            model(X)
            os._exit(len(heard.picture))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        model(X)
    assert heard.picture == "F"


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_of_the_user_passes_unchanged(error: BaseException) -> None:
    class Failing(Net):
        def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
            raise error

    class FailingStep(SGD):
        def step(self, closure: Any = None) -> Any:
            raise error

    def assert_raises(call: Callable[[], Any]) -> None:
        with pytest.raises(type(error)) as raised:
            call()
        assert raised.value is error and error.__cause__ is None and error.__context__ is None

    model = Net()
    optimizer = FailingStep(model.parameters())
    failing = Failing()
    with watched(failing) as heard:
        assert_raises(lambda: failing(X))
        assert_raises(lambda: failing(X))
    assert heard.picture == "FF"
    scaler = torch.amp.GradScaler("cpu")
    with watched(model) as heard:
        assert_raises(optimizer.step)
        scaler.scale(model(X).sum()).backward()
        assert_raises(lambda: scaler.step(optimizer))
        model(X)
    assert heard.picture == "()F()F"  # the optimizer that raised is not taken for one at work


def test_what_a_call_returns_is_returned() -> None:
    marker = object()

    class Odd(nn.Module):
        def forward(self) -> object:
            return marker

    class OddStep(SGD):
        def step(self, closure: Any = None) -> Any:
            return marker

    model = Odd()
    optimizer = OddStep([nn.Parameter(X)])
    with watched(model), watched(None):
        assert model() is marker and optimizer.step() is marker
        with torch.autograd.profiler.record_function("mine") as record:
            assert isinstance(record, torch.autograd.profiler.record_function)


def test_an_error_of_the_listener_is_told_once_and_ends_the_watching() -> None:
    class Broken(Heard):
        def on_optimizer_end(self, optimizer: Optimizer, now_ns: int, mark: object) -> None:
            raise RuntimeError("broken")

        def on_error(self, error: Exception) -> None:
            super().on_error(error)
            raise RuntimeError("broken, too")

    model = Net()
    heard = Broken()
    watch = Watch(model, heard)
    watch.start()
    train(model, SGD(model.parameters()))
    watch.stop()
    assert heard.picture == "F(!"
    assert [str(error) for error in heard.errors] == ["broken"]


def test_what_the_listener_does_itself_is_not_heard() -> None:
    class Busy(Heard):
        def on_forward(self, model: nn.Module, *told: Any) -> None:
            super().on_forward(model, *told)
            model(X)

    model = Net()
    optimizer = SGD(model.parameters())
    heard = Busy()
    watch = Watch(model, heard)
    watch.start()
    train(model, optimizer)
    watch.stop()
    assert heard.picture == "F()F()"


@pytest.mark.parametrize("make", [Net, OwnCall, lambda: nn.DataParallel(OwnCall())])
def test_nothing_is_left_behind(make: Callable[[], nn.Module]) -> None:
    model = make()
    classes = [type(model), nn.DataParallel, *(owner for owner, _ in WATCHED)]
    before = [dict(owner.__dict__) for owner in classes]
    watch = Watch(model, Heard())
    for _ in range(2):
        watch.start()
        assert [dict(owner.__dict__) for owner in classes] != before
        train(model, SGD(model.parameters()))
        watch.stop()
        watch.stop()
        assert [dict(owner.__dict__) for owner in classes] == before


def test_no_hook_of_torchs_is_used() -> None:
    """Dynamo guards them."""
    model = Net()
    optimizer = SGD(model.parameters())
    with watched(model):
        train(model, optimizer)
        hooks = [*vars(nn.modules.module).items(), *vars(optimizer_module).items()]
        hooks += [*vars(model).items(), *vars(optimizer).items()]
        found = {name: hook for name, hook in hooks if name.endswith("_hooks") and isinstance(hook, dict)}
        assert len(found) > 20 and not any(found.values())


@pytest.mark.parametrize("order", ["first in, first out", "last in, first out"])
def test_watches_nest_and_stop_in_any_order(order: str) -> None:
    model = Net()
    optimizer = SGD(model.parameters())
    before = [dict(owner.__dict__) for owner in (Net, *(owner for owner, _ in WATCHED))]
    heard = [Heard(), Heard()]
    watches = [Watch(model, one) for one in heard]
    for watch in watches:
        watch.start()
    train(model, optimizer, steps=1)
    first, second = (0, 1) if order == "first in, first out" else (1, 0)
    watches[first].stop()
    train(model, optimizer, steps=1)
    watches[second].stop()
    train(model, optimizer, steps=1)
    assert heard[first].picture == "F()" and heard[second].picture == "F()F()"
    assert [dict(owner.__dict__) for owner in (Net, *(owner for owner, _ in WATCHED))] == before


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_compiles_what_is_observed() -> None:
    def marked(x: Tensor) -> Tensor:
        with torch.autograd.profiler.record_function("mine"):
            return x + 1

    model = torch.jit.script(Net())
    with watched(model) as heard:
        assert torch.jit.script(marked)(torch.ones(1)) == 2
        train(model, SGD(model.parameters()))
    assert heard.picture == "F()F()"
