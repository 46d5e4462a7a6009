"""``track`` beside profilers of the user's own: Kineto serves one at a time, and theirs goes first."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WAITED = "another profiler is running; ours waits for it"
CUT = "the profiled window was cut short: another profiler was started"
LOST = "the profiled window is lost: {}, and the profiled thread did not end it"

USERS: dict[str, list[int]] = {  # calls of addmm in each trace of the user's: two a step
    "long wait": [4],
    "warming up when ours is prepared": 4 * [4],
    "long warm-up": 5 * [4],
    "recording when ours is prepared": [*5 * [4], 0],
    "starting in our window": 4 * [8],
    "no room for ours": 13 * [2],
    "always warming up or recording": 20 * [2],
    "from before our window into it": [8],
    "from within our window": [10],
    "while ours warms up": [12],
    "around the block": [80],
    "another thread's": [1],
    "another thread's, waited for": [1],
}
OURS: dict[str, tuple[int, set[str]]] = {  # calls of addmm in our trace, and what it says
    "long wait": (4, set()),
    "no room for ours": (0, {WAITED}),
    "always warming up or recording": (0, {WAITED}),
    "from before our window into it": (4, {WAITED}),
    "from within our window": (2, {CUT}),
    "while ours warms up": (4, {WAITED}),
    "around the block": (0, {WAITED}),
    "another thread's, waited for": (0, {LOST.format("another profiler was started")}),
    "training in a thread": (4, set()),
    "training thread gone": (0, {LOST.format("the block ended")}),
}


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, Any]]:
    """One process runs all cases, so that a crash in one is one failure here and ends nothing else."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", "tests.capture.other_profilers"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cases: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return cases


@pytest.mark.parametrize("case", USERS)
def test_the_users_trace_is_complete(case: str, results: dict[str, dict[str, Any]]) -> None:
    assert results[case]["user"] == USERS[case]


@pytest.mark.parametrize("case", OURS)
def test_ours_waits_or_says_why_it_is_short(case: str, results: dict[str, dict[str, Any]]) -> None:
    addmm, notes = OURS[case]
    assert (results[case]["addmm"], set(results[case]["notes"])) == (addmm, notes)


@pytest.mark.parametrize(
    "case", ["warming up when ours is prepared", "long warm-up", "recording when ours is prepared"]
)
def test_ours_finds_a_gap_in_a_schedule_that_repeats(case: str, results: dict[str, dict[str, Any]]) -> None:
    assert results[case]["addmm"] >= 2
    assert WAITED in results[case]["notes"]


def test_a_profiler_works_after_each_of_them(results: dict[str, dict[str, Any]]) -> None:
    assert {case["afterwards"] for case in results.values()} == {2}


def test_no_profiler_of_the_users_fails(results: dict[str, dict[str, Any]]) -> None:
    assert [case["errors"] for case in results.values() if "errors" in case] == [[], []]
