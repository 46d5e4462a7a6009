"""The analytic count is given for a plain transformer, and for nothing that only resembles one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mfu_profiler.capture.flop.forward_calls import ForwardCall, describe_call
from mfu_profiler.capture.flop.transformer_shape import transformer_shape
from mfu_profiler.flops import gpt_parameters

from .counted_models import Block, ConvNet, Gpt, count, gpt_step


def call(batch: int = 2, length: int = 8, *, trains: bool = True) -> ForwardCall:
    return describe_call((torch.zeros(batch, length, dtype=torch.int64),), {}, trains)


def gpt_weights() -> int:
    """Of ``Gpt``, by hand: two blocks of width 16 and a tied embedding of 32 tokens."""
    block = 16 * 48 + (16 * 16 + 16) + (16 * 64 + 64) + (64 * 16 + 16) + 2 * 16
    return 2 * block + 32 * 16


def test_a_gpt_has_its_sizes_and_the_flop_of_palm_and_nanogpt() -> None:
    shape = transformer_shape(Gpt(), [call(), call(3)])
    n = gpt_weights()
    assert shape == {
        "parameters": n, "layers": 2, "heads": 4, "head_dim": 4, "context": 8, "sequences": 5,
        "step_flop": (6 * n + 12 * 2 * 4 * 4 * 8) * 8 * 5,
    }  # fmt: skip


def test_the_analytic_count_is_near_the_counted_one() -> None:
    """N holds biases and norms, which multiply nothing."""
    model = Gpt()
    shape = transformer_shape(model, [call()])
    assert shape is not None
    assert count(model, gpt_step(model)).model == pytest.approx(shape["step_flop"], rel=0.05)


def test_inference_costs_a_third_of_training() -> None:
    training, inference = (transformer_shape(Gpt(), [call(trains=trains)]) for trains in (True, False))
    assert training is not None and inference is not None
    assert training["step_flop"] == 3 * inference["step_flop"]


def test_an_untied_embedding_is_only_looked_up() -> None:
    model = Gpt()
    model.head.weight = nn.Parameter(torch.randn(32, 16))
    shape = transformer_shape(model, [call()])
    assert shape is not None and shape["parameters"] == gpt_weights()


def test_gpt_2_of_nanogpt_has_its_parameters() -> None:
    """As ``gpt_parameters``: nanoGPT's ``get_num_params``."""

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.n_head = 2
            self.norms = nn.ModuleList([nn.LayerNorm(16), nn.LayerNorm(16)])
            self.qkv, self.project = nn.Linear(16, 48), nn.Linear(16, 16)
            self.up, self.down = nn.Linear(16, 64), nn.Linear(64, 16)

    model = nn.Module()
    model.transformer = nn.ModuleDict(
        {
            "wte": nn.Embedding(50, 16),
            "wpe": nn.Embedding(8, 16),
            "h": nn.ModuleList(Layer() for _ in range(3)),
            "ln_f": nn.LayerNorm(16),
        }
    )
    model.lm_head = nn.Linear(16, 50, bias=False)
    model.lm_head.weight = model.transformer["wte"].weight
    shape = transformer_shape(model, [call()])
    assert shape is not None and shape["parameters"] == gpt_parameters(3, 16, 50)


def frozen() -> nn.Module:
    model = Gpt()
    model.blocks[0].requires_grad_(False)
    return model


def with_experts() -> nn.Module:
    model = Gpt()
    for block in model.blocks:
        block.experts = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))
    return model


def with_two_stacks() -> nn.Module:
    model = Gpt()
    model.decoder = nn.ModuleList(Block(16, 4, 4) for _ in range(2))
    return model


def with_two_vocabularies() -> nn.Module:
    model = Gpt()
    model.segments = nn.Embedding(2, 16)
    return model


def with_unequal_heads() -> nn.Module:
    model = Gpt()
    model.blocks[1].attention.n_head = 2
    return model


@pytest.mark.parametrize(
    "make", [ConvNet, frozen, with_experts, with_two_stacks, with_two_vocabularies, with_unequal_heads]
)
def test_in_doubt_there_is_none(make: Callable[[], nn.Module]) -> None:
    assert transformer_shape(make(), [call()]) is None


@pytest.mark.parametrize(
    "calls",
    [
        [],
        [call(2, 8), call(2, 9)],
        [describe_call((torch.zeros(2, 8),), {}, True)],
        [describe_call((torch.zeros(8, dtype=torch.int64),), {}, True)],
    ],
)
def test_without_tokens_of_one_length_there_is_none(calls: Any) -> None:
    assert transformer_shape(Gpt(), calls) is None
