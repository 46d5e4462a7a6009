"""What ``__all__`` promises: names that exist, functions and classes that explain themselves."""

from __future__ import annotations

import inspect
import json
import pkgutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import mfu_profiler
from mfu_profiler.errors import MfuProfilerError, SeveralReportsError

MODULES = [
    "mfu_profiler",
    *(
        module.name
        for module in pkgutil.walk_packages(mfu_profiler.__path__, "mfu_profiler.")
        if not module.name.endswith("__main__")
    ),
]
USED_BY_MODULE = ("mfu_profiler.trace", "mfu_profiler.cli", "mfu_profiler.analysis.replay")
PACKAGES = [name for name in MODULES if hasattr(import_module(name), "__path__")]


@pytest.mark.parametrize("name", MODULES)
def test_every_name_in_all_exists(name: str) -> None:
    module = import_module(name)
    names = getattr(module, "__all__", [])
    assert len(set(names)) == len(names)
    for exported in names:
        assert hasattr(module, exported), exported


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_says_what_is_public(name: str) -> None:
    module = import_module(name)
    assert module.__doc__
    if name not in USED_BY_MODULE and not name.startswith("mfu_profiler.capture."):
        assert module.__all__


@pytest.mark.parametrize("name", MODULES)
def test_public_functions_have_docstrings(name: str) -> None:
    module = import_module(name)
    for exported in getattr(module, "__all__", []):
        value: Any = getattr(module, exported)
        if inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name}.{exported}"


def test_the_package_lists_its_names_without_importing_them() -> None:
    assert dir(mfu_profiler) == sorted(mfu_profiler.__all__)
    with pytest.raises(AttributeError, match="no attribute 'analyse'"):
        mfu_profiler.analyse  # noqa: B018


def two_devices(path: Path) -> Path:
    """A trace of one process with two devices."""
    events = [
        event
        for device in (0, 1)
        for event in (
            {
                "ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 1, "tid": 1,
                "ts": 5 * device, "dur": 2, "args": {"correlation": device + 1},
            },
            {
                "ph": "X", "cat": "kernel", "name": "gemm", "pid": device, "tid": 7, "ts": 10, "dur": 20,
                "args": {"correlation": device + 1, "device": device, "stream": 7},
            },
        )
    ]  # fmt: skip
    path.write_text(json.dumps({"traceEvents": events}))
    return path


def test_analyze_all_gives_one_report_per_device(tmp_path: Path) -> None:
    reports = mfu_profiler.analyze_all(two_devices(tmp_path / "trace.json"))
    assert [report.device.index for report in reports] == [0, 1]


def test_analyze_refuses_several_devices_and_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SeveralReportsError, match="2 ranks or devices") as caught:
        mfu_profiler.analyze(two_devices(tmp_path / "trace.json"))
    assert isinstance(caught.value, MfuProfilerError)
    assert any("analyze_all" in hint for hint in caught.value.hints)
