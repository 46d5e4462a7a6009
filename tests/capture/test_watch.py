"""What is heard of real models and optimizers."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.utils.checkpoint import checkpoint

from tests.capture.watching import Net, train, watched

X = torch.ones(2, 4)


def gradient(model: nn.Module) -> None:
    model(X).sum().backward()


@pytest.mark.parametrize(
    "optimizer", [SGD, AdamW, torch.optim.Adagrad, torch.optim.RMSprop, torch.optim.NAdam]
)
def test_forwards_and_optimizer_steps_are_heard(optimizer: type[Optimizer]) -> None:
    model = Net()
    steps = optimizer(model.parameters())  # type: ignore[call-arg]
    with watched(model) as heard:
        train(model, steps)
        with torch.no_grad():
            model(X)
        model.eval()(X)
    train(model, steps)
    assert heard.picture == "F()F()EE"
    assert heard.models == [model] * 4 and heard.optimizers == [steps] * 2


def test_a_listener_is_told_the_arguments_of_the_call() -> None:
    model = Net()
    with watched(model) as heard:
        model(X, scale=2.0)
    assert heard.arguments == [((X,), {"scale": 2.0})]


def test_gradient_accumulation_is_heard_as_several_forwards() -> None:
    model = Net()
    optimizer = SGD(model.parameters())
    with watched(model) as heard:
        for _ in range(2):
            train(model, steps=3)
            optimizer.step()
    assert heard.picture == "FFF()FFF()"


def test_only_optimizers_of_the_tracked_model_are_heard() -> None:
    generator, discriminator = Net(), Net()
    own, other = SGD(discriminator.parameters()), SGD(generator.parameters())
    with watched(discriminator) as heard:
        for _ in range(2):
            discriminator(generator(X).detach()).sum().backward()
            own.step()
            discriminator(generator(X)).sum().backward()
            other.step()
    assert heard.picture == "F()FF()F"


def test_an_optimizer_is_asked_again_when_it_holds_more() -> None:
    model = Net()
    optimizer = SGD(Net().parameters())
    with watched(model) as heard:
        optimizer.step()
        optimizer.add_param_group({"params": model.second.parameters()})
        optimizer.step()
    assert heard.picture == "()"


def test_an_optimizer_that_holds_one_parameter_is_heard() -> None:
    model = Net()
    optimizer = SGD([model.second.bias])
    with watched(model) as heard:
        train(model, optimizer)
    assert heard.picture == "F()F()"


def test_optimizers_in_backward_are_heard() -> None:
    model = Net()
    for parameter in model.parameters():
        optimizer = SGD([parameter])

        def step(parameter: Tensor, optimizer: Optimizer = optimizer) -> None:
            optimizer.step()
            optimizer.zero_grad()

        parameter.register_post_accumulate_grad_hook(step)
    with watched(model) as heard:
        train(model)
    assert heard.picture == "F()()()()F()()()()"


def test_closures_run_inside_their_optimizer() -> None:
    model = Net()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2, max_eval=2)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = model(X).square().sum()
        loss.backward()
        return loss

    with watched(model) as heard:
        optimizer.step(closure)
    assert heard.picture == "(FF)"


def test_an_optimizer_inside_an_optimizer_is_heard_once() -> None:
    class Doubled(SGD):
        def step(self, closure: Any = None) -> Any:
            super().step()
            inner.step()

    model = Net()
    inner, outer = AdamW(model.parameters()), Doubled(model.parameters())
    SGD(model.parameters())  # so that torch wraps the step that Doubled inherits
    with watched(model) as heard:
        train(model, outer)
    assert heard.picture == "F()F()" and heard.optimizers == [outer, outer]


def test_a_step_that_a_scaler_skips_is_heard_too() -> None:
    model = Net()
    optimizer = SGD(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    with watched(model) as heard:
        for bad in (False, True, False):
            before = copy.deepcopy(model.state_dict())
            scaler.scale(model(X).sum()).backward()
            if bad:
                assert model.first.weight.grad is not None
                model.first.weight.grad.fill_(float("inf"))
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            is_same = all(map(torch.equal, before.values(), model.state_dict().values()))
            assert is_same == bad
    assert heard.picture == "F()F()F()"


@pytest.mark.parametrize("is_enabled", [True, False])
def test_a_scaler_derived_from_torchs_is_heard_once_a_step(is_enabled: bool) -> None:
    class Own(torch.amp.GradScaler):
        def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> float | None:
            return super().step(optimizer, *args, **kwargs)

    model = Net()
    optimizer = SGD(model.parameters())
    scaler = Own("cpu", enabled=is_enabled)
    with watched(model) as heard:
        for _ in range(2):
            scaler.scale(model(X).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
    assert heard.picture == "F()F()"


def test_a_learning_rate_scheduler_made_before_does_not_hide_the_steps() -> None:
    model = Net()
    optimizer = SGD(model.parameters())
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)  # it replaces optimizer.step
    with watched(model) as heard:
        for _ in range(2):
            train(model, optimizer, steps=1)
            scheduler.step()
    assert heard.picture == "F()F()"


@pytest.mark.parametrize("tracked", ["outer", "inner"])
@pytest.mark.parametrize("called", ["outer", "inner"])
def test_a_wrapper_and_what_it_wraps_are_one(tracked: str, called: str) -> None:
    inner = Net()
    modules = {"inner": inner, "outer": nn.DataParallel(inner)}
    optimizer = SGD(modules["outer"].parameters())
    with watched(modules[tracked]) as heard:
        train(modules[called], optimizer)
    assert heard.picture == "F()F()" and heard.models == [inner, inner]


def test_other_models_of_the_class_are_not_heard() -> None:
    model, other = Net(), Net()
    with watched(model) as heard:
        other(X)
        copy.deepcopy(model)(X)
        model(X)
    assert heard.picture == "F"


def test_modules_that_contain_others_of_their_class_count_once() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4)))
    with watched(model) as heard:
        train(model)
    assert heard.picture == "FF"


def test_what_checkpointing_runs_again_is_no_forward() -> None:
    model = Net()
    optimizer = SGD(model.parameters())
    with watched(model) as heard:
        result = checkpoint(model, X.clone().requires_grad_(), use_reentrant=False)
        assert isinstance(result, Tensor)
        result.sum().backward()
        optimizer.step()
    assert heard.picture == "F()"


def test_without_a_model_the_one_that_the_optimizer_trains_is_found() -> None:
    model, other = Net(), Net()
    optimizer = SGD(model.parameters())
    with watched(None) as heard:
        train(model, optimizer)
        train(other, SGD(other.parameters()))
    assert heard.picture == "()F()"


def test_forwards_in_threads_are_heard() -> None:
    model = Net()
    with watched(model) as heard:
        threads = [threading.Thread(target=train, args=(model,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert heard.picture == "F" * 8
