"""Models in torch's distributed wrappers, in a group of one process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD

from tests.capture.watching import Net, train, watched


@pytest.fixture(autouse=True)
def group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("tracked", ["outer", "inner", "compiled"])
@pytest.mark.parametrize("called", ["outer", "compiled"])
@pytest.mark.parametrize("is_wrapped_before", [True, False], ids=["wrapped before", "wrapped while"])
def test_forwards_through_ddp_are_heard_once(tracked: str, called: str, is_wrapped_before: bool) -> None:
    torch._dynamo.reset()
    inner = Net()
    modules: dict[str, nn.Module] = {"inner": inner}

    def wrap() -> None:
        modules["outer"] = DistributedDataParallel(inner)
        modules["compiled"] = torch.compile(modules["outer"], backend="eager")

    if is_wrapped_before or tracked != "inner":
        wrap()
    with watched(modules[tracked]) as heard:
        if "outer" not in modules:
            wrap()
        train(modules[called], SGD(modules["outer"].parameters()))
    assert heard.picture == "F()F()" and heard.models == [inner, inner]


def test_a_sharded_model_is_heard_though_its_parameters_and_class_have_changed() -> None:
    model = Net()
    with watched(model) as heard:
        fully_shard(model, mesh=dist.device_mesh.init_device_mesh("cpu", (1,)))
        train(model, SGD(model.parameters()))
    assert heard.picture == "F()F()"
