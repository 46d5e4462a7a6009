"""What ``compare`` names first for the pairs in ``examples/fixes``; for itself, alone on the machine.

Other work on the machine makes one run of a pair slower, a difference as well: most of some pairs count.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mfu_profiler.analysis.comparing.compare import comparison
from mfu_profiler.analysis.comparing.comparison import PairComparison
from mfu_profiler.analysis.saved import saved_reports
from mfu_profiler.render.comparing.words import headline_sentence

from .test_fixes import TINY_TO_FIXED, report

RUNS = 3
MOST = 2

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize(
    ("script", "cause", "gone"),
    [
        ("slow_loader", "data loading", None),  # on two cores the workers still keep a step waiting
        ("per_tensor_optimizer", "other kernels", "optimizer"),
        ("attention_by_hand", "other kernels", "attention"),
        ("needless_work", "other kernels", "reading_back"),
    ],
)
def test_the_cause_that_a_fix_takes_away_is_named_first(
    script: str, cause: str, gone: str | None, tmp_path: Path
) -> None:
    pairs = compared(script, tmp_path)
    sentences = [headline_sentence(pair) for pair in pairs]
    assert sum(f" faster: {cause} " in sentence for sentence in sentences) >= MOST, sentences
    lost = [{one.code for one in pair.findings if not one.is_new} for pair in pairs]
    assert gone is None or sum(gone in codes for codes in lost) >= MOST, lost
    assert {pair.work_ratio for pair in pairs} == {1.0}


def test_a_larger_batch_is_more_useful_work(tmp_path: Path) -> None:
    pairs = compared("tiny_batches", tmp_path)
    sentences = [headline_sentence(pair) for pair in pairs]
    assert sum(" slower: useful work at peak " in sentence for sentence in sentences) >= MOST, sentences
    assert [pair.work_ratio for pair in pairs] == [pytest.approx(TINY_TO_FIXED)] * RUNS


def compared(script: str, folder: Path) -> list[PairComparison]:
    """A script and its fix, run in turns."""
    pytest.importorskip("torch", reason="training needs torch")
    pairs = []
    for _ in range(RUNS):
        runs = [json.dumps(report(script, folder, *flags)).encode() for flags in ((), ("--fixed",))]
        pairs += comparison([(script, saved_reports(run, script)) for run in runs]).pairs
    return pairs
