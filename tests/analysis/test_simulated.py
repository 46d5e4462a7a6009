"""The replay against a simulator: what a step takes once a cause is removed from the program itself."""

from __future__ import annotations

import pytest

from mfu_profiler.analysis.replay.what_ifs import CAUSES, Cause

from .simulator import period_ns, random_step, recorded, without
from .test_what_ifs import what_ifs

PROGRAMS, CHUNK = 200, 20
CLOSE = 0.03


@pytest.mark.parametrize("first", range(0, PROGRAMS, CHUNK))
def test_every_what_if_is_within_3_percent_of_the_simulated_truth(first: int) -> None:
    off = {}
    for seed in range(first, first + CHUNK):
        step = random_step(seed)
        found = what_ifs(recorded(step))
        for removed in ((), *((cause,) for cause in CAUSES)):
            truth = period_ns(without(step, *removed))
            if found.step_ns(removed) != pytest.approx(truth, rel=CLOSE):
                off[seed, removed] = found.step_ns(removed) / truth
    assert off == {}


@pytest.mark.parametrize("seed", range(20))
def test_two_causes_removed_together_are_as_close(seed: int) -> None:
    step = random_step(seed)
    found = what_ifs(recorded(step))
    both: tuple[tuple[Cause, Cause], ...] = (("data", "host"), ("data", "sync"), ("host", "communication"))
    for removed in both:
        assert found.step_ns(removed) == pytest.approx(period_ns(without(step, *removed)), rel=CLOSE)


def test_the_programs_are_bound_by_each_cause_somewhere() -> None:
    """Else the agreement above would say little: each cause gives back a fifth of some step."""
    gains = dict.fromkeys(CAUSES, 0.0)
    for seed in range(PROGRAMS):
        step = random_step(seed)
        whole = period_ns(step)
        for cause in CAUSES:
            gains[cause] = max(gains[cause], 1 - period_ns(without(step, cause)) / whole)
    assert min(gains.values()) > 0.2, gains
