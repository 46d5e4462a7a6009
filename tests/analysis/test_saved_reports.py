"""A saved report is untrusted input as a trace is: what contradicts itself is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mfu_profiler.analysis import analyze
from mfu_profiler.analysis.saved import is_saved_report, saved_reports
from mfu_profiler.errors import TraceFormatError
from mfu_profiler.render import render_json
from tests.conftest import REPOSITORY
from tests.render.sample import SAMPLES, resnet

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


@pytest.mark.parametrize("sample", [name for name in SAMPLES if "hostile" not in name and name != "none"])
def test_a_report_comes_back_from_its_json_as_it_was(sample: str) -> None:
    content = render_json(SAMPLES[sample]).encode()
    assert is_saved_report(content[:100])
    assert saved_reports(content, "x.json") == SAMPLES[sample]


def test_keys_of_a_newer_version_are_ignored_and_those_of_an_older_one_may_lack() -> None:
    content = render_json([resnet()]).replace('"mfu": 0.281,', '"brand_new": {"a": [1]}, "mfu": 0.281,', 1)
    assert saved_reports(content.encode(), "x.json") == (resnet(),)
    older = render_json([resnet()]).replace('"replay": null', '"also_new": null')
    assert saved_reports(older.encode(), "x.json") == (resnet(),)


@pytest.mark.parametrize(
    ("head", "is_report"),
    [
        (b'{\n  "schema_version": 1,', True),
        (b'\xef\xbb\xbf{"reports": [', True),
        (b'{"checks": [], "conventions"', True),
        (b'{"schemaVersion": 1, "traceEvents": [', False),
        (b'[{"ph": "X"}]', False),
        (b"", False),
    ],
)
def test_the_first_key_tells_a_report_from_a_trace(head: bytes, is_report: bool) -> None:
    assert is_saved_report(head) is is_report


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"schema_version": 1, "mfu"', "cut off or no JSON"),
        (b'{"schema_version": "\xff"}', "cut off or no JSON"),
        (b'{"schema_version":' + b"[" * 100_000, "cut off or no JSON"),
        (b"[1]", "it has no schema_version"),
        (b'{"mfu": 1}', "it has no schema_version"),
        (b'{"schema_version": 2}', "schema version 2; this mfu_profiler reads 1"),
        (b'{"schema_version": 1}', "missing required field"),
        (b'{"schema_version": 1, "mfu": "high"}', "got `str`"),
        (b'{"schema_version": 1, "reports": {}}', "got `object`"),
        (b'{"schema_version": 1, "reports": []}', "the file holds no report"),
    ],
    ids=range(10),
)
def test_what_is_no_report_is_said_to_be_none(content: bytes, reason: str) -> None:
    with pytest.raises(TraceFormatError, match=reason) as caught:
        saved_reports(content, "x.json")
    assert caught.value.hints == ("make it from the trace:  report TRACE --json FILE",)
