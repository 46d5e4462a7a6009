"""A real TensorBoard with torch-tb-profiler shows a run: its trace, its scalars and its text."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import pytest

import mfu_profiler
from mfu_profiler.analysis.report import PARTS, Report
from mfu_profiler.render.tensorboard import event_file_name, render_tensorboard

from .conftest import REPOSITORY

TRACE = REPOSITORY / "examples" / "traces" / "gpt_cpu.json.gz"
WORKER = "host_42"
WALL_TIME_NS = 1_700_000_000_123_456_789
RUN = "gpt"
GIVE_UP_S = 60.0

Get = Callable[..., Any]
"""``get(path, **query)``: the decoded JSON that TensorBoard answers."""


def _required(package: str) -> None:
    try:
        version(package)
    except PackageNotFoundError:
        pytest.skip(f"needs {package}:  pip install {package}", allow_module_level=True)


_required("tensorboard")
_required("torch-tb-profiler")


@pytest.fixture(scope="module")
def report() -> Report:
    return mfu_profiler.analyze(TRACE, peak_tflops=1.0)


@pytest.fixture(scope="module")
def get(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Get]:
    """TensorBoard on a free port of this machine, over a folder with one run, ready when it has been read."""
    folder = tmp_path_factory.mktemp("tensorboard")
    run = folder / "logs" / RUN
    run.mkdir(parents=True)
    shutil.copy(TRACE, run / f"{WORKER}.{WALL_TIME_NS}.pt.trace.json.gz")
    wall_time_s = WALL_TIME_NS / 1e9
    name = event_file_name(wall_time_s, WORKER)
    (run / name).write_bytes(render_tensorboard(report, wall_time_s=wall_time_s, step=27))
    log = folder / "log"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(run.parent)]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", "0", "--reload_interval", "1"],
            stdout=output,
            stderr=output,
            env=os.environ | {"TMPDIR": str(folder)},
        ) as process,
    ):
        try:
            asked = _asker(_wait_for(lambda: _address(log, process), log))
            _wait_for(lambda: asked("plugin/pytorch_profiler/runs")["runs"], log)
            _wait_for(lambda: asked("plugin/text/tags").get(RUN), log)
            yield asked
        finally:
            process.terminate()
            try:
                process.wait(GIVE_UP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(log: Path, process: subprocess.Popen[bytes]) -> str | None:
    assert process.poll() is None, log.read_text()
    found = re.search(r"TensorBoard \S+ at (http://127\.0\.0\.1:\d+)", log.read_text())
    return None if found is None else found[1]


def _wait_for(ask: Callable[[], Any], log: Path) -> Any:
    """The first answer that is something."""
    give_up_s = time.monotonic() + GIVE_UP_S
    while time.monotonic() < give_up_s:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.2)
    raise AssertionError(log.read_text())


def _asker(address: str) -> Get:
    opener = build_opener(ProxyHandler({}))  # a proxy knows nothing of this machine

    def get(path: str, **query: str) -> Any:
        with opener.open(f"{address}/data/{path}?{urlencode(query)}", timeout=GIVE_UP_S) as response:
            content = response.read()
            packed = response.headers.get("Content-Encoding") == "gzip"
        return json.loads(gzip.decompress(content) if packed else content)

    return get


def profiler(get: Get, path: str, **query: str) -> Any:
    """What the PyTorch profiler's plugin answers for our worker's first (and only) span."""
    return get(f"plugin/pytorch_profiler/{path}", run=RUN, worker=WORKER, span="1", **query)


def test_the_plugin_lists_the_run_its_worker_and_its_views(get: Get) -> None:
    assert get("plugin/pytorch_profiler/runs") == {"runs": [RUN], "loading": False}
    assert profiler(get, "workers", view="Overview") == [WORKER]
    assert profiler(get, "spans") == ["1"]
    assert profiler(get, "views") == ["Overview", "Operator", "Trace"]


def test_its_overview_has_a_row_for_each_recorded_step(get: Get, report: Report) -> None:
    steps = profiler(get, "overview")["steps"]
    assert [row[0] for row in steps["rows"]] == [
        window.label.removeprefix("ProfilerStep#") for window in report.windows
    ]
    numbers = [index for index, column in enumerate(steps["columns"]) if column["type"] == "number"]
    assert [sum(row[index] for index in numbers) for row in steps["rows"]] == pytest.approx(
        [window.duration_ns / 1e3 for window in report.windows], abs=1.0
    )  # µs; the plugin reads times as floating-point µs


def test_its_operator_table_counts_the_matrix_products_of_the_trace(get: Get) -> None:
    with gzip.open(TRACE) as file:
        events = json.load(file)["traceEvents"]
    called = [event for event in events if event.get("name") == "aten::addmm"]
    table = profiler(get, "operation/table", group_by="Operation")["data"]
    assert [row["calls"] for row in table if row["name"] == "aten::addmm"] == [len(called)]
    pie = profiler(get, "operation", group_by="OperationAndInputShape")["host_self_time"]["rows"]
    assert any(name.startswith("aten::mm") and length > 0 for name, length in pie)


def test_its_trace_view_gets_the_trace_to_the_letter(get: Get) -> None:
    with gzip.open(TRACE) as file:
        assert profiler(get, "trace") == json.load(file)


def test_the_scalars_tab_lists_ours(get: Get, report: Report) -> None:
    tags = set(get("plugin/scalars/tags")[RUN])
    parts = {f"mfu_profiler/time/{part}" for part in PARTS}
    assert {"mfu_profiler/mfu", "mfu_profiler/hfu", "mfu_profiler/step_time_s"} | parts <= tags
    [(_, step, mfu)] = get("plugin/scalars/scalars", run=RUN, tag="mfu_profiler/mfu")
    assert step == 27
    assert mfu == pytest.approx(report.mfu, rel=1e-6)


def test_the_text_tab_shows_the_report(get: Get) -> None:
    assert get("plugin/text/tags") == {RUN: ["mfu_profiler/report"]}
    [text] = get("plugin/text/text", run=RUN, tag="mfu_profiler/report")
    assert "<strong>MFU " in text["text"] and "<table>" in text["text"]
    assert "Where the other" in text["text"]
