"""Long traces, made once and kept while the benchmarks run, and the table of figures at the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import REPOSITORY

collect_ignore = (
    [] if find_spec("torch") is not None else ["test_stack_sampler_cost.py", "test_track_cost.py"]
)

LongTrace = Callable[..., Path]


@dataclass(frozen=True, slots=True)
class Figures:
    """The rows of the table."""

    rows: list[tuple[str, ...]] = field(default_factory=lambda: [_HEADINGS])

    def add(self, what: str, trace: str, ours: str, yardstick: str, ratio: str, limit: str) -> None:
        """One measurement."""
        self.rows.append((what, trace, ours, yardstick, ratio, limit))


_HEADINGS = ("figure", "trace", "report", "yardstick", "ratio", "limit")
_FIGURES = Figures()


@pytest.fixture(scope="session")
def figures() -> Figures:
    """Where benchmarks leave what they measured."""
    return _FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if len(_FIGURES.rows) == 1:
        return
    widths = [max(len(cell) for cell in column) for column in zip(*_FIGURES.rows, strict=True)]
    terminalreporter.section("benchmark figures")
    for row in _FIGURES.rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        terminalreporter.write_line("  ".join(cells).rstrip())


@pytest.fixture(scope="session")
def long_trace(shared_dir: Path) -> Iterator[LongTrace]:
    """``long_trace(name, copies=None)``: a real trace repeated, by default to the size that claims are about.

    A process of its own makes it: a large parent would count as its children's memory (see ``measure.Cost``).
    """
    with TemporaryDirectory(prefix="mfu_profiler_benchmark_") as folder:

        def made(name: str, copies: int | None = None) -> Path:
            target = Path(folder, f"{name.replace('/', '_')}_{copies or 'long'}.json")
            if not target.exists():
                source = shared_dir / "traces" / f"{name}.json.gz"
                command = [sys.executable, "-m", "tests.benchmarks.repeat", str(source), str(target)]
                subprocess.run(
                    command + ([f"--copies={copies}"] if copies else []), cwd=REPOSITORY, check=True
                )
            return target

        yield made
