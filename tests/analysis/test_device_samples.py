"""Clock and power over a live run, thinned to what a picture can show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.analysis.clocks import MOST_SAMPLES, device_samples
from mfu_profiler.trace.live import LiveClocks, Sampled


def clocks(count: int, *, has: bool = True, reasons: Sequence[str] = ()) -> LiveClocks:
    """One sample a second, from second 100 on; sample ``i`` at ``i`` Hz and ``2 i`` W."""
    rows = np.arange(count)
    mask = np.full(count, has)
    return LiveClocks(
        time_ns=(rows + 100) * 10**9,
        sm_clock_hz=Sampled(rows.astype(np.float64), mask),
        power_w=Sampled(2.0 * rows, np.ones(count, np.bool_)),
        throttle=tuple(frozenset(reasons) for _ in range(count)),
        because=None,
    )


def test_without_samples_there_are_none() -> None:
    assert device_samples(None) is None
    assert device_samples(clocks(0)) is None


def test_few_samples_are_all_kept() -> None:
    found = device_samples(clocks(3, reasons=("power cap", "thermal")))
    assert found is not None
    assert found.time_s == (0.0, 1.0, 2.0) == found.clock_hz
    assert found.power_w == (0.0, 2.0, 4.0)
    assert found.throttle == ("power cap, thermal",) * 3


def test_a_quantity_that_was_not_sampled_is_absent_not_zero() -> None:
    found = device_samples(clocks(2, has=False))
    assert found is not None
    assert found.clock_hz == (None, None) and found.power_w == (0.0, 2.0)


@given(count=st.integers(1, 3 * MOST_SAMPLES))
def test_thinning_keeps_the_ends_the_order_and_the_columns_together(count: int) -> None:
    found = device_samples(clocks(count))
    assert found is not None
    kept = list(found.time_s)
    assert len(kept) == min(count, MOST_SAMPLES)
    assert (kept[0], kept[-1]) == (0.0, count - 1.0)
    assert kept == sorted(set(kept))
    assert (
        list(found.clock_hz) == kept and [power / 2 for power in found.power_w if power is not None] == kept
    )
    if count > MOST_SAMPLES:
        gaps = np.diff(kept)
        assert gaps.max() - gaps.min() <= 1, "evenly"
