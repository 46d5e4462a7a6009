"""The ways to use ``track``, and what it prints: on stderr, never on stdout."""

from __future__ import annotations

import gc
import math
import re
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import mfu_profiler
from mfu_profiler.errors import OptionError

from .training import MLP_FLOP, QUICK, STEPS, Mlp, mlp_training

LOUD = {**QUICK, "quiet": False}
ALL = [".pt.trace.json.gz", ".report.html", ".report.json"]
"""Kinds of files that a run leaves in its folder."""


def written(folder: Path) -> list[str]:
    """Kinds of files, hidden ones too."""
    return sorted(
        next((ending for ending in ALL if path.name.endswith(ending)), path.name)
        for path in folder.glob("*")
        if path.is_file()
    )


def tracked(folder: Path, **settings: Any) -> mfu_profiler.Run:
    model, step = mlp_training()
    with mfu_profiler.track(model, out=folder, **{**QUICK, **settings}) as run:
        for _ in range(STEPS):
            step()
    return run


def test_what_is_printed_is_the_report_and_one_closing_line_on_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tracked(tmp_path, quiet=False)
    stdout, stderr = capfd.readouterr()
    assert stdout == ""
    lines = [line for line in stderr.splitlines() if line and not line.startswith("USDT:")]
    assert any(line.lstrip().startswith("MFU") for line in lines[:-1])
    assert lines[-1].startswith("mfu_profiler: 10 steps in ")
    assert re.search(r"; \S+ [µm]s each \(mean\); MFU \S+ % over the run; pauses: profiling ", lines[-1])
    page = str(run.trace_path).replace(".pt.trace.json.gz", ".report.html")
    assert lines[-1].endswith(f"; page: {page}; trace: {run.trace_path}")
    assert len([line for line in lines if line.startswith("mfu_profiler: ")]) == 1


def test_a_quiet_block_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = tracked(tmp_path)
    stdout, stderr = capfd.readouterr()
    assert run.report is not None
    assert (stdout, [line for line in stderr.splitlines() if not line.startswith("USDT:")]) == ("", [])


def test_the_report_comes_now_while_training_goes_on(tmp_path: Path) -> None:
    model, step = mlp_training()
    with mfu_profiler.track(model, out=tmp_path, **QUICK) as run:
        for _ in range(1, 10):
            assert run.report is None, "before the steps are profiled"
            assert run.trace_path is None
            step()
        step()
        assert run.report is not None, "waited for"
        assert written(tmp_path) == ALL
        step()


def test_the_report_comes_at_the_exit_where_that_is_asked(tmp_path: Path) -> None:
    model, step = mlp_training()
    with mfu_profiler.track(model, out=tmp_path, report="exit", **QUICK) as run:
        for _ in range(STEPS):
            step()
        assert run.report is None
        assert not list(tmp_path.glob("*.gz"))
    assert run.report is not None
    assert written(tmp_path) == ALL


def test_the_report_never_comes_where_that_is_asked_but_the_trace_does(tmp_path: Path) -> None:
    run = tracked(tmp_path, report="never")
    assert run.report is None
    assert written(tmp_path) == [".pt.trace.json.gz"]
    assert run.trace_path is not None
    assert mfu_profiler.analyze(run.trace_path).partition is not None


def test_a_decorated_function_returns_what_it_returned_and_each_call_is_a_run(tmp_path: Path) -> None:
    model, step = mlp_training()

    @mfu_profiler.track(model, out=tmp_path, **QUICK)
    def train(steps: int, *, name: str = "") -> str:
        """Trains."""
        for _ in range(steps):
            step()
        return f"{name} {steps}"

    assert (train.__name__, train.__doc__) == ("train", "Trains.")
    assert [train(3, name="short"), train(STEPS, name="long")] == ["short 3", "long 10"]
    assert written(tmp_path) == sorted(2 * ALL)


def test_start_and_stop_span_the_cells_of_a_notebook(tmp_path: Path) -> None:
    model, step = mlp_training()
    run = mfu_profiler.track(model, out=tmp_path, **QUICK).start()
    for _ in range(STEPS):
        step()
    run.stop()
    assert run.report is not None and run.report.steps.unprofiled_count == 2
    run.stop()  # a cell that is run twice
    assert written(tmp_path) == ALL


