"""From a recorded training step to its FLOP: a trace that torch.profiler writes here, on the CPU.

The same step is counted by FlopCounterMode. It counts two ops of the CPU as 0, which have a formula here:
``_scaled_dot_product_flash_attention_for_cpu`` and ``mkldnn_rnn_layer``; these are checked by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="records a trace with torch.profiler")

from torch import nn  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from mfu_profiler.flops import OpCost, op_cost  # noqa: E402

from .helpers import Event, event_call, executed, innermost_costs, read_ops  # noqa: E402
from .recorded import CallRecorder  # noqa: E402

Step = Callable[[], None]


class Block(nn.Module):
    """A causal transformer block of width 16 with 2 heads."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.project = nn.Linear(16, 48, bias=False), nn.Linear(16, 16)
        self.mlp = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, length, width = tokens.shape
        heads = self.qkv(tokens).view(batch, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
        tokens = tokens + self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return tokens + self.mlp(tokens)


def _convolution_step() -> Step:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ConvTranspose2d(8, 4, 2, stride=2),
        nn.Flatten(),
        nn.Linear(4 * 16 * 16, 10),
    )
    images = torch.randn(2, 3, 16, 16)
    return lambda: net(images).sum().backward()


def _transformer_step() -> Step:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(11, 16), Block(), Block(), nn.Linear(16, 11))
    tokens = torch.randint(11, (2, 8))
    return lambda: nn.functional.cross_entropy(net(tokens).flatten(0, 1), tokens.flatten()).backward()


def _recurrent_step() -> Step:
    torch.manual_seed(0)
    lstm, head = nn.LSTM(5, 7, bidirectional=True), nn.Linear(14, 3)
    given = torch.randn(3, 2, 5)
    return lambda: head(lstm(given)[0]).sum().backward()


def _recorded(step: Step, folder: Path) -> list[Event]:
    step()  # warm up: initialization is not in the trace
    path = folder / "trace.json"
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        step()
    profiler.export_chrome_trace(str(path))
    return read_ops(path)


def _counted(step: Step) -> int:
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def _split(events: list[Event], *uncounted: str) -> tuple[int, dict[str, list[OpCost]]]:
    """Executed FLOP of the ops that torch counts, and the costs of those it counts as 0."""
    total = 0
    others: dict[str, list[OpCost]] = {name: [] for name in uncounted}
    for event, cost in innermost_costs(events):
        if event["name"] in others:
            others[event["name"]].append(cost)
        else:
            total += executed(cost) or 0
    return total, others


def test_a_convolution_net_costs_what_torch_counts(tmp_path: Path) -> None:
    step = _convolution_step()
    total, _ = _split(_recorded(step, tmp_path))
    assert total == _counted(step) > 0


def test_a_transformer_costs_what_torch_counts_plus_its_attention(tmp_path: Path) -> None:
    step = _transformer_step()
    forward = "aten::_scaled_dot_product_flash_attention_for_cpu"
    backward = f"{forward}_backward"
    total, attention = _split(_recorded(step, tmp_path), forward, backward)
    assert total == _counted(step) > 0
    one_matmul = 2 * (2 * 2) * (8 * 8) * 8  # batch x heads, scores, dim
    for cost in attention[forward]:
        assert (cost.model_flop, cost.causal_model_flop) == (2 * one_matmul, one_matmul)
    for cost in attention[backward]:
        assert (cost.model_flop, cost.recompute_flop) == (4 * one_matmul, one_matmul)
    assert [len(costs) for costs in attention.values()] == [2, 2]


def test_an_lstm_costs_what_torch_counts_plus_its_fused_layers(tmp_path: Path) -> None:
    step = _recurrent_step()
    forward, backward = "aten::mkldnn_rnn_layer", "aten::mkldnn_rnn_layer_backward"
    events = _recorded(step, tmp_path)
    if not any(event["name"] == forward for event in events):
        pytest.skip("this torch runs LSTMs without oneDNN")
    total, layers = _split(events, forward, backward)
    assert total == _counted(step) > 0
    one_direction = 2 * 6 * (28 * 5 + 28 * 7)
    assert [cost.model_flop for cost in layers[forward]] == [one_direction] * 2
    assert [cost.model_flop for cost in layers[backward]] == [2 * one_direction] * 2


def test_outer_ops_cost_what_the_ops_inside_them_cost(tmp_path: Path) -> None:
    """A trace holds conv2d, convolution, _convolution and mkldnn_convolution for one convolution."""
    events = _recorded(_convolution_step(), tmp_path)
    costs = [(event["name"], op_cost(made)) for event in events if (made := event_call(event))]
    for inner, outer in (("aten::addmm", "aten::linear"), ("aten::convolution", "aten::_convolution")):
        both = [[cost.model_flop for name, cost in costs if name == op and cost] for op in (inner, outer)]
        assert both[0] == both[1] != []


def test_calls_made_by_schema_are_what_the_profiler_records(tmp_path: Path) -> None:
    """The other tests against torch rest on ``recorded_call``: it must not flatter us."""
    step = _convolution_step()
    recorded = {event_call(event) for event in _recorded(step, tmp_path)}
    with CallRecorder() as recorder:
        step()
    compared = [call for call in recorder.calls if op_cost(call) is not None]
    names = {"aten::convolution", "aten::convolution_backward", "aten::addmm", "aten::mm"}
    assert {call.name for call in compared} == names
    without_strides = {
        (call.name, call.shapes, call.dtypes, call.concrete) for call in recorded if call is not None
    }
    for call in compared:
        assert (call.name, call.shapes, call.dtypes, call.concrete) in without_strides
