"""Start-up: the help appears at once, and torch is never imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.conftest import Figures
from tests.benchmarks.measure import medians
from tests.conftest import REPOSITORY

MOST_S = 0.5


@pytest.mark.benchmark
def test_the_help_appears_within_half_a_second(figures: Figures) -> None:
    command = [sys.executable, "-m", "mfu_profiler", "--help"]
    python = [sys.executable, "-c", ""]
    cost = medians([("help", command), ("python", python)] * 7)
    seconds, bare = cost["help"].wall_s, cost["python"].wall_s
    figures.add("--help", "", f"{seconds:.2f} s", f"{bare:.2f} s (bare python)", "", f"at most {MOST_S:g} s")
    assert seconds <= MOST_S


@pytest.mark.parametrize("words", [["--help"], ["report", "--help"], ["report", "trace.json"]], ids=" ".join)
def test_the_command_line_never_imports_torch(tmp_path: Path, words: list[str]) -> None:
    """An empty package named torch stands before any real one, so that each import of it would succeed."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    (tmp_path / "trace.json").write_text(
        '{"traceEvents": ['
        '{"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1, "tid": 1, "ts": 1, "dur": 2, "args": {}},'
        '{"ph": "X", "cat": "kernel", "name": "gemm", "pid": 0, "tid": 7, "ts": 2, "dur": 2, "args": {}}'
        "]}"
    )
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mfu_profiler", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\| +typer$", done.stderr, re.MULTILINE), "the list of imports is absent"
    assert not re.search(r"\| +torch\b", done.stderr)
