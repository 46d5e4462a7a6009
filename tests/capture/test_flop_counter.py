"""FLOP of a real step against formulas written by hand, and against torch's counter where that is right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from .counted_models import (
    ConvNet,
    Gpt,
    Mlp,
    count,
    gpt_step,
    matmul,
    torchs_count,
)


def test_an_mlp_costs_two_flop_per_weight_and_row_and_twice_that_backward() -> None:
    model, x = Mlp(), torch.randn(5, 8)
    counted = count(model, lambda: model(x).sum().backward())
    assert counted.forward == matmul(5, 8, 16, 4)
    assert counted.backward == 2 * matmul(5, 8, 16, 4) - matmul(5, 8, 16)  # the input needs no gradient
    assert (counted.recomputed, counted.optimizer, counted.causal_model) == (0, 0, None)
    assert (counted.model, counted.hardware) == (counted.forward + counted.backward,) * 2
    assert counted.by_precision == {"fp32": counted.hardware}
    assert counted.uncounted == {}
    assert counted.hardware == torchs_count(lambda: model(x).sum().backward())


def test_the_gradient_of_the_input_is_counted_where_it_is_needed() -> None:
    model, x = Mlp(), torch.randn(5, 8, requires_grad=True)
    counted = count(model, lambda: model(x).sum().backward())
    assert counted.backward == 2 * counted.forward == 2 * matmul(5, 8, 16, 4)


def test_a_convolution_net_costs_positions_times_weights() -> None:
    model, images = ConvNet(), torch.randn(2, 3, 16, 16)
    counted = count(model, lambda: model(images).sum().backward())
    by_hand = ConvNet.forward_flop(2)
    assert counted.forward == sum(by_hand.values())
    assert counted.backward == 2 * counted.forward - by_hand["stem"]
    # torch counts the weight gradient of 8 groups 8 times
    assert (
        torchs_count(lambda: model(images).sum().backward())
        == counted.hardware + (8 - 1) * by_hand["depthwise"]
    )


def test_an_lstm_costs_all_its_weights_per_token_where_torch_counts_nothing() -> None:
    length, batch, given, hidden = 3, 2, 5, 7
    lstm = nn.LSTM(given, hidden, num_layers=2)
    x = torch.randn(length, batch, given, requires_grad=True)
    counted = count(lstm, lambda: lstm(x)[0].sum().backward())
    weights = 4 * hidden * (given + hidden) + 4 * hidden * (hidden + hidden)
    assert counted.forward == 2 * length * batch * weights
    assert counted.backward == 2 * counted.forward
    assert torchs_count(lambda: lstm(x)[0].sum().backward()) in (0, counted.hardware)  # fused, or in pieces


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_a_gpt_costs_its_linear_layers_and_the_full_square_of_scores(kv_heads: int) -> None:
    model = Gpt(kv_heads=kv_heads)
    step = gpt_step(model, batch=2, length=8)
    counted = count(model, step)
    linear = sum(Gpt.linear_flop(2, 8, kv_heads).values())
    attention = 2 * Gpt.attention_flop(2, 8)
    assert counted.forward == linear + attention
    assert counted.backward == 2 * counted.forward  # embeddings cost nothing, but need the gradient
    assert counted.recomputed == attention // 2  # flash attention's backward computes the scores again
    assert counted.causal_model == 3 * (linear + attention // 2)
    assert torchs_count(step) == 3 * linear  # torch takes CPU flash attention for free


def test_the_tied_head_is_counted_where_it_multiplies_and_not_where_it_is_looked_up() -> None:
    model = Gpt()
    counted = count(model, gpt_step(model))
    names = [name for name, *_ in counted.by_module]
    assert "head" in names and "wte" not in names


def test_frozen_weights_under_lora_cost_about_4n_instead_of_6n() -> None:
    base, down, up = nn.Linear(32, 32), nn.Linear(32, 2, bias=False), nn.Linear(2, 32, bias=False)
    base.requires_grad_(False)
    x = torch.randn(5, 32, requires_grad=True)

    def step() -> None:
        (base(x) + up(down(x))).sum().backward()

    counted = count(nn.ModuleList([base, down, up]), step)
    n, lora = matmul(5, 32, 32), matmul(5, 32, 2, 32)
    assert counted.model == 2 * n + 3 * lora  # 4 FLOP per frozen weight and row, 6 per trained one
    assert counted.model == torchs_count(step)


def test_all_micro_batches_of_a_step_are_counted() -> None:
    model = Gpt()
    step = gpt_step(model)
    once = count(model, step)

    def accumulated() -> None:
        for _ in range(4):
            step()

    assert count(model, accumulated) == once * 4


def test_mixed_precision_is_counted_by_the_operands_that_are_multiplied() -> None:
    model, x = Mlp(), torch.randn(5, 8)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = model(x)
        (y.float() @ torch.ones(4, 3)).sum().backward()

    counted = count(model, step)
    loss = 2 * matmul(5, 4, 3)
    assert counted.by_precision == {"bf16": counted.hardware - loss, "fp32": loss}
    assert counted.hardware == torchs_count(step)


def test_only_the_experts_that_tokens_are_routed_to_are_counted() -> None:
    experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))
    x, expert_of = torch.randn(6, 8), torch.tensor([0, 0, 2, 0, 2, 0])

    def step() -> None:
        y = torch.zeros(6, 8)
        for number, expert in enumerate(experts):
            rows = (expert_of == number).nonzero().squeeze(1)
            if len(rows):
                y = y.index_add(0, rows, expert(x[rows]))
        y.sum().backward()

    counted = count(experts, step)
    assert counted.by_module == (
        ("0", matmul(4, 8, 8), matmul(4, 8, 8), 0),
        ("2", matmul(2, 8, 8), matmul(2, 8, 8), 0),
    )


def test_an_autograd_function_of_ones_own_is_counted_in_both_directions() -> None:
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, left: Any, right: Any) -> Any:
            ctx.save_for_backward(left, right)
            return left @ right

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            left, right = ctx.saved_tensors
            return gradient @ right.t(), left.t() @ gradient

    left, right = (torch.randn(4, 4, requires_grad=True) for _ in range(2))
    counted = count(None, lambda: Product.apply(left, right).sum().backward())
    assert (counted.forward, counted.backward, counted.recomputed) == (128, 256, 0)


def test_the_count_without_a_model_names_no_modules() -> None:
    model, x = Mlp(), torch.randn(5, 8)
    counted = count(None, lambda: model(x))
    assert counted.forward == matmul(5, 8, 16, 4)
    assert counted.by_module == (("(outside the model)", counted.forward, 0, 0),)


def test_nothing_but_elementwise_ops_is_no_flop() -> None:
    x = torch.randn(8, requires_grad=True)
    assert count(None, lambda: functional.gelu(x).sum().backward()).hardware == 0
