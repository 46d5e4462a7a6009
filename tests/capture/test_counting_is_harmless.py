"""Weights after counted steps are those after uncounted ones, to the bit."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mfu_profiler.capture.flop.flop_counter import FlopCounter

from .counted_models import ConvNet, Gpt, Mlp, count, gpt_step

Training = Callable[[], tuple[nn.Module, Callable[[], object]]]


def mlp_with_dropout() -> tuple[nn.Module, Callable[[], object]]:
    model = Mlp()
    return model, lambda: model(torch.randn(5, 8)).square().sum().backward()


def convolution_net() -> tuple[nn.Module, Callable[[], object]]:
    model = ConvNet()
    return model, lambda: model(torch.randn(2, 3, 16, 16)).square().sum().backward()


def lstm() -> tuple[nn.Module, Callable[[], object]]:
    model = nn.LSTM(5, 7, num_layers=2, dropout=0.3)
    return model, lambda: model(torch.randn(4, 2, 5))[0].square().sum().backward()


def gpt() -> tuple[nn.Module, Callable[[], object]]:
    model = Gpt()
    return model, lambda: gpt_step(model)()


def checkpointed_gpt() -> tuple[nn.Module, Callable[[], object]]:
    model = Gpt(reentrant=False)
    return model, lambda: gpt_step(model)()


def reentrant_gpt() -> tuple[nn.Module, Callable[[], object]]:
    model = Gpt(reentrant=True)
    return model, lambda: gpt_step(model)()


def autocast_with_scaler() -> tuple[nn.Module, Callable[[], object]]:
    model, scaler = Mlp(), torch.amp.GradScaler("cpu", init_scale=8.0)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(torch.randn(5, 8)).square().sum()
        scaler.scale(loss).backward()

    return model, step


def gradient_penalty() -> tuple[nn.Module, Callable[[], object]]:
    model = Mlp()

    def step() -> None:
        x = torch.randn(5, 8, requires_grad=True)
        (gradient,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        gradient.square().sum().backward()

    return model, step


TRAININGS = [
    mlp_with_dropout, convolution_net, lstm, gpt, checkpointed_gpt, reentrant_gpt, autocast_with_scaler,
    gradient_penalty,
]  # fmt: skip


def weights_after(training: Training, *, counting: bool) -> list[torch.Tensor]:
    """Weights, buffers and random state after three steps."""
    torch.manual_seed(0)
    model, backward = training()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)

    def step() -> None:
        for _ in range(2):
            backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):
        count(model, step) if counting else step()
    return [*(value.clone() for value in model.state_dict().values()), torch.get_rng_state()]


@pytest.mark.parametrize("training", TRAININGS, ids=lambda training: training.__name__)
def test_weights_and_random_numbers_are_the_same_to_the_bit(training: Training) -> None:
    plain, counted = weights_after(training, counting=False), weights_after(training, counting=True)
    assert len(plain) == len(counted) > 2
    for one, other in zip(plain, counted, strict=True):
        assert torch.equal(one, other)


def test_inference_gives_the_same_bits() -> None:
    torch.manual_seed(0)
    cell, layer = nn.LSTMCell(5, 7), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    x, y = torch.randn(2, 5), torch.randn(2, 5, 16)
    results: list[list[Any]] = []

    def step() -> None:
        with torch.inference_mode():
            results.append([*cell(x), layer(y), torch.einsum("bij,bkj->bik", y, y), torch.inner(y, y)])

    step()
    count(cell, step)
    plain, counted = results
    for one, other in zip(plain, counted, strict=True):
        assert torch.equal(one, other)


def test_no_tensor_outlives_the_step() -> None:
    model = Mlp()
    kept: list[weakref.ref[torch.Tensor]] = []

    def step() -> None:
        x = torch.randn(5, 8)
        y = model(x)
        kept.extend((weakref.ref(x), weakref.ref(y)))
        y.sum().backward()

    counter = FlopCounter(model)
    assert counter.start() is None
    step()
    gc.collect()
    assert [ref() for ref in kept] == [None, None]
    assert counter.stop() is not None
