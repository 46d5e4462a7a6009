"""Scripts run in processes of their own: by plain python, and by the ``run`` command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
QUICK = ("--warmup", "0", "--timed", "2", "--active", "2", "--peak-tflops", "1")
"""Untouched 1, counted 2, timed 3 and 4, prepared 5, profiled 6 and 7."""
_NOT_OF_THE_SCRIPT = ("USDT:", "mfu_profiler: ")


@dataclass(frozen=True)
class Ended:
    """What a process leaves."""

    status: int
    out: bytes
    err: str

    @property
    def own_err(self) -> list[str]:
        """Lines of stderr without Kineto's and ours."""
        return [line for line in self.err.splitlines() if not line.startswith(_NOT_OF_THE_SCRIPT)]


def plain(folder: Path, *words: str) -> Ended:
    """``python WORDS``."""
    return process(folder, [sys.executable, *words])


def run(folder: Path, *words: str, options: Sequence[str] = ()) -> Ended:
    """``python -m mfu_profiler run OPTIONS WORDS``."""
    return process(folder, [sys.executable, "-m", "mfu_profiler", "run", *options, *words])


def process(folder: Path, words: Sequence[str]) -> Ended:
    """Runs in a folder; nothing installed is needed."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, timeout=120)
    return Ended(done.returncode, done.stdout, done.stderr.decode())


def same(folder: Path, *words: str) -> Ended:
    """The script's end under ``run``, after it was held against plain python's."""
    expected, found = plain(folder, *words), run(folder, *words)
    assert found.out == expected.out
    assert found.own_err == expected.own_err
    assert found.status == expected.status
    return found
