"""Which module and which optimizer belong together."""

from __future__ import annotations

import gc
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW

from mfu_profiler.capture.observe.discover import core_of, is_wrapper, module_of, optimizers_of, with_wrapped
from tests.capture.watching import Net


def test_the_optimizers_of_a_model_hold_one_of_its_parameters() -> None:
    model, other = Net(), Net()
    whole, part, none = AdamW(model.parameters()), SGD([model.first.bias]), SGD(other.parameters())
    found = optimizers_of(model)
    assert {id(one) for one in found} == {id(whole), id(part)}
    assert {id(whole), id(part), id(none)} <= {id(one) for one in optimizers_of(None)}


def test_an_optimizer_that_is_gone_is_not_found() -> None:
    model = Net()
    SGD(model.parameters())
    gc.collect()
    assert optimizers_of(model) == []


def test_the_module_of_an_optimizer_is_the_outermost() -> None:
    model = nn.Sequential(Net(), nn.Sequential(Net()))
    assert module_of(SGD(model.parameters())) is model


def test_the_module_holds_most_of_the_parameters() -> None:
    model, head = Net(), nn.Linear(4, 1)  # 4 and 2 tensors
    assert module_of(SGD([*model.parameters(), *head.parameters()])) is model


def test_no_module_holds_most_of_what_two_models_share_evenly() -> None:
    one, other = Net(), Net()
    assert module_of(SGD([*one.parameters(), *other.parameters()])) is None
    assert module_of(SGD([torch.ones(1, requires_grad=True)])) is None


def test_of_two_modules_that_refer_to_the_model_the_model_is_taken() -> None:
    model = nn.Sequential(Net())
    averaging, loss = nn.Sequential(model), nn.ModuleDict({"student": model, "head": nn.Linear(4, 4)})
    assert module_of(SGD(model.parameters())) is model
    assert averaging[0] is loss["student"]


def test_what_torchs_wrappers_wrap_is_found() -> None:
    inner = Net()
    outer = nn.DataParallel(inner)
    compiled: Any = torch.compile(inner, backend="eager")
    assert core_of(outer) is inner and core_of(compiled) is inner and core_of(inner) is inner
    assert list(with_wrapped(outer)) == [outer, inner]
    assert is_wrapper(outer) and is_wrapper(compiled) and not is_wrapper(inner)
    assert core_of(nn.Sequential(inner)) is not inner
