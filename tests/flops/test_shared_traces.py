"""Real traces against what others computed from them (``shared/traces/oracles``)."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest

from mfu_profiler.flops import OpCall, OpCost, has_formula, op_cost

from .helpers import Event, event_call, innermost, innermost_costs, read_ops

RESNET50_2021 = ("kineto_resnet50_workers0_v100", "kineto_resnet50_workers4_v100")


@cache
def _ops(traces: Path, name: str) -> list[Event]:
    return read_ops(traces / f"{name}.json.gz")


def _cost(event: Event, related: Event | None = None) -> OpCost | None:
    paired = None if related is None else related["args"]["Input Dims"]
    made = event_call(event, paired_shapes=paired)
    return None if made is None else op_cost(made)


def _known_value(traces: Path, trace: str, beginning: str) -> float:
    with (traces / "oracles" / "known_values.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["trace"] == trace]
    return next(float(row["value"]) for row in rows if row["what"].startswith(beginning))


def test_every_op_of_every_trace_has_the_known_count_of_calls_and_flop(shared_dir: Path) -> None:
    """``op_flop.csv``: calls and FLOP of an op over a whole trace, as 7 digits.

    An op may enclose an op of its own name: in the 2020 trace ``aten::addmm`` calls itself. Only the
    innermost counts. (An op that encloses another *name*, as ``convolution`` does ``_convolution``, has a
    row of its own here, so these rows must not be summed.)
    """
    expected: dict[str, dict[str, tuple[int, str]]] = defaultdict(dict)
    with (shared_dir / "traces" / "oracles" / "op_flop.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            expected[row["trace"]][row["op"]] = (int(row["calls"]), row["flop"])
    assert len(expected) >= 20
    for trace, ops in expected.items():
        found = {}
        for op in ops:
            events = innermost(event for event in _ops(shared_dir / "traces", trace) if event["name"] == op)
            costs = [cost for event in events if (cost := _cost(event)) is not None]
            found[op] = (len(costs), f"{sum(cost.model_flop for cost in costs):.6e}")
        assert found == ops, trace


@pytest.mark.parametrize("trace", RESNET50_2021)
def test_a_training_step_of_resnet50_costs_what_its_published_size_implies(
    shared_dir: Path, trace: str
) -> None:
    """Six steps of batch 32; no concrete inputs, so convolutions need their pairs.

    The forward is paired by its sequence number with ``CudnnConvolutionBackward``, whose only input is
    the gradient; ``..._backward_weight`` with the ``cudnn_convolution_backward`` that encloses it.
    """
    events = _ops(shared_dir / "traces", trace)
    backwards = {
        event["args"]["Sequence number"]: event
        for event in events
        if event["name"] == "CudnnConvolutionBackward"
    }
    whole = [event for event in events if event["name"] == "aten::cudnn_convolution_backward"]
    total: Counter[str] = Counter()
    for event in events:
        name = event["name"]
        if name == "aten::cudnn_convolution":
            cost = _cost(event, backwards[event["args"]["Sequence number"]])
        elif name == "aten::cudnn_convolution_backward_weight":
            cost = _cost(event, next(outer for outer in whole if _encloses(outer, event)))
        elif name in ("aten::cudnn_convolution_backward_input", "aten::mm", "aten::addmm"):
            cost = _cost(event)
        else:
            continue
        assert cost is not None, event
        total[name] += cost.model_flop
    step = _known_value(shared_dir / "traces", RESNET50_2021[0], "model FLOP of a training step")
    assert sum(total.values()) == 6 * step
    assert total["aten::cudnn_convolution"] == total["aten::cudnn_convolution_backward_weight"]
    assert total["aten::cudnn_convolution_backward_input"] < total["aten::cudnn_convolution"]  # not the first


def _encloses(outer: Event, inner: Event) -> bool:
    return bool(
        outer["tid"] == inner["tid"]
        and outer["ts"] <= inner["ts"]
        and inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"]
    )


def test_vit_b_16_costs_its_published_140_gflop(shared_dir: Path) -> None:
    costs = innermost_costs(_ops(shared_dir / "traces", "tracelens_h100_vit"))
    known = _known_value(shared_dir / "traces", "tracelens_h100_vit", "ViT-B/16")
    assert sum(cost.model_flop for _, cost in costs) == pytest.approx(known, rel=1e-5)


def test_a_causal_call_of_qwen_shows_both_figures(shared_dir: Path) -> None:
    """The published value is rounded; TraceLens prints the half of it."""
    events = _ops(shared_dir / "traces", "tracelens_h100_qwen_prefill")
    known = _known_value(shared_dir / "traces", "tracelens_h100_qwen_prefill", "one causal attention call")
    inner = [cost for event, cost in innermost_costs(events) if "_flash_attention" in event["name"]]
    assert len(inner) == 24
    for cost in inner:
        assert cost.model_flop == 4 * 16 * 16 * 559 * 559 * 64 == pytest.approx(known, rel=1e-4)
        assert cost.causal_model_flop == cost.model_flop // 2


def test_outer_and_inner_attention_ops_cost_the_same(shared_dir: Path) -> None:
    for trace in ("tracelens_h100_bert", "tracelens_mi300x_bert", "tracelens_h100_vit"):
        events = _ops(shared_dir / "traces", trace)
        names = (
            "aten::scaled_dot_product_attention",
            "aten::_scaled_dot_product_flash_attention",
            "aten::_flash_attention_forward",
        )
        flops = [[_cost(event) for event in events if event["name"] == name] for name in names]
        outer, middle, inner = ([cost.model_flop for cost in costs if cost] for costs in flops)
        assert outer == middle == inner != []


def test_recomputed_convolutions_are_calls_like_any_other(shared_dir: Path) -> None:
    """117 forwards for 60 backwards, each with its cost: checkpointing is not this package's concern."""
    costs = innermost_costs(_ops(shared_dir / "traces", "tracelens_mi300x_resnet_checkpoint"))
    calls = Counter(event["name"] for event, _ in costs)
    assert (calls["aten::miopen_convolution"], calls["aten::convolution_backward"]) == (117, 60)


