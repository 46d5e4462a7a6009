"""Our counts against torch's own, on every op that torch's ``flop_registry`` knows.

Where torch is wrong, its figure is asserted as well, so that a corrected torch is noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="asks torch for its own counts")

from torch.utils.flop_counter import flop_registry  # noqa: E402

from mfu_profiler.flops import OpCall, op_cost  # noqa: E402

from .helpers import executed  # noqa: E402
from .recorded import meta, recorded_call  # noqa: E402

aten = torch.ops.aten

Case = tuple[Any, tuple[Any, ...], Any]
"""An overload, its arguments, and the shape of its output (None: not needed)."""

X2D, W2D, OUT2D = (2, 4, 9, 9), (8, 4, 3, 3), (2, 8, 7, 7)
Q, K, V, O = (2, 6, 5, 8), (2, 3, 7, 8), (2, 3, 7, 16), (2, 6, 5, 16)  # noqa: E741
LSE = (2, 6, 5)
# two sequences of three queries and five keys each, packed
PACKED_Q, PACKED_K, PACKED_V, PACKED_O = (6, 6, 8), (10, 3, 8), (10, 3, 8), (6, 6, 8)


def _ends(length: int) -> Any:
    return torch.tensor([0, length, 2 * length], dtype=torch.int32)


def _matmuls() -> dict[str, list[Case]]:
    eight = {"dtype": torch.float8_e4m3fn}
    scaled = (meta(4, 5, **eight), meta(5, 6, **eight), meta(), meta(), None, None, torch.bfloat16)
    return {
        "aten.mm": [(aten.mm.default, (meta(4, 5), meta(5, 6)), None)],
        "aten.addmm": [(aten.addmm.default, (meta(6), meta(4, 5), meta(5, 6)), None)],
        "aten.bmm": [(aten.bmm.default, (meta(3, 4, 5), meta(3, 5, 6)), None)],
        "aten.baddbmm": [(aten.baddbmm.default, (meta(3, 4, 6), meta(3, 4, 5), meta(3, 5, 6)), None)],
        "aten._scaled_mm": [(aten._scaled_mm.default, scaled, None)],
    }


def _convolutions() -> dict[str, list[Case]]:
    x, w = meta(*X2D), meta(*W2D)
    ones, zeros = [1, 1], [0, 0]
    plain = (x, w, None, ones, zeros, ones, False, zeros, 1)
    transposed = (x, meta(4, 8, 3, 3), None, [2, 2], zeros, ones, True, ones, 1)
    flags = (False, False, True, True)
    backward = aten.convolution_backward.default
    rest = (None, ones, zeros, ones, False, zeros, 1)
    transposed_rest = (None, [2, 2], zeros, ones, True, ones, 1)
    return {
        "aten.convolution": [
            (aten.convolution.default, plain, OUT2D),
            (aten.convolution.default, transposed, (2, 8, 20, 20)),
            (aten.convolution.default, (x, meta(8, 1, 3, 3), *plain[2:8], 4), OUT2D),
        ],
        "aten._convolution": [(aten._convolution.default, (*plain, *flags), OUT2D)],
        "aten.cudnn_convolution": [
            (aten.cudnn_convolution.default, (x, w, zeros, ones, ones, 1, False, False, True), OUT2D)
        ],
        "aten.convolution_overrideable": [(aten.convolution_overrideable.default, plain, OUT2D)],
        # torch's formula cannot be called with this op's arguments; see below
        "aten._slow_conv2d_forward": [],
        "aten.convolution_backward": [
            (backward, (meta(*OUT2D), x, w, *rest, mask), (X2D, W2D, (8,)))
            for mask in ([True, True, True], [True, False, False], [False, True, True])
        ]
        + [
            (
                backward,
                (meta(2, 8, 20, 20), x, meta(4, 8, 3, 3), *transposed_rest, [True, True, False]),
                (X2D, (4, 8, 3, 3), None),
            ),
        ],
    }


def _attention() -> dict[str, list[Case]]:
    qkv = tuple(meta(*shape) for shape in (Q, K, V))
    saved = (meta(*O), *qkv, meta(*O), meta(*LSE))
    seed = (meta(), meta())
    ends = (None, None, 5, 7)
    efficient = aten._scaled_dot_product_efficient_attention_backward.default
    mask = [True, True, True, False]
    return {
        "aten._scaled_dot_product_efficient_attention": [
            (aten._scaled_dot_product_efficient_attention.default, (*qkv, None, True), None)
        ],
        "aten._scaled_dot_product_flash_attention": [
            (aten._scaled_dot_product_flash_attention.default, (*qkv, 0.0, True), None)
        ],
        "aten._scaled_dot_product_cudnn_attention": [
            (aten._scaled_dot_product_cudnn_attention.default, (*qkv, None, True), None)
        ],
        "aten._scaled_dot_product_efficient_attention_backward": [
            (efficient, (meta(*O), *qkv, None, *saved[4:], *seed, 0.0, mask), None)
        ],
        "aten._scaled_dot_product_flash_attention_backward": [
            (
                aten._scaled_dot_product_flash_attention_backward.default,
                (*saved, *ends, 0.0, True, *seed),
                None,
            )
        ],
        "aten._scaled_dot_product_cudnn_attention_backward": [
            (
                aten._scaled_dot_product_cudnn_attention_backward.default,
                (*saved, *seed, None, *ends, 0.0, True),
                None,
            )
        ],
        "flex_attention": [(_Named("flex_attention"), qkv, None)],
        "flex_attention_backward": [(_Named("flex_attention_backward"), (*qkv, *saved[4:], meta(*O)), None)],
    }


def _packed_attention() -> dict[str, list[Case]]:
    qkv = tuple(meta(*shape) for shape in (PACKED_Q, PACKED_K, PACKED_V))
    batched = tuple(tensor[None] for tensor in qkv)
    out, lse = meta(*PACKED_O), meta(6, 6)
    ends = (_ends(3), _ends(5), 3, 5)
    varlen = getattr(torch.ops, "torch_attn", None)
    return {
        "aten._flash_attention_forward": [
            (aten._flash_attention_forward.default, (*qkv, *ends, 0.0, True, False), None)
        ],
        "aten._flash_attention_backward": [
            (
                aten._flash_attention_backward.default,
                (out, *qkv, out, lse, *ends, 0.0, True, meta(), meta()),
                None,
            )
        ],
        "aten._efficient_attention_forward": [
            (aten._efficient_attention_forward.default, (*batched, None, *ends, 0.0, 1), None)
        ],
        "aten._efficient_attention_backward": [
            (
                aten._efficient_attention_backward.default,
                (out[None], *batched, None, out[None], *ends, lse, 0.0, meta(), meta(), 1, False),
                None,
            )
        ],
        "torch_attn._varlen_attn": [(varlen._varlen_attn.default, (*qkv, *ends), None)],
        "torch_attn._varlen_attn_out": [(varlen._varlen_attn_out.default, (out, *qkv, *ends), None)],
        "torch_attn._varlen_attn_backward": [
            (varlen._varlen_attn_backward.default, (out, *qkv, out, lse, *ends, True, meta()), None)
        ],
    }


class _Named:
    """A higher-order operator, which has no schema; only its name and arguments are recorded."""

    def __init__(self, name: str) -> None:
        self.name = name


GROUPS: tuple[Callable[[], dict[str, list[Case]]], ...] = (
    _matmuls, _convolutions, _attention, _packed_attention,
)  # fmt: skip


def _cases() -> dict[str, list[Case]]:
    pytest.importorskip("torch.nn.attention.varlen", reason="torch's varlen attention adds to its registry")
    return {name: cases for group in GROUPS for name, cases in group().items()}


def _ours(case: Case) -> int | None:
    op, args, _ = case
    if isinstance(op, _Named):
        return executed(op_cost(OpCall(op.name, tuple(tuple(tensor.shape) for tensor in args))))
    return executed(op_cost(recorded_call(op, *args)))


def _torchs(name: str, case: Case) -> int:
    _, args, out = case
    formula = next(formula for packet, formula in flop_registry.items() if str(packet) == name)
    return int(formula(*args, out_val=out))


def test_there_is_an_example_for_every_op_that_torch_knows() -> None:
    cases = _cases()
    unknown = sorted(str(packet) for packet in flop_registry if str(packet) not in cases)
    assert unknown == [], "torch counts ops for which there is no example here: add one and compare"


def test_every_example_counts_what_torch_counts() -> None:
    known = {str(packet) for packet in flop_registry}
    compared = 0
    for name, cases in _cases().items():
        for case in cases:
            if name in known:
                assert _ours(case) == _torchs(name, case) > 0, (name, case)
                compared += 1
    assert compared >= 27


def test_torch_cannot_count_slow_conv2d_but_we_can() -> None:
    """Its formula wants ``transposed``, which this op does not have; FlopCounterMode raises on it."""
    args = (meta(*X2D), meta(*W2D), [3, 3], None, [1, 1], [0, 0])
    with pytest.raises(TypeError, match="transposed"):
        flop_registry[aten._slow_conv2d_forward](*args, out_val=OUT2D)
    ours = executed(op_cost(recorded_call(aten._slow_conv2d_forward.default, *args)))
    assert ours == flop_registry[aten._slow_conv2d_forward](*args, False, out_val=OUT2D)


def test_torch_takes_cudnns_benchmark_flag_for_transposed() -> None:
    """It is the seventh argument; with it set, torch counts positions of the input instead of the output."""
    args = (meta(*X2D), meta(*W2D), [0, 0], [1, 1], [1, 1], 1, True, False, True)
    ours = executed(op_cost(recorded_call(aten.cudnn_convolution.default, *args)))
    assert ours == 2 * (2 * 7 * 7) * (8 * 4 * 3 * 3)
    assert flop_registry[aten.cudnn_convolution](*args, out_val=OUT2D) == 2 * (2 * 9 * 9) * (8 * 4 * 3 * 3)


def test_torch_counts_the_weight_gradient_of_a_grouped_convolution_once_per_group() -> None:
    groups = 4
    rest = (None, [1, 1], [0, 0], [1, 1], False, [0, 0], groups, [False, True, False])
    args = (meta(*OUT2D), meta(*X2D), meta(8, 1, 3, 3), *rest)
    ours = executed(op_cost(recorded_call(aten.convolution_backward.default, *args)))
    assert ours == 2 * (2 * 7 * 7) * (8 * 1 * 3 * 3)
    assert (
        flop_registry[aten.convolution_backward](*args, out_val=(None, (8, 1, 3, 3), None)) == groups * ours
    )


def test_torch_reads_dense_flash_attention_with_heads_and_lengths_swapped() -> None:
    """(batch, length, heads, dim) = (2, 16, 4, 8): torch takes 16 for the heads and 4 for the length."""
    tensor = meta(2, 16, 4, 8)
    args = (tensor, tensor, tensor, None, None, 16, 16, 0.0, False, False)
    ours = executed(op_cost(recorded_call(aten._flash_attention_forward.default, *args)))
    assert ours == 4 * (2 * 4) * (16 * 16) * 8
    assert flop_registry[aten._flash_attention_forward](*args) == 4 * (2 * 16) * (4 * 4) * 8


def test_torch_counts_fp4_products_by_half() -> None:
    """A stored item holds two values along k, which torch's formula does not see."""
    call = OpCall("aten::_scaled_mm", ((32, 64), (64, 16)), ("c10::Float4_e2m1fn_x2",) * 2)
    assert executed(op_cost(call)) == 2 * 32 * 16 * 128
    assert flop_registry[aten._scaled_mm](meta(32, 64), meta(64, 16), None, None) == 2 * 32 * 16 * 64


def test_a_packed_call_of_unknown_lengths_has_no_cost_where_torch_takes_the_longest() -> None:
    """Without data torch counts sequences x longest^2, an overestimate; we do not guess."""
    qkv = (meta(10, 4, 8),) * 3
    ends = torch.empty(3, dtype=torch.int32, device="meta")
    args = (*qkv, ends, ends, 7, 7, 0.0, True, False)
    assert op_cost(recorded_call(aten._flash_attention_forward.default, *args)) is None
    assert flop_registry[aten._flash_attention_forward](*args) == 2 * (4 * 4 * 7 * 7 * 8)
