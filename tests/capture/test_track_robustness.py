"""Whatever goes wrong around a tracked training: it goes on, one warning says so, and the trace is kept."""

from __future__ import annotations

import errno
import gc
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="recording needs torch")

from torch.profiler.profiler import _KinetoProfile  # noqa: E402

import mfu_profiler  # noqa: E402
from mfu_profiler.capture.handover import Finisher  # noqa: E402
from mfu_profiler.capture.run import Run  # noqa: E402

from .training import QUICK, STEPS, mlp_training, report_of, tracked  # noqa: E402


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """No profiler, hook or thread of ours outlives a block, however it went."""
    enter = torch.profiler.record_function.__enter__
    yield
    assert not torch._C._autograd._profiler_enabled()
    assert torch.profiler.record_function.__enter__ is enter
    assert [thread.name for thread in threading.enumerate() if "mfu_profiler" in thread.name] == []


@pytest.fixture
def warnings_of(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records if record.name == "mfu_profiler"]


Warnings = Callable[[], list[str]]


def train(folder: object, **settings: Any) -> tuple[Run, int]:
    """A tracked training, and how many steps it made."""
    model, step = mlp_training()
    done = [0]

    def counted() -> None:
        step()
        done[0] += 1

    with mfu_profiler.track(model, out=str(folder), **{**QUICK, **settings}) as run:
        for _ in range(STEPS):
            counted()
    return run, done[0]


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


# Several blocks ---------------------------------------------------------------------------------


def test_a_nested_block_is_not_tracked_and_says_so(tmp_path: Path, warnings_of: Warnings) -> None:
    model, step = mlp_training()
    with mfu_profiler.track(model, out=tmp_path, **QUICK) as outer:
        for _ in range(5):
            step()
        with mfu_profiler.track(model, out=tmp_path, **QUICK) as inner:
            for _ in range(5):
                step()
    assert (inner.report, inner.trace_path, inner.metrics()) == (None, None, {})
    assert len(report_of(outer).windows) == 2
    assert warnings_of() == ["another block of this process is tracked already; this one is not"]


def test_a_second_block_in_another_thread_is_not_tracked(tmp_path: Path, warnings_of: Warnings) -> None:
    seen = []

    def second() -> None:
        model, step = mlp_training()
        with mfu_profiler.track(model, out=tmp_path, **QUICK) as run:
            step()
        seen.append(run.trace_path)

    model, step = mlp_training()
    with mfu_profiler.track(model, out=tmp_path, **QUICK) as run:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        for _ in range(STEPS):
            step()
    assert seen == [None]
    assert len(report_of(run).windows) == 2
    assert len(warnings_of()) == 1


def test_one_block_after_another_is_tracked(tmp_path: Path, warnings_of: Warnings) -> None:
    runs = [train(tmp_path, report="never")[0] for _ in range(2)]
    assert len({run.trace_path for run in runs}) == 2
    assert warnings_of() == []


def test_a_block_in_a_thread_that_is_not_the_main_one(tmp_path: Path, warnings_of: Warnings) -> None:
    runs: list[Run] = []
    thread = threading.Thread(target=lambda: runs.append(train(tmp_path)[0]))
    thread.start()
    thread.join()
    assert len(report_of(runs[0]).windows) == 2
    assert warnings_of() == []


# The folder -------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["a file", "below a file", "a place for no files"])
def test_a_folder_that_cannot_be_written_costs_the_trace_alone(
    where: str, tmp_path: Path, warnings_of: Warnings
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    out = {"a file": file, "below a file": file / "traces", "a place for no files": Path("/proc/traces")}[where]
    run, steps = train(out)
    assert (steps, run.report, run.trace_path) == (STEPS, None, None)
    assert run.metrics()["steps"] == STEPS and "mfu" in run.metrics(), "the live line is there"
    assert len(warnings_of()) == 1 and warnings_of()[0].startswith("nothing is recorded: ")
    assert file.read_text() == "mine"


def test_a_relative_folder_is_where_the_block_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    model, step = mlp_training()
    with mfu_profiler.track(model, out="traces", **QUICK) as run:
        os.chdir("elsewhere")
        for _ in range(STEPS):
            step()
    assert run.trace_path is not None and run.trace_path.parent == tmp_path / "traces"
    assert run.report is not None
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_modules_of_the_users_folder_do_not_disturb_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_of: Warnings
) -> None:
    for name in ("json", "gzip", "numpy", "typer", "rich", "queue"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not yours')")
    monkeypatch.chdir(tmp_path)
    run, _ = train("traces")
    assert run.report is not None
    assert warnings_of() == []


# The disk ---------------------------------------------------------------------------------------


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_kineto_that_only_logs_a_full_disk_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_of: Warnings
) -> None:
    monkeypatch.setattr(_KinetoProfile, "export_chrome_trace", lambda self, path: None)
    run, steps = train(tmp_path)
    assert (steps, run.report, run.trace_path) == (STEPS, None, None)
    assert len(warnings_of()) == 1 and warnings_of()[0].startswith("no trace: it cannot be written: ")
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("owner", [_KinetoProfile, Finisher], ids=["at the export", "at the hand-over"])
def test_a_full_disk_costs_the_trace_alone(
    owner: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_of: Warnings
) -> None:
    monkeypatch.setattr(owner, "export_chrome_trace" if owner is _KinetoProfile else "start", no_space)
    run, steps = train(tmp_path)
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
    run, steps = train(tmp_path)
    assert steps == STEPS
    assert report_of(run).trace.truncated
    assert hidden(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that holds torch's export (some 150 kB), and little beside it."""
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
    _, steps = train(small_disk)
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
    run, steps = train(tmp_path)
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
    run, steps = train(folder)
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
    run, _ = train(tmp_path / "traces")
    assert run.report is None and run.trace_path is not None
    assert len(warnings_of()) == 1 and "mfu_profiler.analysis" in warnings_of()[0]


def test_warnings_that_are_errors_do_not_reach_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_of: Warnings
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import warnings; warnings.warn('old', DeprecationWarning)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    run, _ = train(tmp_path / "traces")
    assert run.report is not None
    assert warnings_of() == []


# What else users do -----------------------------------------------------------------------------


class Raises(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise ValueError("a misconfigured handler")


def test_a_log_handler_that_raises_does_not_reach_the_training(tmp_path: Path) -> None:
    logger, handler = logging.getLogger("mfu_profiler"), Raises()
    logger.addHandler(handler)
    file = tmp_path / "file"
    file.write_text("")
    try:
        with mfu_profiler.track(), mfu_profiler.track():
            pass
        assert train(file)[1] == STEPS
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("stream", ["closed", "none"])
def test_a_closed_stderr_does_not_reach_the_training(
    stream: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = open(os.devnull, "w")  # noqa: SIM115 - closed in the next line
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed if stream == "closed" else None)
    run, steps = train(tmp_path, quiet=False)
    assert steps == STEPS and run.report is not None


def test_a_model_that_is_deleted_in_the_block_leaves_its_report(tmp_path: Path) -> None:
    model, step = mlp_training()
    block = mfu_profiler.track(model, out=tmp_path, **QUICK)
    with block as run:
        for _ in range(STEPS):
            step()
        del model, step, block
        gc.collect()
    assert report_of(run).flop.model_per_step is not None


def test_what_is_kept_of_a_failed_report_is_a_trace_for_any_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    path = tracked(*mlp_training(), tmp_path).trace_path
    assert path is not None
    with gzip.open(path) as file:
        assert {"traceEvents", "mfu_profiler"} <= set(json.load(file))
