"""What the findings predict for the pairs in ``examples/fixes``, against what their fixes achieve.

Each run is a process of its own; before and after take turns. The pairs' table is Markdown.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from mfu_profiler.units import time_text
from tests.conftest import REPOSITORY

RUNS = 5
MOST_OFF = 0.15
TINY_TO_FIXED = 32
"""Samples of a fixed step of ``tiny_batches``; the other has one."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

pytestmark = pytest.mark.benchmark


@dataclass(frozen=True, slots=True)
class Outcome:
    """Step times of one pair of runs, in s."""

    before_s: float
    predicted_s: float
    achieved_s: float

    @property
    def error(self) -> float:
        """Of the prediction, as a fraction of what was achieved."""
        return self.predicted_s / self.achieved_s - 1


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Its rows are printed once all pairs have run, whether or not every claim holds."""
    rows = ["| pair | before | predicted | achieved | error |", "|---|---|---|---|---|"]
    yield rows
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    assert reporter is not None
    reporter.write_line("")
    for row in rows:
        reporter.write_line(row)


def report(script: str, folder: Path, *flags: str) -> dict[str, Any]:
    """The report of one run in a process of its own."""
    target = folder / "report.json"
    subprocess.run(
        [
            *(sys.executable, str(REPOSITORY / "examples" / "fixes" / f"{script}.py"), *flags),
            *("--report", str(target), "--out", str(folder / "traces")),
        ],
        check=True,
        cwd=REPOSITORY,
        env=os.environ | ONE_THREAD,
        capture_output=True,
    )
    content: dict[str, Any] = json.loads(target.read_text())
    target.unlink()
    return content


def outcome(script: str, code: str, folder: Path) -> Outcome:
    """One pair of runs."""
    pytest.importorskip("torch", reason="training needs torch")
    before, after = report(script, folder), report(script, folder, "--fixed")
    predicted = {finding["code"]: finding["step_time_after_s"] for finding in before["findings"]}
    assert predicted.get(code) is not None, f"{script}: no prediction of {code}, only {predicted}"
    return Outcome(before["step_time_s"], predicted[code], after["step_time_s"])


def outcomes(script: str, code: str, folder: Path, table: list[str]) -> list[Outcome]:
    """Five pairs of runs, and their row of the table: medians, and the median size of the error."""
    found = [outcome(script, code, folder) for _ in range(RUNS)]
    cells = [
        time_text(median(times))
        for times in zip(*((one.before_s, one.predicted_s, one.achieved_s) for one in found), strict=True)
    ]
    errors = ", ".join(f"{one.error:+.0%}" for one in found)
    table.append(f"| `{script}` | {' | '.join(cells)} | {size_of_error(found):.0%} ({errors}) |")
    return found


def size_of_error(found: list[Outcome]) -> float:
    return median(abs(one.error) for one in found)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("slow_loader", "data_loading"),
        ("per_tensor_optimizer", "optimizer"),
        ("needless_work", "reading_back"),
    ],
)
def test_a_prediction_is_within_15_percent_of_what_the_fix_achieves(
    script: str, code: str, tmp_path: Path, table: list[str]
) -> None:
    found = outcomes(script, code, tmp_path, table)
    assert size_of_error(found) <= MOST_OFF, found


def test_a_prediction_has_the_direction_of_what_the_fix_achieves(tmp_path: Path, table: list[str]) -> None:
    found = outcomes("attention_by_hand", "attention", tmp_path, table)
    assert median(one.predicted_s / one.before_s for one in found) < 1, found
    assert median(one.achieved_s / one.before_s for one in found) < 1, found


def test_larger_batches_are_advised_where_they_take_less_time_per_sample(
    tmp_path: Path, table: list[str]
) -> None:
    """What a larger batch gives nothing recorded tells, so there is no step time to predict."""
    pytest.importorskip("torch", reason="training needs torch")
    before, after = report("tiny_batches", tmp_path), report("tiny_batches", tmp_path, "--fixed")
    advice = [line for finding in before["findings"] for line in finding["advice"]]
    assert any("a larger batch" in line for line in advice), before["findings"]
    before_s, after_s = before["step_time_s"], after["step_time_s"] / TINY_TO_FIXED
    assert after_s < before_s
    cells = f"{time_text(before_s)} | advised | {time_text(after_s)} | - |"
    table.append(f"| `tiny_batches`, per sample | {cells}")
