"""The views of a live run's report: its page, TensorBoard's files, and what a notebook shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

import mfu_profiler

from .training import QUICK, STEPS, mlp_training, report_of, train_to_the_end

Warnings = Callable[[], list[str]]
KINDS = (".pt.trace.json.gz", ".report.json", ".report.html", ".mfu_profiler", ".mfu_profiler.images")
"""Endings of all that a run with ``out`` leaves; none is the ending of another."""


def left(folder: Path) -> dict[str, Path]:
    """Ending -> file, of all files in a folder and below it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = {kind: path for path in files for kind in KINDS if path.name.endswith(kind)}
    assert len(found) == len(files), files
    return found


def test_a_run_with_a_folder_leaves_page_and_tensorboard_files(tmp_path: Path, warnings_of: Warnings) -> None:
    run, _ = train_to_the_end(tmp_path)
    found = left(tmp_path)
    assert set(found) == set(KINDS)
    assert run.trace_path is not None
    stem = run.trace_path.name.removesuffix(".pt.trace.json.gz")
    assert found[".report.html"] == tmp_path / f"{stem}.report.html"
    assert {found[kind].parent for kind in KINDS[-2:]} == {tmp_path / stem}
    assert warnings_of() == []


def test_tensorboard_reads_the_scalars_and_then_the_images(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="reads the files"
    )
    train_to_the_end(tmp_path)
    found = left(tmp_path)
    assert found[".mfu_profiler"].name < found[".mfu_profiler.images"].name
    read = accumulator.EventAccumulator(str(found[".mfu_profiler"].parent)).Reload().Tags()
    scalars, pictures = {"mfu_profiler/mfu"}, {"mfu_profiler/waterfall", "mfu_profiler/timeline"}
    assert scalars | pictures <= {*read["scalars"], *read["tensors"]}


def test_the_page_is_that_of_the_report(tmp_path: Path) -> None:
    run, _ = train_to_the_end(tmp_path)
    page = left(tmp_path)[".report.html"].read_text(encoding="utf-8")
    assert page == report_of(run).to_html()
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")


def test_a_run_without_a_folder_leaves_trace_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_of: Warnings
) -> None:
    monkeypatch.chdir(tmp_path)
    model, step = mlp_training()
    with mfu_profiler.track(model, **QUICK) as run:
        for _ in range(STEPS):
            step()
    assert run.report is not None
    assert set(left(tmp_path)) == {".pt.trace.json.gz", ".report.json"}
    assert warnings_of() == []


def test_a_run_that_wants_no_report_leaves_no_view_of_it(tmp_path: Path) -> None:
    train_to_the_end(tmp_path, report="never")
    assert set(left(tmp_path)) == {".pt.trace.json.gz"}


DRAWS_NEVER = """\
import os, sys, types
sys.modules["vl_convert"] = types.SimpleNamespace(vegalite_to_png=lambda *_, **__: {})
"""
FAILURES = {
    "jinja2 is missing": (
        "import sys; sys.modules['jinja2'] = None",
        {".report.html"},
        r"error: no page \S+\.report\.html: .*jinja2.*",
    ),
    "tensorboard is missing": (
        "import sys; sys.modules['tensorboard'] = None",
        {".mfu_profiler", ".mfu_profiler.images"},
        r'error: no TensorBoard scalars: the package "tensorboard" cannot be imported.*',
    ),
    "vl-convert is missing": (
        "import sys; sys.modules['vl_convert'] = None",
        {".mfu_profiler.images"},
        r'error: no TensorBoard images: images need the package "vl-convert-python".*',
    ),
    "vl-convert refuses": (
        DRAWS_NEVER.format("(_ for _ in ()).throw(ValueError('not\\nthis chart'))"),
        {".mfu_profiler.images"},
        r"error: no TensorBoard images: not this chart",
    ),
    "drawing ends its process": (
        DRAWS_NEVER.format("os.abort()"),
        {".mfu_profiler.images"},
        r"the report is there, but not all of its views: their process ended with -6",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_what_fails_costs_one_line_and_nothing_else(
    failure: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    warnings_of: Warnings,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Only in the process that makes the report, at whose start ``sitecustomize`` runs."""
    program, missing, line = FAILURES[failure]
    (tmp_path / "sitecustomize.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    run, steps = train_to_the_end(tmp_path / "traces", quiet=False)
    assert steps == STEPS and run.report is not None
    assert set(left(tmp_path / "traces")) == set(KINDS) - missing
    (warning,) = warnings_of()
    assert re.fullmatch(line, warning), warning
    assert "What to fix first" in capfd.readouterr().err, "the report is shown"


def test_the_report_of_a_live_run_shows_itself_in_a_notebook(tmp_path: Path) -> None:
    run, _ = train_to_the_end(tmp_path)
    report = report_of(run)
    shown = report._repr_html_()
    assert shown.startswith("<iframe ") and report.to_html() in unescape(shown)
    figures = report.figures()
    assert {"waterfall", "steps", "timeline", "modules"} <= set(figures)
    for figure in figures.values():
        assert figure._repr_html_().startswith("<iframe ")
        assert figure.title in unescape(unescape(figure._repr_html_()))
