"""Modules that cannot be counted without data say why, and stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from mfu_profiler.capture.flop.forward_calls import describe_call
from mfu_profiler.capture.flop.shadow import ShadowError, shadow_count

from .counted_models import Mlp, count, matmul

X = torch.ones(5, 8)


class Calls(nn.Module):
    """Runs a function of a linear layer and the input."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(8, 8), function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self.layer, x)


OUTSIDE = nn.Linear(8, 8)


def routed(layer: nn.Module, x: torch.Tensor) -> Any:
    return layer(x[x.sum(1) > 0])


def stopped(layer: nn.Module, x: torch.Tensor) -> Any:
    return layer(x) if x.sum().item() > 0 else x


@pytest.mark.parametrize(
    ("function", "because"),
    [
        (routed, "depends on data"),
        (stopped, "depends on data"),
        (lambda layer, x: OUTSIDE(layer(x)), "fails without data"),
        (lambda layer, x: layer(x).detach().numpy(), "fails without data"),
        (lambda layer, x: layer(x).data_ptr(), "fails without data"),
        (lambda layer, x: layer(x).detach(), "no output of it requires a gradient"),
        (lambda layer, x: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_forward_that_needs_data_is_refused_in_one_line(function: Any, because: str) -> None:
    model = Calls(function)
    with pytest.raises(ShadowError, match=because) as raised:
        shadow_count(model, [describe_call((X,), {}, True)])
    assert "\n" not in str(raised.value)
    assert OUTSIDE.weight.grad is None and model.layer.weight.grad is None


def test_an_argument_that_is_neither_tensor_nor_plain_is_refused() -> None:
    with pytest.raises(ShadowError, match="argument of type object"):
        shadow_count(Mlp(), [describe_call((object(),), {}, True)])


def test_a_module_that_cannot_be_copied_is_refused() -> None:
    model = Mlp()
    model.stream = (number for number in range(3))
    with pytest.raises(ShadowError, match="cannot be copied"):
        shadow_count(model, [describe_call((X,), {}, True)])


def test_torchscript_is_refused() -> None:
    with pytest.warns(DeprecationWarning, match="trace"):
        model = torch.jit.trace(Mlp().eval(), X)
    with pytest.raises(ShadowError, match="TorchScript"):
        shadow_count(nn.Sequential(model), [describe_call((X,), {}, True)])


def test_under_another_mode_nothing_is_counted() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(), pytest.raises(ShadowError, match="dispatch mode"):
        shadow_count(Mlp(), [describe_call((X,), {}, True)])


@pytest.fixture
def gloo(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("gloo")
def test_ddp_is_counted_by_its_module_and_communicates_nothing() -> None:
    model = DistributedDataParallel(Mlp())
    model(X).sum().backward()
    counted = shadow_count(model, [describe_call((X,), {}, True)])
    assert counted == count(model, lambda: model(X).sum().backward())
    assert counted.forward == matmul(5, 8, 16, 4)


@pytest.mark.usefixtures("gloo")
def test_a_forward_that_communicates_is_refused_before_it_does() -> None:
    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.layer(x)
            dist.all_reduce(y.detach())
            return y

    with pytest.raises(ShadowError, match="communicates"):
        shadow_count(Summed(), [describe_call((X,), {}, True)])


@pytest.mark.usefixtures("gloo")
def test_sharded_parameters_are_refused() -> None:
    model = Mlp()
    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    with pytest.raises(ShadowError, match="DTensor"):
        shadow_count(model, [describe_call((X,), {}, True)])