def test_packed_flash_attention_of_unknown_lengths_is_not_guessed(shared_dir: Path) -> None:
    """modded-nanogpt packs documents: 16384 tokens, at most 2048 each, 128 cumulative lengths."""
    events = _ops(shared_dir / "traces", "modded_nanogpt_8xh100/rank0")
    packed = [event for event in events if event["name"] in ("flash_attn_3::fwd", "flash_attn_3::bwd")]
    assert len(packed) == 80
    assert all(_cost(event) is None for event in packed)


def test_grouped_matmuls_of_a_mixture_of_experts_are_counted(shared_dir: Path) -> None:
    events = [
        event for event in _ops(shared_dir / "traces", "ao_moe_2xb200") if "_grouped_mm" in event["name"]
    ]
    assert len(events) == 30
    assert _cost(events[0]) == OpCost(
        2 * 8196 * 7168 * 2048, byte=2 * (8196 * 7168 + 4 * 7168 * 2048 + 8196 * 2048)
    )


def test_every_op_with_shapes_and_a_formula_has_a_cost_but_for_what_is_listed(shared_dir: Path) -> None:
    """What is left open in all real traces: convolutions without pair, and packed attention."""
    missing = set()
    for path in sorted((shared_dir / "traces").rglob("*.json.gz")):
        trace = str(path.relative_to(shared_dir / "traces")).removesuffix(".json.gz")
        for event in _ops(shared_dir / "traces", trace):
            made: OpCall | None = event_call(event) if has_formula(event["name"]) else None
            if made is not None and op_cost(made) is None:
                missing.add((trace.partition("/")[0].partition("_")[0], event["name"]))
    forward = ("aten::conv2d", "aten::convolution", "aten::_convolution", "aten::cudnn_convolution")
    assert missing == {
        *(("kineto", name) for name in (*forward, "aten::cudnn_convolution_backward_weight")),
        *(("modded", f"flash_attn_3::{name}") for name in ("fwd", "bwd")),
        *(("modded", f"flash_attn_3::_flash_attn_{name}") for name in ("forward", "backward")),
    }
