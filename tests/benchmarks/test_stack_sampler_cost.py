"""What sampling its stack costs a thread, from the gaps that the samples leave in it.

::

    loop      |x|x|x|x|x|........|x|x|x|x|x|x|x|x|x|.......|x|x|     x: one round, some 100 ns
    samples              ^                             ^             the gap around a sample is its cost

Comparing times with and without the sampler shows nothing: a machine's own noise is larger. The yardstick is
a thread that wakes as often and does nothing: any sampler inside the process pays two hand-overs of the GIL.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from statistics import median

import pytest

from mfu_profiler.capture.profile.stack_sampler import StackSampler
from tests.benchmarks.conftest import Figures

LOOP_NS = 1_000_000_000
ROUNDS = 3
SHORTEST_GAP_NS = 2_000
DEPTH = 20
MOST_OF_A_WAKE_UP = 4.0
LEAST_FOUND_FRACTION = 0.9
"""Of the samples; the rest fall between two rounds of the loop."""


class Waker(StackSampler):
    """Wakes like the sampler and looks at nothing."""

    def _sample(self) -> str | None:
        self._keep(time.time_ns(), ())
        return None


def gaps_of_a_busy_loop(depth: int) -> list[tuple[int, int]]:
    """(Begin, end) in Unix ns of the times at which a loop of pure Python, the worst case, stood still."""
    if depth:
        return gaps_of_a_busy_loop(depth - 1)
    gaps, clock = [], time.time_ns
    last = clock()
    end = last + LOOP_NS
    while last < end:
        now = clock()
        if now - last > SHORTEST_GAP_NS:
            gaps.append((last, now))
        last = now
    return gaps


def costs_ns(kind: type[StackSampler]) -> list[int]:
    """How long the loop stood still for each sample."""
    sampler = kind(threading.get_ident())
    sampler.start()
    gaps = gaps_of_a_busy_loop(DEPTH)
    samples = sampler.to_json()["time_ns"]
    begins = [begin for begin, _ in gaps]
    around = [(bisect_right(begins, time_ns) - 1, time_ns) for time_ns in samples]
    found = [gaps[row] for row, time_ns in around if row >= 0 and time_ns <= gaps[row][1]]
    assert len(found) >= LEAST_FOUND_FRACTION * len(samples)
    return [end - begin for begin, end in found]


@pytest.mark.benchmark
def test_a_sample_stops_a_python_loop_at_most_four_times_as_long_as_a_bare_wake_up(figures: Figures) -> None:
    sampled, woken = [], []
    for _ in range(ROUNDS):
        sampled += costs_ns(StackSampler)
        woken += costs_ns(Waker)
    ours_ns, bare_ns = median(sampled), median(woken)  # what another process lengthened is no cost of ours
    share = ours_ns * len(sampled) / (ROUNDS * LOOP_NS)
    figures.add(
        "of a bare wake-up, a stack sample",
        f"{share:.1%} of a Python loop",
        f"{ours_ns / 1e3:.0f} µs",
        f"{bare_ns / 1e3:.0f} µs",
        f"{ours_ns / bare_ns:.2f}",
        f"at most {MOST_OF_A_WAKE_UP:g}",
    )
    assert ours_ns <= MOST_OF_A_WAKE_UP * bare_ns
