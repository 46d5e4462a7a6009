"""The gate of ``compare``: a longer step fails unless it is noise, and what cannot be judged fails."""

from __future__ import annotations

import pytest

from mfu_profiler.analysis.comparing.compare import comparison
from mfu_profiler.analysis.comparing.gate import regression_results
from mfu_profiler.analysis.report import Report

from .compared import ranks_of, run


@pytest.mark.parametrize(
    ("before", "after", "ok", "words"),
    [
        (run(100.0, deviation_s=1.0), run(120.0, deviation_s=1.0), False, "beyond the noise"),
        (run(100.0, deviation_s=1.0), run(104.0, deviation_s=1.0), True, "within the limit of 5 %"),
        (run(100.0, deviation_s=1.0), run(105.0, deviation_s=1.0), True, "5 % longer"),
        (run(100.0, deviation_s=0.0), run(105.0001, deviation_s=0.0), False, "5.0001 % longer"),
        (run(100.0, deviation_s=1.0), run(80.0, deviation_s=1.0), True, "20 % shorter"),
        (
            run(100.0, deviation_s=30.0),
            run(120.0, deviation_s=30.0),
            True,
            "but within the noise of the steps",
        ),
        (run(100.0, count=1), run(120.0, count=1), False, "nobody can tell it from noise"),
        (run(100.0, count=1), run(100.0, count=1), True, "no difference"),
        (run(None), run(100.0), False, "A has no step time"),
        (run(100.0), run(None), False, "B has no step time"),
        (run(None), run(None), False, "A has no step time"),
        (run(0.0), run(100.0), False, "A's step time is 0"),
    ],
)
def test_the_gate_fails_for_what_is_longer_and_no_noise(
    before: Report, after: Report, ok: bool, words: str
) -> None:
    [result] = regression_results(comparison([("a", [before]), ("b", [after])]), 0.05)
    assert result.ok is ok and words in result.message
    assert result.message.startswith("step time of B: ")


def test_the_gate_holds_each_run_against_the_first() -> None:
    steps = [run(step_s, deviation_s=0.5) for step_s in (100.0, 104.0, 109.0)]
    found = comparison([(str(number), [one]) for number, one in enumerate(steps)])
    results = regression_results(found, 0.05)
    assert [(one.name, one.ok) for one in results] == [("step time of B", True), ("step time of C", False)]


def test_a_rank_that_is_missing_fails_and_one_that_is_new_does_not() -> None:
    found = comparison([("a", ranks_of(0, 1)), ("b", ranks_of(1, 2))])
    results = regression_results(found, 0.05)
    assert [(one.name, one.ok) for one in results] == [
        ("step time of B, rank 1 device 0", True),
        ("step time of B, rank 0 device 0", False),
    ]
    assert "only A has rank 0 device 0" in results[1].message
