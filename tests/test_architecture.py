"""The import direction of the package (design.md, section 3), read from its source."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mfu_profiler"

EVERYBODYS = {"errors", "units", "version", "kernel_names"}
"""Top-level helpers: anybody may import them, and they import nothing of the package."""

MAY_IMPORT: dict[str, set[str]] = {
    **{helper: set() for helper in EVERYBODYS},
    "hardware": set(),
    "flops": set(),
    "trace": set(),
    "analysis": {"hardware", "flops", "trace"},
    "render": {"analysis"},
    "capture": {"hardware", "flops", "trace", "analysis", "render"},
    "cli": {"hardware", "flops", "trace", "analysis", "render", "capture"},
    "testing": {"analysis", "render"},
    "__main__": {"cli"},
    "__init__": {"analysis", "capture"},
}
"""Beside the helpers and itself."""

MODULES = sorted(PACKAGE.glob("**/*.py"))


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it leads"
            assert node.module is not None
            yield node.module
            if node.module == "mfu_profiler":
                yield from (f"mfu_profiler.{alias.name}" for alias in node.names)


SHOWS_ITSELF = ("analysis/report.py", "render")
"""The one import against the direction, made when it is used: a report shows itself in a notebook."""


def part_of(module: str) -> str:
    """``mfu_profiler.trace.reader`` -> ``trace``."""
    return module.split(".")[1] if "." in module else "__init__"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_its_folder_may(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    allowed = MAY_IMPORT[own] | EVERYBODYS | {own}
    if own in EVERYBODYS:
        allowed = {own}
    used = {part_of(name) for name in imports(path) if name.split(".")[0] == "mfu_profiler"}
    if own == "__init__":
        used -= {"__init__"}
    if str(path.relative_to(PACKAGE)) == SHOWS_ITSELF[0]:
        used -= {SHOWS_ITSELF[1]}
    assert used - {"__init__"} <= allowed


def test_every_folder_and_helper_has_its_rule() -> None:
    found = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert found <= set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_torch(path: Path) -> None:
    """It costs seconds and 200 MB. ``capture/`` is the only layer that may."""
    if path.relative_to(PACKAGE).parts[0] != "capture":
        assert "torch" not in {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_analysis_and_flops_neither_print_nor_read_files(path: Path) -> None:
    """A function reads, computes or writes, one of the three."""
    if path.relative_to(PACKAGE).parts[0] in ("analysis", "flops"):
        called = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"print", "open", "input"}


TINY_TRACE = {
    "schemaVersion": 1,
    "traceEvents": [
        {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1, "tid": 1, "ts": 0, "dur": 10},
        {
            "ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 1, "tid": 1,
            "ts": 2, "dur": 3, "args": {"correlation": 7},
        },
        {
            "ph": "X", "cat": "kernel", "name": "gemm", "pid": 0, "tid": 7,
            "ts": 8, "dur": 20, "args": {"correlation": 7, "device": 0, "stream": 7},
        },
    ],
}  # fmt: skip


@pytest.mark.parametrize("command", ["report", "--help"])
def test_the_command_line_never_imports_torch(command: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    trace.write_text(json.dumps(TINY_TRACE))
    arguments = [command, *([str(trace)] if command == "report" else [])]
    program = (
        "import sys\n"
        "from mfu_profiler.cli.main import main\n"
        "try:\n"
        f"    status = main({arguments!r})\n"
        "except SystemExit as end:\n"
        "    status = end.code\n"
        "assert not status, status\n"
        "assert 'mfu_profiler.cli.main' in sys.modules and 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PACKAGE.parent, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_python_m_runs_the_command_line(tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    trace.write_text(json.dumps(TINY_TRACE))
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mfu_profiler", "report", str(trace)],
        cwd=PACKAGE.parent, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "mfu_profiler.analysis" in loaded and "torch" not in loaded
