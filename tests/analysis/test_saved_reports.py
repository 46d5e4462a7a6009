"""A saved report is untrusted input as a trace is: what contradicts itself is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mfu_profiler.analysis import analyze
from mfu_profiler.analysis.saved import saved_reports
from mfu_profiler.errors import TraceFormatError
from mfu_profiler.render import render_json
from tests.conftest import REPOSITORY

Damage = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def saved() -> str:
    report = analyze(REPOSITORY / "examples" / "traces" / "gpt_cpu.json.gz", peak_tflops=0.097)
    return render_json([report])


def first_event(plain: dict[str, Any]) -> list[int]:
    event: list[int] = plain["step_timeline"]["lanes"][0]["events"][0]
    return event


def with_samples(plain: dict[str, Any]) -> None:
    plain["device_samples"] = {"time_s": [0.0, 1.0], "clock_hz": [1e9], "power_w": [], "throttle": [""]}


DAMAGES: dict[str, tuple[Damage, str]] = {
    "a name that is not there": (lambda plain: first_event(plain).__setitem__(2, 10**6), "not there"),
    "a negative name": (lambda plain: first_event(plain).__setitem__(2, -1), "not there"),
    "a kind that is not there": (lambda plain: first_event(plain).__setitem__(3, 99), "not there"),
    "a huge depth": (lambda plain: first_event(plain).__setitem__(4, 10**9), "not there"),
    "before the step": (lambda plain: first_event(plain).__setitem__(0, -1), "outside"),
    "after the step": (lambda plain: first_event(plain).__setitem__(1, 10**15), "outside"),
    "too many events": (
        lambda plain: plain["step_timeline"]["lanes"][0]["events"].extend([[0, 1, 0, 0, 0]] * 30_000),
        "can be drawn",
    ),
    "unequal samples": (with_samples, "unequal"),
    "too many lanes": (
        lambda plain: plain["step_timeline"].update(lanes=plain["step_timeline"]["lanes"] * 100),
        "can be drawn",
    ),
    "negative FLOP": (lambda plain: plain["kernels"][0].update(flop=-1.0), "beyond all measure"),
    "a rate below all": (
        lambda plain: plain["kernels"][0].update(achieved_flop_per_s=1e-300),
        "beyond all measure",
    ),
    "a step of no time": (lambda plain: plain.update(step_time_s=0.0), "beyond all measure"),
    "a negative bandwidth": (
        lambda plain: plain["device"].update(memory_byte_per_s=-1.0),
        "beyond all measure",
    ),
    "negative time": (lambda plain: plain["ops"][0].update(time_s=-1.0), "negative time"),
    "beyond measure": (lambda plain: plain.update(step_time_s=1e300), "beyond all measure"),
    "beyond measure, whole": (lambda plain: plain["trace"].update(events=10**70), "beyond all measure"),
    "a word for a number": (lambda plain: plain.update(mfu="much"), "no report"),
}


def test_what_was_saved_comes_back(saved: str) -> None:
    (report,) = saved_reports(saved.encode(), "saved.json")
    assert render_json([report]) == saved


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_report_is_refused_with_its_reason(name: str, saved: str) -> None:
    damage, reason = DAMAGES[name]
    plain = json.loads(saved)
    damage(plain)
    with pytest.raises(TraceFormatError, match=reason) as caught:
        saved_reports(json.dumps(plain).encode(), "saved.json")
    assert "report TRACE --json" in caught.value.hints[0]