def test_a_run_can_be_started_again_after_its_stop(tmp_path: Path) -> None:
    model, step = mlp_training()
    run = mfu_profiler.track(model, out=tmp_path, **QUICK)
    for _ in range(2):
        run.start()
        step()
        run.stop()
    assert len(list(tmp_path.glob("*.gz"))) == 2
    assert run.report is not None


def test_a_step_that_the_user_ends_overrides_what_is_seen(tmp_path: Path) -> None:
    model, step = mlp_training()
    with mfu_profiler.track(model, out=tmp_path, **QUICK) as run:
        for _ in range(STEPS):
            step()
            step()  # an optimizer step that is half of a step
            run.step()
    assert run.metrics()["steps"] == STEPS + 1, "the first half of the first, before the user said anything"
    assert run.report is not None
    assert [window.label for window in run.report.windows] == ["ProfilerStep#7", "ProfilerStep#8"]
    assert run.report.flop.model_per_step == 2 * MLP_FLOP


def slow_batches(seconds: float) -> Iterator[Any]:
    """A loader that records no event of its own."""
    while True:
        time.sleep(seconds)
        yield torch.randn(4, 8)


@pytest.mark.parametrize("form", ["context", "iterator"])
def test_data_marks_the_wait_for_a_loader_of_ones_own(form: str, tmp_path: Path) -> None:
    model = Mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    source = slow_batches(0.03)

    def train(batch: Any) -> None:
        model(batch).mean().backward()
        optimizer.step()

    with mfu_profiler.track(model, out=tmp_path, **QUICK) as run:
        if form == "context":
            for _ in range(STEPS):
                with run.data():
                    batch = next(source)
                train(batch)
        else:
            for number, batch in enumerate(run.data(source), 1):
                train(batch)
                if number == STEPS:
                    break
    assert run.report is not None and run.report.partition is not None
    assert run.report.partition.idle_data_loading > 0.8
    assert [finding.code for finding in run.report.findings][:1] == ["data_loading"]


def test_data_passes_what_the_loader_raises_and_ends_where_it_ends() -> None:
    run = mfu_profiler.track()

    def breaks() -> Iterator[int]:
        yield 1
        raise ValueError("mine")

    assert list(run.data([1, 2])) == [1, 2]
    with pytest.raises(ValueError, match="mine"):
        list(run.data(breaks()))
    with pytest.raises(ValueError, match="mine"), run.data():
        raise ValueError("mine")
    with pytest.raises(OptionError, match="something to iterate over"):
        iter(run.data()).__next__()


def test_a_run_that_was_never_started_knows_nothing() -> None:
    run = mfu_profiler.track()
    run.step()
    run.stop()
    assert math.isnan(run.mfu) and math.isnan(run.hfu) and math.isnan(run.step_time_s)
    assert (run.metrics(), run.report, run.trace_path) == ({}, None, None)


def test_who_keeps_a_run_does_not_keep_its_model(tmp_path: Path) -> None:
    model, step = mlp_training()
    model_ref = weakref.ref(model)
    with mfu_profiler.track(model, out=tmp_path, **QUICK) as run:
        for _ in range(STEPS):
            step()
    assert run.report is not None
    del model, step
    gc.collect()
    assert model_ref() is None and run.report is not None


def test_a_model_moved_inside_the_block_is_on_the_device_it_was_moved_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An accelerator's name stands in for one."""
    devices = iter([torch.device("cpu"), torch.device("cpu", 0)])
    monkeypatch.setattr("mfu_profiler.capture.machine.surroundings.device_of", lambda model: next(devices))
    monkeypatch.setattr("mfu_profiler.capture.window.device_of", lambda model: torch.device("cpu", 0))
    run = tracked(tmp_path, report="never")
    assert run._session is not None and run._session.course.window is not None
    assert run._session.course.window.surroundings.device == torch.device("cpu", 0)
