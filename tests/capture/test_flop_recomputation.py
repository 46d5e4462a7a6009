"""What checkpointing executes a second time is not model FLOP; ``create_graph=True`` is no recomputation."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from .counted_models import Gpt, count, gpt_step, matmul, torchs_count

REENTRANT = pytest.mark.parametrize("reentrant", [False, True])


class Stack(nn.Module):
    """Layers of Linear and Tanh, each under checkpointing."""

    def __init__(self, layers: int, *, reentrant: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(layers))
        self.reentrant = reentrant

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.reentrant)
        return x


@REENTRANT
def test_a_checkpointed_stack_executes_four_thirds_of_its_model_flop(reentrant: bool) -> None:
    model, x = Stack(3, reentrant=reentrant), torch.randn(5, 8, requires_grad=True)
    counted = count(model, lambda: model(x).sum().backward())
    layer = matmul(5, 8, 8)
    assert (counted.forward, counted.backward, counted.recomputed) == (3 * layer, 6 * layer, 3 * layer)
    assert 3 * counted.hardware == 4 * counted.model
    assert counted.hardware == torchs_count(lambda: model(x).sum().backward())
    assert counted.by_module == tuple((f"blocks.{i}.0", layer, 2 * layer, layer) for i in range(3))


def test_torch_stops_recomputing_before_the_last_matmul_of_a_gpt_block() -> None:
    model = Gpt(reentrant=False)
    counted = count(model, gpt_step(model))
    plain = count(Gpt(), gpt_step(Gpt()))
    linear = Gpt.linear_flop(2, 8)
    again = [flop for name, flop in linear.items() if "blocks" in name and not name.endswith("mlp.2")]
    assert counted.model == plain.model
    assert counted.recomputed == plain.recomputed + sum(again) + 2 * Gpt.attention_flop(2, 8)


def test_reentrant_checkpointing_recomputes_whole_blocks() -> None:
    model = Gpt(reentrant=True)
    counted = count(model, gpt_step(model))
    plain = count(Gpt(), gpt_step(Gpt()))
    again = [flop for name, flop in Gpt.linear_flop(2, 8).items() if "blocks" in name]
    assert counted.model == plain.model
    assert counted.recomputed == plain.recomputed + sum(again) + 2 * Gpt.attention_flop(2, 8)


@REENTRANT
def test_an_autograd_function_inside_a_checkpoint_is_recomputed_although_it_runs_without_grad(
    reentrant: bool,
) -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x @ x

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            (x,) = ctx.saved_tensors
            return gradient @ x.t() + x.t() @ gradient

    x = torch.randn(4, 4, requires_grad=True)

    def region(x: Any) -> Any:
        return Square.apply(x).tanh()

    counted = count(None, lambda: checkpoint(region, x, use_reentrant=reentrant).sum().backward())
    assert (counted.forward, counted.backward, counted.recomputed) == (128, 256, 128)


def test_checkpoints_inside_reentrant_checkpoints_are_recomputed_twice() -> None:
    layer, x = nn.Linear(8, 8), torch.randn(5, 8, requires_grad=True)

    def inner(x: Any) -> Any:
        return checkpoint(layer, x, use_reentrant=True).tanh()

    counted = count(layer, lambda: checkpoint(inner, x, use_reentrant=True).sum().backward())
    once = matmul(5, 8, 8)
    assert (counted.forward, counted.backward, counted.recomputed) == (once, 2 * once, 2 * once)


def test_gradients_of_gradients_are_model_flop() -> None:
    weight, x = torch.randn(8, 8, requires_grad=True), torch.randn(5, 8, requires_grad=True)

    def step() -> None:
        (gradient,) = torch.autograd.grad((x @ weight).pow(2).sum(), x, create_graph=True)
        gradient.pow(2).sum().backward()

    counted = count(None, step)
    once = matmul(5, 8, 8)
    # y = x W; g = y' W^T with graph; then g's backward (to y', W) and y's (to x, W)
    assert (counted.forward, counted.recomputed) == (once, 0)
    assert counted.backward == once + 2 * once + 2 * once
    assert counted.hardware == torchs_count(step)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_forces_computed_in_the_forward_are_recomputed_with_it_and_only_then(checkpointed: bool) -> None:
    weight, x = torch.randn(8, 8, requires_grad=True), torch.randn(5, 8, requires_grad=True)

    class Forces(nn.Module):
        def forward(self, x: Any) -> Any:
            energy = (x @ weight).pow(2).sum()
            return torch.autograd.grad(energy, x, create_graph=True)[0].tanh()

    model = Forces()

    def step() -> None:
        forces = checkpoint(model, x, use_reentrant=False) if checkpointed else model(x)
        forces.sum().backward()

    counted = count(model, step)
    once = matmul(5, 8, 8)
    assert (counted.forward, counted.backward) == (once, 5 * once)
    # The product already for the forces, which find it not kept; product and forces again for the backward.
    assert counted.recomputed == (3 * once if checkpointed else 0)


def test_two_backwards_of_a_step_are_judged_apart() -> None:
    """A gradient penalty with graph, and a plain backward through a checkpoint."""
    layer, x = nn.Linear(8, 8, bias=False), torch.randn(5, 8, requires_grad=True)

    def step() -> None:
        (gradient,) = torch.autograd.grad(layer(x).pow(2).sum(), x, create_graph=True)
        checkpoint(lambda x: layer(x).tanh(), x, use_reentrant=False).sum().backward()
        gradient.sum().backward()

    counted = count(layer, step)
    once = matmul(5, 8, 8)
    assert (counted.forward, counted.recomputed) == (2 * once, once)
    assert counted.backward == once + 2 * once + 4 * once


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # inner forwards run without grad
def test_what_the_engine_moves_to_a_thread_of_its_own_is_counted_alike() -> None:
    """Beyond 60 backwards inside each other it does, as it does with all work of an accelerator."""
    depth = 70
    layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(depth))
    threads = set()

    def region(number: int, x: Any) -> Any:
        threads.add(threading.get_ident())
        if number == depth:
            return x
        return checkpoint(lambda x: region(number + 1, layers[number](x).tanh()), x, use_reentrant=True)

    x = torch.randn(2, 4, requires_grad=True)
    counted = count(layers, lambda: region(0, x).sum().backward())
    once = matmul(2, 4, 4)
    assert len(threads) > 1
    assert counted.by_module == tuple(
        (str(number), once, 2 * once, (number + 1) * once) for number in range(depth)
    )
