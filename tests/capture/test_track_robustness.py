"""What users do around a tracked training: it goes on, and one warning says what is not tracked."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import mfu_profiler
from mfu_profiler.capture.run import Run

from .training import QUICK, STEPS, mlp_training, report_of, train_to_the_end

pytestmark = pytest.mark.usefixtures("nothing_is_left")
Warnings = Callable[[], list[str]]


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
    runs = [train_to_the_end(tmp_path, report="never")[0] for _ in range(2)]
    assert len({run.trace_path for run in runs}) == 2
    assert warnings_of() == []


def test_a_block_in_a_thread_that_is_not_the_main_one(tmp_path: Path, warnings_of: Warnings) -> None:
    runs: list[Run] = []
    thread = threading.Thread(target=lambda: runs.append(train_to_the_end(tmp_path)[0]))
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
    out = {"a file": file, "below a file": file / "traces", "a place for no files": Path("/proc/traces")}[
        where
    ]
    run, steps = train_to_the_end(out)
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
    run, _ = train_to_the_end("traces")
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
        assert train_to_the_end(file)[1] == STEPS
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("stream", ["closed", "none"])
def test_a_closed_stderr_does_not_reach_the_training(
    stream: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = open(os.devnull, "w")  # noqa: SIM115 - closed in the next line
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed if stream == "closed" else None)
    run, steps = train_to_the_end(tmp_path, quiet=False)
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
