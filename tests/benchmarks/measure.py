"""What a process costs, from its start to its end: wall time, CPU time and peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.conftest import REPOSITORY

__all__ = ["Cost", "costs", "medians", "report_command"]

_MAXRSS_BYTE = 1 if sys.platform == "darwin" else 1024
"""Unit of ``ru_maxrss`` (getrusage(2): kilobytes on Linux, bytes on macOS)."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process, its children included."""

    wall_s: float
    cpu_s: float
    """User and system time."""
    peak_byte: int
    """Largest resident set of any one of them. The parent's own counts as well until the process begins, so
    the parent must stay small."""


def costs(schedule: Iterable[tuple[str, Sequence[str]]]) -> dict[str, list[Cost]]:
    """Run the commands of a schedule in its order, and give the costs of each label.

    Runs to be compared should take turns (A B A B ...), so that a slow moment of the machine meets both.

    Raises:
        AssertionError: a command fails.

    """
    result = defaultdict(list)
    for label, command in schedule:
        result[label].append(_cost(command))
    return dict(result)


def medians(schedule: Iterable[tuple[str, Sequence[str]]]) -> dict[str, Cost]:
    """``costs``, and of each label's the median, time by time."""
    return {
        label: Cost(
            wall_s=median(cost.wall_s for cost in found),
            cpu_s=median(cost.cpu_s for cost in found),
            peak_byte=int(median(cost.peak_byte for cost in found)),
        )
        for label, found in costs(schedule).items()
    }


def report_command(trace: Path) -> list[str]:
    """``python -m mfu_profiler report``, printing to the terminal (which is nowhere here)."""
    return [sys.executable, "-m", "mfu_profiler", "report", str(trace)]


def _cost(command: Sequence[str]) -> Cost:
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"exit status {process.returncode}: {' '.join(command)}"
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _MAXRSS_BYTE)
