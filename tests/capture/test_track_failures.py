"""Disk, profiler or analysis fail: training goes on, one warning says so, what there is is kept."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.profiler.profiler import _KinetoProfile

import mfu_profiler
from mfu_profiler.capture.profile.handover import Finisher

from .training import STEPS, mlp_training, report_of, tracked, train_to_the_end

pytestmark = pytest.mark.usefixtures("nothing_is_left")
Warnings = Callable[[], list[str]]


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


# The disk ---------------------------------------------------------------------------------------


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_kineto_that_only_logs_a_full_disk_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_of: Warnings
) -> None:
    monkeypatch.setattr(_KinetoProfile, "export_chrome_trace", lambda self, path: None)
    run, steps = train_to_the_end(tmp_path)
    assert (steps, run.report, run.trace_path) == (STEPS, None, None)
    assert len(warnings_of()) == 1 and warnings_of()[0].startswith("no trace: it cannot be written: ")
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("owner", [_KinetoProfile, Finisher], ids=["at the export", "at the hand-over"])
def test_a_full_disk_costs_the_trace_alone(
    owner: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_of: Warnings
) -> None:
    monkeypatch.setattr(owner, "export_chrome_trace" if owner is _KinetoProfile else "start", no_space)
    run, steps = train_to_the_end(tmp_path)
    assert (steps, run.report, run.trace_path) == (STEPS, None, None)
    assert warnings_of() == ["no trace: it cannot be written: [Errno 28] No space left on device"]
    assert hidden(tmp_path) == []


def test_a_trace_that_a_full_disk_cut_is_kept_and_reported_up_to_the_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_of: Warnings
) -> None:
    export = _KinetoProfile.export_chrome_trace

    def cut(self: _KinetoProfile, path: str) -> None:
        export(self, path)
        os.truncate(path, os.path.getsize(path) * 2 // 3)

    monkeypatch.setattr(_KinetoProfile, "export_chrome_trace", cut)
    run, steps = train_to_the_end(tmp_path)
    assert steps == STEPS
    assert report_of(run).trace.truncated
    assert hidden(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system too small for torch's export of some 150 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full_does_not_end_the_training(
    small_disk: Path, warnings_of: Warnings
) -> None:
    _, steps = train_to_the_end(small_disk)
    assert steps == STEPS
    assert len(warnings_of()) == 1


# The profiler -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["prepare_trace", "start_trace", "stop_trace"])
def test_a_profiler_that_fails_leaves_the_times_and_the_flop(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_of: Warnings
) -> None:
    original = getattr(_KinetoProfile, method)

    def fails(self: _KinetoProfile) -> None:
        if method == "stop_trace":
            original(self)
        raise RuntimeError("CUPTI_ERROR_INSUFFICIENT_PRIVILEGES\nand more lines")

    monkeypatch.setattr(_KinetoProfile, method, fails)
    run, steps = train_to_the_end(tmp_path)
    assert steps == STEPS
    assert len(warnings_of()) == 1 and warnings_of()[0].startswith("nothing is profiled: ")
    assert warnings_of()[0].endswith("CUPTI_ERROR_INSUFFICIENT_PRIVILEGES")
    report = report_of(run)
    assert report.partition is None and report.mfu is not None
    assert any("CUPTI_ERROR_INSUFFICIENT_PRIVILEGES" in note for note in report.notes)
    monkeypatch.undo()
    with torch.profiler.profile():
        pass


# The report's process ---------------------------------------------------------------------------


def broken_interpreter(tmp_path: Path, status: str) -> str:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\necho 'no module named anything' >&2\n{status}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("executable", ["/nonexistent/python", "", None, "exit 1", "kill -9 $$"])
def test_a_report_that_cannot_be_made_leaves_the_whole_trace(
    executable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_of: Warnings
) -> None:
    if executable and " " in executable:
        executable = broken_interpreter(tmp_path, executable)
    monkeypatch.setattr(sys, "executable", executable)
    folder = tmp_path / "traces"
    run, steps = train_to_the_end(folder)
    assert (steps, run.report) == (STEPS, None)
    assert run.trace_path is not None and hidden(folder) == []
    assert len(warnings_of()) == 1
    assert warnings_of()[0].startswith("no report: ")
    assert warnings_of()[0].endswith(f"the trace is kept: {run.trace_path}")
    assert mfu_profiler.analyze(run.trace_path).partition is not None


def test_an_analysis_that_fails_leaves_the_whole_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_of: Warnings
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['mfu_profiler.analysis'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    run, _ = train_to_the_end(tmp_path / "traces")
    assert run.report is None and run.trace_path is not None
    assert len(warnings_of()) == 1 and "mfu_profiler.analysis" in warnings_of()[0]


def test_warnings_that_are_errors_do_not_reach_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_of: Warnings
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import warnings; warnings.warn('old', DeprecationWarning)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    run, _ = train_to_the_end(tmp_path / "traces")
    assert run.report is not None
    assert warnings_of() == []


def test_what_is_kept_of_a_failed_report_is_a_trace_for_any_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    path = tracked(*mlp_training(), tmp_path).trace_path
    assert path is not None
    with gzip.open(path) as file:
        assert {"traceEvents", "mfu_profiler"} <= set(json.load(file))
