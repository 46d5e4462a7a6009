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
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

pytestmark = pytest.mark.benchmark


@dataclass(frozen=True, slots=True)
class Outcome:
    """Step times of one pair of runs, in s; those of the fixed run divided by its samples."""

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


def outcome(script: str, code: str, folder: Path, samples: int) -> Outcome:
    """One pair of runs; a fixed step trains on so many times the samples."""
    pytest.importorskip("torch", reason="training needs torch")
    before, after = report(script, folder), report(script, folder, "--fixed")
    predicted = {finding["code"]: finding["step_time_after_s"] for finding in before["findings"]}
    assert predicted.get(code) is not None, f"{script}: no prediction of {code}, only {predicted}"
    return Outcome(before["step_time_s"], predicted[code], after["step_time_s"] / samples)


def outcomes(script: str, code: str, folder: Path, table: list[str], samples: int = 1) -> list[Outcome]:
    """Five pairs of runs, and their row of the table: medians, and the median size of the error."""
    found = [outcome(script, code, folder, samples) for _ in range(RUNS)]
    cells = [
        time_text(median(times))
        for times in zip(*((one.before_s, one.predicted_s, one.achieved_s) for one in found), strict=True)
    ]
    name = f"`{script}`" if samples == 1 else f"`{script}`, per sample"
    errors = ", ".join(f"{one.error:+.0%}" for one in found)
    table.append(f"| {name} | {' | '.join(cells)} | {size_of_error(found):.0%} ({errors}) |")
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


@pytest.mark.parametrize(
    ("script", "code", "samples"), [("attention_by_hand", "attention", 1), ("tiny_batches", "host_bound", 32)]
)
def test_a_prediction_has_the_direction_of_what_the_fix_achieves(
    script: str, code: str, samples: int, tmp_path: Path, table: list[str]
) -> None:
    found = outcomes(script, code, tmp_path, table, samples)
    assert median(one.predicted_s / one.before_s for one in found) < 1, found
    assert median(one.achieved_s / one.before_s for one in found) < 1, found
