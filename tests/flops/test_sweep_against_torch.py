"""Our counts against FlopCounterMode on tensors without data, over shapes that hypothesis thinks up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="asks torch for its own counts")

from torch.utils.flop_counter import FlopCounterMode, flop_registry  # noqa: E402

from mfu_profiler.flops import OpCall, op_cost  # noqa: E402

from .helpers import executed  # noqa: E402
from .recorded import CallRecorder, meta, recorded_call  # noqa: E402

aten = torch.ops.aten
SIZES = st.integers(1, 9)

sweep = settings(deadline=None, max_examples=80, derandomize=True)


def _both_counts(run: Any) -> tuple[list[OpCall], int]:
    """The calls that a function makes, and what torch counts for them."""
    recorder = CallRecorder()
    with FlopCounterMode(display=False) as counter, recorder:
        run()
    return [call for call in recorder.calls if op_cost(call) is not None], counter.get_total_flops()


@sweep
@given(SIZES, SIZES, SIZES, SIZES)
def test_matrix_products(batch: int, m: int, k: int, n: int) -> None:
    def run() -> None:
        left, right = meta(batch, m, k), meta(batch, k, n)
        torch.bmm(left, right)
        torch.baddbmm(meta(batch, m, n), left, right)
        torch.mm(left[0], right[0])
        torch.addmm(meta(n), left[0], right[0])
        torch.nn.functional.linear(left, right[0].mT, meta(n))

    calls, counted = _both_counts(run)
    assert len(calls) == 5
    assert sum(executed(op_cost(call)) or 0 for call in calls) == counted


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    dims = draw(st.integers(1, 3))
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    kernel = draw(st.lists(st.integers(1, 3), min_size=dims, max_size=dims))
    stride = draw(st.lists(st.integers(1, 3), min_size=dims, max_size=dims))
    return {
        "transposed": draw(st.booleans()),
        "batch": draw(st.integers(1, 3)),
        "spatial": draw(st.lists(st.integers(7, 9), min_size=dims, max_size=dims)),
        "needs_input": draw(st.booleans()),
        "layer": {
            "in_channels": groups * draw(st.integers(1, 3)),
            "out_channels": groups * draw(st.integers(1, 3)),
            "kernel_size": kernel,
            "stride": stride,
            "padding": draw(st.integers(0, 1)),
            "dilation": draw(st.integers(1, 3)),
            "groups": groups,
            "bias": draw(st.booleans()),
        },
    }


@sweep
@given(convolutions())
def test_convolutions_forward_and_backward(sizes: dict[str, Any]) -> None:
    """For groups, torch's weight gradient is ``groups`` times too much (see test_torch_registry)."""
    dims = len(sizes["spatial"])
    kind = f"Conv{'Transpose' if sizes['transposed'] else ''}{dims}d"
    layer = getattr(torch.nn, kind)(**sizes["layer"], device="meta")
    given_ = meta(sizes["batch"], sizes["layer"]["in_channels"], *sizes["spatial"])
    given_.requires_grad_(sizes["needs_input"])

    calls, counted = _both_counts(lambda: layer(given_).sum().backward())
    assert [call.name for call in calls] == ["aten::convolution", "aten::convolution_backward"]
    forward, backward = (executed(op_cost(call)) for call in calls)
    gradients = 1 + sizes["needs_input"]
    assert backward == gradients * (forward or 0)
    assert counted == (forward or 0) * (1 + sizes["needs_input"] + sizes["layer"]["groups"])


@sweep
@given(convolutions())
def test_convolutions_without_concrete_inputs_cost_the_same_by_their_pair(sizes: dict[str, Any]) -> None:
    """As in traces before torch 2: the forward is completed by its backward's shapes, or its gradient's."""
    dims = len(sizes["spatial"])
    kind = f"Conv{'Transpose' if sizes['transposed'] else ''}{dims}d"
    layer = getattr(torch.nn, kind)(**sizes["layer"], device="meta")
    given_ = meta(sizes["batch"], sizes["layer"]["in_channels"], *sizes["spatial"]).requires_grad_()
    (forward, backward), _ = _both_counts(lambda: layer(given_).sum().backward())
    name = "aten::cudnn_convolution_transpose" if sizes["transposed"] else "aten::cudnn_convolution"
    for paired in (backward.shapes, backward.shapes[:1]):
        old = OpCall(name, forward.shapes[:2], paired_shapes=paired)
        assert executed(op_cost(old)) == executed(op_cost(forward))
    gradient, weight = backward.shapes[0], backward.shapes[2]
    old = OpCall(f"{name}_backward_weight", ((), gradient, forward.shapes[0]), paired_shapes=backward.shapes)
    assert executed(op_cost(old)) == executed(op_cost(forward))
    own = (gradient, weight) if sizes["transposed"] else ((), gradient, weight)
    old = OpCall(f"{name}_backward_input", own, paired_shapes=backward.shapes)
    assert executed(op_cost(old)) == executed(op_cost(forward))


@sweep
@given(SIZES, SIZES, SIZES, SIZES, SIZES, SIZES, st.integers(1, 4))
def test_attention(
    batch: int, heads_kv: int, len_q: int, len_kv: int, dim_qk: int, dim_v: int, sharing: int
) -> None:
    query = meta(batch, heads_kv * sharing, len_q, dim_qk)
    key, value = meta(batch, heads_kv, len_kv, dim_qk), meta(batch, heads_kv, len_kv, dim_v)
    out = meta(batch, heads_kv * sharing, len_q, dim_v)
    forward = aten._scaled_dot_product_flash_attention
    args = (query, key, value, 0.0, True)
    cost = op_cost(recorded_call(forward.default, *args))
    assert executed(cost) == flop_registry[forward](*args)
    backward = aten._scaled_dot_product_flash_attention_backward
    rest = (meta(), None, None, len_q, len_kv, 0.0, True, meta(), meta())
    args = (out, query, key, value, out, *rest)
    cost = op_cost(recorded_call(backward.default, *args))
    assert executed(cost) == flop_registry[backward](*args)
    assert cost is not None
    assert cost.recompute_flop == 2 * query.numel() * len_kv
