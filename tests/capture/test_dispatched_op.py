"""Ops that our formulas do not know: those registered with torch, and those that nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import flop_registry, register_flop_formula

from mfu_profiler.capture.flop.dispatched_op import OpCosts, is_foreign
from mfu_profiler.capture.flop.hidden_matmuls import FUSED_LAYER_FORMULAS, HIDING_MATMULS

from .counted_models import count

aten = torch.ops.aten


@pytest.fixture
def product() -> Iterator[Any]:
    """A user's op that multiplies two matrices where no dispatch mode can look."""
    library = torch.library.Library("mfu_profiler_test", "FRAGMENT")
    library.define("product(Tensor a, Tensor b) -> Tensor")
    library.impl("product", lambda a, b: a @ b, "CPU")
    packet = torch.ops.mfu_profiler_test.product
    yield packet
    flop_registry.pop(packet, None)
    library._destroy()


def test_a_foreign_op_without_formula_is_unknown_not_zero(product: Any) -> None:
    x = torch.randn(4, 4)
    counted = count(None, lambda: (product(x, x), product(x, x)))
    assert (counted.hardware, counted.uncounted) == (0, {"mfu_profiler_test::product": 2})


def test_a_formula_that_the_user_has_registered_counts(product: Any) -> None:
    @register_flop_formula(product)
    def flop(a: Any, b: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        return int(2 * a[0] * a[1] * b[1] + out_shape[0])

    x = torch.randn(4, 4, dtype=torch.bfloat16)
    counted = count(None, lambda: product(x, x))
    assert (counted.forward, counted.uncounted) == (2 * 4**3 + 4, {})
    assert counted.by_precision == {"bf16": 2 * 4**3 + 4}


def test_a_users_formula_that_fails_leaves_the_op_unknown_and_the_step_alone(product: Any) -> None:
    @register_flop_formula(product)
    def flop(*args: Any, **kwargs: Any) -> int:
        raise ValueError("no such shape")

    x, results = torch.ones(4, 4), []
    counted = count(None, lambda: results.append(product(x, x)))
    assert torch.equal(results[0], x @ x)
    assert counted.uncounted == {"mfu_profiler_test::product": 1}


def test_products_with_sparse_matrices_are_unknown() -> None:
    sparse, x = torch.eye(4).to_sparse(), torch.randn(4, 4)
    counted = count(None, lambda: torch.mm(sparse, x))
    assert counted.hardware == 0
    assert counted.uncounted == {"aten::mm": 1}


def _ends(*lengths: int) -> torch.Tensor:
    return torch.tensor([sum(lengths[:i]) for i in range(len(lengths) + 1)], dtype=torch.int32)


def test_packed_sequences_of_different_lengths_are_counted_by_their_real_lengths() -> None:
    """3 and 7 queries, as many keys; 4 heads of 8 dims. Shapes alone do not tell."""
    qkv = (torch.empty(10, 4, 8, device="meta"),) * 3
    forward_args = (*qkv, _ends(3, 7), _ends(3, 7), 7, 7, 0.0, True, False)
    backward_args = (qkv[0], *qkv, qkv[0], None, _ends(3, 7), _ends(3, 7), 7, 7, 0.0, True, None, None)
    costs = OpCosts()
    scores = 4 * (3 * 3 + 7 * 7)
    for func, args, model, again in (
        (aten._flash_attention_forward.default, forward_args, 2, 0),
        (aten._flash_attention_backward.default, backward_args, 4, 1),
    ):
        name = func._schema.name
        assert costs.by_shapes(func, name, args, {}) is None
        cost = costs.by_registry(func, name, args, {}, None)
        assert cost is not None and cost.precision == "fp32"
        assert cost.flop.model_flop == model * 2 * scores * 8
        assert cost.flop.recompute_flop == again * 2 * scores * 8


def test_arguments_left_to_their_defaults_are_known() -> None:
    """Without groups, transposed, ... the formula of a convolution could not tell."""
    x, weight = torch.empty(2, 3, 9, 9, device="meta"), torch.empty(4, 3, 3, 3, device="meta")
    cost = OpCosts().by_shapes(aten.conv2d.default, "aten::conv2d", (x, weight), {})
    assert cost is not None and cost.flop.model_flop == 2 * 2 * 7 * 7 * (4 * 3 * 3 * 3)


def test_keyword_arguments_are_read() -> None:
    heads = torch.empty(1, 2, 4, 8, device="meta")
    func, name = aten.scaled_dot_product_attention.default, "aten::scaled_dot_product_attention"
    cost = OpCosts().by_shapes(func, name, (heads, heads, heads), {"is_causal": True})
    assert cost is not None
    assert cost.flop.causal_model_flop == cost.flop.model_flop // 2 == 2 * 2 * 4 * 4 * 8


@pytest.mark.parametrize(
    "name", ["aten::mm", "c10d::allreduce_", "_c10d_functional::all_reduce", "prims::mul"]
)
def test_torchs_own_ops_are_not_foreign(name: str) -> None:
    assert not is_foreign(name)


@pytest.mark.parametrize("name", ["flash_attn::_flash_attn_forward", "quantized::linear", "mylib::op"])
def test_ops_of_others_are_foreign(name: str) -> None:
    assert is_foreign(name)


def test_every_op_said_to_hide_matmuls_is_a_composite_of_this_torch() -> None:
    for name in HIDING_MATMULS:
        packet = getattr(aten, name.removeprefix("aten::"))
        overloads = [getattr(packet, overload).name() for overload in packet.overloads()]
        assert any(
            torch._C._dispatch_has_kernel_for_dispatch_key(overload, "CompositeImplicitAutograd")
            for overload in overloads
        ), name


def test_the_fused_layers_exist_in_this_torch() -> None:
    assert all(hasattr(aten, name.removeprefix("aten::")) for name in FUSED_LAYER_FORMULAS)
