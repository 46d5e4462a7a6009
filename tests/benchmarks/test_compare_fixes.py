"""What ``compare`` names first for the pairs in ``examples/fixes``, each run once in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.cli.main import main

from .test_fixes import report

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize(
    ("script", "cause", "gone"),
    [
        ("slow_loader", "idle_data_loading", "data_loading"),
        ("per_tensor_optimizer", "other_kernels", "optimizer"),
        ("attention_by_hand", "other_kernels", "attention"),
        ("needless_work", "other_kernels", "reading_back"),
    ],
)
def test_the_cause_that_the_fix_takes_away_has_changed_most(
    script: str, cause: str, gone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = compared(script, tmp_path, capsys)
    assert pair["causes"][0]["cause"] == cause and pair["causes"][0]["change_s"] < 0, pair["causes"]
    assert gone in {one["code"] for one in pair["findings"] if not one["is_new"]}
    assert pair["verdict"] == "faster" and pair["work_ratio"] == 1


def test_a_larger_batch_is_more_useful_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = compared("tiny_batches", tmp_path, capsys)
    assert pair["causes"][0]["cause"] == "mfu" and pair["causes"][0]["change_s"] > 0
    assert pair["verdict"] == "slower" and pair["work_ratio"] == pytest.approx(32)
    assert pair["b"]["step"]["reported_s"] / 32 < pair["a"]["step"]["reported_s"]


def compared(script: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """The comparison of a script and its fix, as JSON."""
    pytest.importorskip("torch", reason="training needs torch")
    places = []
    for name, flags in (("before", ()), ("after", ("--fixed",))):
        place = folder / f"{name}.json"
        place.write_text(json.dumps(report(script, folder, *flags)))
        places.append(str(place))
    assert main(["compare", *places, "--json", "-"]) == 0
    [pair] = json.loads(capsys.readouterr().out)["pairs"]
    return pair
