"""Fused RNN layers: every weight matrix meets every token once."""

from __future__ import annotations

from typing import Any

import pytest

from mfu_profiler.flops import op_call, op_cost

# LSTM, 5 -> 7, bidirectional: gates 4 x 7 = 28; 3 steps of batch 2 are 6 tokens
DIRECTION = [[28, 5], [28, 7], [28], [28]]
GIVEN, STATE = [3, 2, 5], [2, 2, 7]
PER_TOKEN = 28 * 5 + 28 * 7
FORWARD = 2 * 6 * 2 * PER_TOKEN


def _flop(name: str, dims: list[Any], concrete: dict[int, str]) -> int | None:
    values = [concrete.get(index, "") for index in range(max([len(dims), *(i + 1 for i in concrete)]))]
    dims = dims + [[]] * (len(values) - len(dims))
    made = op_call(name, dims, ["float"] * len(dims), values)
    assert made is not None
    cost = op_cost(made)
    return None if cost is None else cost.model_flop


@pytest.mark.parametrize(
    ("name", "dims"),
    [
        ("aten::_cudnn_rnn", [GIVEN, DIRECTION * 2, [], [672], STATE, STATE]),
        ("aten::miopen_rnn", [GIVEN, DIRECTION * 2, [], STATE, STATE]),
        ("aten::lstm", [GIVEN, [STATE, STATE], DIRECTION * 2]),
        ("aten::lstm", [[6, 5], [3], [STATE, STATE], DIRECTION * 2]),  # packed: (data, batch_sizes, ...)
    ],
)
def test_a_bidirectional_layer_costs_two_products_per_matrix(name: str, dims: list[Any]) -> None:
    assert _flop(name, dims, {}) == FORWARD


def test_mkldnn_runs_each_layer_and_direction_as_an_op_of_its_own() -> None:
    dims = [GIVEN, *DIRECTION, [2, 7], [2, 7]]
    assert _flop("aten::mkldnn_rnn_layer", dims, {7: "False"}) == FORWARD // 2
    saved = [[3, 2, 7], [2, 7], [2, 7], [3, 2, 7]]
    assert _flop("aten::mkldnn_rnn_layer_backward", [*dims, *saved], {13: "False"}) == FORWARD


def test_gru_and_projected_lstm_follow_from_their_weights() -> None:
    gru = [[21, 5], [21, 7], [21], [21]]
    assert _flop("aten::gru", [GIVEN, [1, 2, 7], gru], {}) == 2 * 6 * (21 * 5 + 21 * 7)
    projected = [[28, 5], [28, 3], [28], [28], [3, 7]]
    assert _flop("aten::_cudnn_rnn", [GIVEN, projected], {}) == 2 * 6 * (28 * 5 + 28 * 3 + 3 * 7)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ("[True, True, True, True]", 2 * FORWARD),
        ("[True, True, True, False]", FORWARD),
        ("[False, False, False, True]", 2 * FORWARD - 2 * 6 * 2 * (28 * 5)),  # no gradient of the input
    ],
)
def test_the_backward_costs_the_gradients_that_are_wanted(mask: str, expected: int) -> None:
    dims = [GIVEN, DIRECTION * 2, [], [672], STATE, STATE, [3, 2, 14], [3, 2, 14], STATE, STATE]
    assert _flop("aten::_cudnn_rnn_backward", dims, {13: "1", 17: "True", 21: mask}) == expected


def test_bytes_are_input_weights_and_output() -> None:
    concrete = [""] * 16
    concrete[13] = "True"
    dims = [GIVEN, DIRECTION * 2, [], [672], STATE, STATE, *[[]] * 10]
    made = op_call("aten::_cudnn_rnn", dims, ["float", "TensorList", *["float"] * 14], concrete)
    assert made is not None
    cost = op_cost(made)
    assert cost is not None
    assert cost.byte == 4 * (30 + 2 * (PER_TOKEN + 56) + 6 * 14)


def test_weights_that_do_not_fit_the_input_have_no_cost() -> None:
    assert _flop("aten::_cudnn_rnn", [[3, 2, 6], DIRECTION], {}) is None
    assert _flop("aten::_cudnn_rnn", [GIVEN, []], {}) is None
