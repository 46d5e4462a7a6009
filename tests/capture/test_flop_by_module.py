"""Every FLOP has a module: by the Python stack going forward, by the autograd node going backward."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from mfu_profiler.capture.flop.flop_count import OUTSIDE, FlopCount

from .counted_models import ConvNet, Gpt, Mlp, Step, count, gpt_step, matmul


def require_sums(counted: FlopCount) -> None:
    """The modules add up to the totals."""
    _, *columns = zip(*counted.by_module, strict=True)
    assert [sum(column) for column in columns] == [counted.forward, counted.backward, counted.recomputed]


@pytest.mark.parametrize("reentrant", [None, False, True])
def test_the_modules_of_a_gpt_have_the_flop_of_their_own_ops(reentrant: bool | None) -> None:
    model = Gpt(reentrant=reentrant)
    counted = count(model, gpt_step(model))
    own = {name: (forward, backward) for name, forward, backward, _ in counted.by_module}
    by_hand = Gpt.linear_flop(2, 8)
    by_hand |= {f"blocks.{layer}.attention": Gpt.attention_flop(2, 8) for layer in range(2)}
    assert own == {name: (flop, 2 * flop) for name, flop in by_hand.items()}
    require_sums(counted)


def test_modules_come_in_the_order_of_the_model() -> None:
    model = ConvNet()
    counted = count(model, lambda: model(torch.randn(1, 3, 16, 16)).sum().backward())
    assert [name for name, *_ in counted.by_module] == list(ConvNet.forward_flop(1))
    require_sums(counted)


def test_a_loss_and_a_second_model_stand_outside() -> None:
    model, other, x = Mlp(), nn.Linear(4, 4, bias=False), torch.randn(5, 8)
    counted = count(model, lambda: other(model(x)).sum().backward())
    assert counted.by_module[-1] == (OUTSIDE, matmul(5, 4, 4), 2 * matmul(5, 4, 4), 0)
    require_sums(counted)


def test_ops_of_the_model_itself_have_an_empty_name() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight

    model = Product()
    counted = count(model, lambda: model(torch.randn(5, 8)).sum().backward())
    assert counted.by_module == (("", matmul(5, 8, 4), matmul(5, 8, 4), 0),)


def test_backwards_find_the_module_of_their_micro_batch() -> None:
    """Both forwards run before both backwards, in the other order."""
    model, x = Mlp(), torch.randn(5, 8)

    def step() -> None:
        first, second = model.wide(x).sum(), model.narrow(torch.randn(5, 16)).sum()
        first.backward()
        second.backward()

    counted = count(model, step)
    assert counted.by_module == (
        ("wide", matmul(5, 8, 16), matmul(5, 8, 16), 0),
        ("narrow", matmul(5, 16, 4), matmul(5, 16, 4), 0),
    )


def test_evaluation_without_gradients_in_the_step_leads_no_backward_astray() -> None:
    model, x = Mlp(), torch.randn(5, 8)

    def step() -> None:
        y = model(x)
        with torch.no_grad():
            model.wide(x)
        y.sum().backward()

    counted = count(model, step)
    assert [(name, backward) for name, _, backward, _ in counted.by_module] == [
        ("wide", matmul(5, 8, 16)),
        ("narrow", 2 * matmul(5, 16, 4)),
    ]


def test_names_leave_out_torchs_wrappers() -> None:
    model = nn.Sequential(checkpoint_wrapper(nn.Sequential(nn.Linear(8, 8), nn.Tanh())), nn.Linear(8, 4))
    x = torch.randn(5, 8, requires_grad=True)
    counted = count(model, lambda: model(x).sum().backward())
    once = matmul(5, 8, 8)
    assert counted.by_module == (
        ("0.0", once, 2 * once, once),
        ("1", matmul(5, 8, 4), 2 * matmul(5, 8, 4), 0),
    )


def test_a_checkpointed_function_that_is_no_module_belongs_to_the_module_around_it() -> None:
    class Region(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = torch.utils.checkpoint.checkpoint(
                lambda x: (x @ self.weight).tanh(), x, use_reentrant=False
            )
            return result

    model = nn.Sequential(Region())
    x = torch.randn(5, 8, requires_grad=True)
    counted = count(model, lambda: model(x).sum().backward())
    assert counted.by_module == (("0", matmul(5, 8, 8), 2 * matmul(5, 8, 8), matmul(5, 8, 8)),)


def test_no_hook_is_registered_on_any_module() -> None:
    model = Mlp()

    def hooks() -> list[int]:
        return [
            len(value)
            for module in model.modules()
            for name, value in vars(module).items()
            if name.endswith("hooks")
        ]

    before, during = hooks(), []
    step: Step = lambda: during.append(hooks())  # noqa: E731
    count(model, step)
    assert during == [before]
    assert not torch.nn.modules.module._has_any_global_hook()
