"""The device's clock: a finding only where it was sampled, is low, and the driver says what holds it down."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfu_profiler.analysis import Report
from tests.analysis.live import FLOP, H100_BF16, clocks_part, live_part, live_report

from .made import advice, codes, found

INSIDE = [1_100, 2_100, 3_100]
IDEAL = FLOP / H100_BF16 / 1e-3
"""Share of a step of 1 ms that its FLOP take at the peak."""


def at(tmp_path: Path, hertz: float, reason: str = "none") -> Report:
    clocks = clocks_part([hertz] * 3, INSIDE, throttle=[reason] * 3)
    return live_report(tmp_path, live_part([1_000], clocks=clocks))


def test_a_clock_held_down_by_the_power_cap_is_advised_its_limit(tmp_path: Path) -> None:
    report = at(tmp_path, 1.41e9, "power cap")
    finding = found(report, "clocks")
    assert finding.title == "the device's clock is held down: power cap"
    assert finding.share_fraction == pytest.approx(IDEAL * (1.83 / 1.41 - 1), rel=1e-3)
    assert finding.evidence == ("1,410 MHz on average at 300 W",)
    assert "nvidia-smi -q -d POWER" in advice(report, "clocks")
    assert finding.recovered_s is None


def test_a_hot_device_is_advised_cooling(tmp_path: Path) -> None:
    given = advice(at(tmp_path, 1.41e9, "thermal"), "clocks")
    assert "cooling" in given and "POWER" not in given


def test_a_low_clock_without_a_reason_is_no_finding(tmp_path: Path) -> None:
    assert "clocks" not in codes(at(tmp_path, 1.41e9))


def test_a_clock_that_costs_little_is_no_finding(tmp_path: Path) -> None:
    """1.7 of 1.83 GHz costs 2.5 % of this step, and 1.5 costs 7.1."""
    assert "clocks" not in codes(at(tmp_path / "little", 1.7e9, "power cap"))
    assert "clocks" in codes(at(tmp_path / "much", 1.5e9, "power cap"))


def test_clocks_that_nobody_sampled_are_no_finding(tmp_path: Path) -> None:
    assert "clocks" not in codes(live_report(tmp_path, live_part([1_000])))
