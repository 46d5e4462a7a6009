"""Ranks count their own work: DDP the whole model on its own batch, DTensor the local shards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore

from .counted_models import Mlp, count, matmul


@pytest.fixture
def gloo(tmp_path: Path) -> Iterator[None]:
    """A group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def four_ranks() -> Iterator[None]:
    """As rank 0 of four, whose collectives do nothing."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=4)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("gloo")
def test_ddp_costs_what_its_module_costs_and_communication_is_no_unknown_op() -> None:
    model, x = DistributedDataParallel(Mlp()), torch.randn(5, 8)
    model(x).sum().backward()
    counted = count(model, lambda: model(x).sum().backward())
    assert counted == count(model.module, lambda: model.module(x).sum().backward())
    assert [name for name, *_ in counted.by_module] == ["wide", "narrow"]
    assert counted.uncounted == {}


@pytest.mark.usefixtures("gloo")
def test_ddp_trains_to_the_same_bits_while_counted() -> None:
    def trained(*, counting: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = DistributedDataParallel(Mlp())
        optimizer = torch.optim.AdamW(model.parameters())

        def step() -> None:
            model(torch.randn(5, 8)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        for _ in range(3):
            count(model, step) if counting else step()
        return [weight.detach() for weight in model.parameters()]

    for plain, counted in zip(trained(counting=False), trained(counting=True), strict=True):
        assert torch.equal(plain, counted)


@pytest.mark.usefixtures("four_ranks")
def test_a_sharded_product_costs_the_local_shard() -> None:
    mesh = init_device_mesh("cpu", (4,))
    x = distribute_tensor(torch.randn(8, 16), mesh, [Replicate()])
    weight = distribute_tensor(torch.randn(16, 32), mesh, [Shard(1)])
    counted = count(None, lambda: x @ weight)
    assert counted.forward == matmul(8, 16, 32 // 4)
    assert counted.uncounted == {}


@pytest.mark.usefixtures("four_ranks")
def test_tensor_parallelism_costs_a_rank_its_share() -> None:
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
    mesh = init_device_mesh("cpu", (4,))
    parallelize_module(model, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})
    x = torch.randn(8, 16, requires_grad=True)
    counted = count(model, lambda: model(x).sum().backward())
    assert counted.forward == matmul(8, 16, 32, 16) // 4
    assert counted.backward == 2 * counted.forward
    assert [name for name, *_ in counted.by_module] == ["0", "2"]
