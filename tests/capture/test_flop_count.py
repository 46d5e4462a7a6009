"""Sums and multiples of counts, and what a trace keeps of them."""

from __future__ import annotations

import json

from mfu_profiler.capture.flop.flop_count import FlopCount

PLAIN = FlopCount(
    forward=10, backward=20, recomputed=5, optimizer=3,
    by_precision={"bf16": 30, "fp32": 8}, by_module=(("a", 10, 20, 5),), uncounted={"mylib::op": 1},
)  # fmt: skip
CAUSAL = FlopCount(
    forward=4, backward=8, causal_model=6, by_precision={"bf16": 12}, by_module=(("b", 4, 8, 0),)
)


def test_model_flop_are_forward_and_backward_and_hardware_flop_are_all() -> None:
    assert (PLAIN.model, PLAIN.hardware) == (30, 38)


def test_counts_add_up() -> None:
    both = PLAIN + CAUSAL
    assert (both.forward, both.backward, both.recomputed, both.optimizer) == (14, 28, 5, 3)
    assert both.by_precision == {"bf16": 42, "fp32": 8}
    assert both.by_module == (("a", 10, 20, 5), ("b", 4, 8, 0))
    assert (PLAIN + PLAIN).by_module == (("a", 20, 40, 10),)
    assert both.uncounted == {"mylib::op": 1}


def test_the_causal_figure_of_a_sum_takes_the_rest_in_full() -> None:
    assert (PLAIN + CAUSAL).causal_model == 30 + 6
    assert (PLAIN + PLAIN).causal_model is None


def test_a_multiple_is_as_many_sums() -> None:
    assert PLAIN * 3 == PLAIN + PLAIN + PLAIN
    assert CAUSAL * 2 == CAUSAL + CAUSAL


def test_a_trace_keeps_it_as_json() -> None:
    kept = json.loads(json.dumps(PLAIN.to_json()))
    assert kept == {
        "forward": 10, "backward": 20, "recomputed": 5, "optimizer": 3, "causal_model": None,
        "by_precision": {"bf16": 30, "fp32": 8}, "by_module": [["a", 10, 20, 5]],
        "uncounted": {"mylib::op": 1},
    }  # fmt: skip
