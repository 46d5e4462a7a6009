"""A real TensorBoard with torch-tb-profiler shows a run of ``track``: its trace, its scalars and its text."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import pytest

from mfu_profiler.analysis.report import PARTS, Report

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
_required("torch")


@dataclass(frozen=True)
class Tracked:
    """What one run of ``track`` left in ``logs/gpt``."""

    folder: Path
    trace: Path
    report: Report

    @property
    def worker(self) -> str:
        """Its name for torch-tb-profiler."""
        return self.trace.name.split(".")[0]

    @property
    def scalars(self) -> str:
        """Its name for TensorBoard."""
        return f"{RUN}/{self.trace.name.removesuffix('.pt.trace.json.gz')}"


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    import torch

    from mfu_profiler.capture.demo_training import train_demo

    folder, threads = tmp_path_factory.mktemp("tensorboard"), torch.get_num_threads()
    run = train_demo(str(folder / "logs" / RUN), "cpu")
    torch.set_num_threads(threads)  # the demo takes half of them
    assert run.trace_path is not None and run.report is not None
    return Tracked(folder, run.trace_path, run.report)


@pytest.fixture(scope="module")
def get(tracked: Tracked) -> Iterator[Get]:
    """TensorBoard on a free port of this machine, over a folder with one run, ready when it has been read."""
    folder = tracked.folder
    log = folder / "log"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder / "logs")]
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
            _wait_for(lambda: asked("plugin/text/tags").get(tracked.scalars), log)
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


Profiler = Callable[..., Any]
"""``profiler(path, **query)``: what the PyTorch profiler's plugin answers for our worker's only span."""


@pytest.fixture(scope="module")
def profiler(get: Get, tracked: Tracked) -> Profiler:
    def ask(path: str, **query: str) -> Any:
        return get(f"plugin/pytorch_profiler/{path}", run=RUN, worker=tracked.worker, span="1", **query)

    return ask


def test_the_plugin_lists_the_run_its_worker_and_its_views(
    get: Get, profiler: Profiler, tracked: Tracked
) -> None:
    assert get("plugin/pytorch_profiler/runs") == {"runs": [RUN], "loading": False}
    assert profiler("workers", view="Overview") == [tracked.worker]
    assert profiler("spans") == ["1"]
    assert profiler("views") == ["Overview", "Operator", "Trace"]


def test_its_overview_has_a_row_for_each_recorded_step(profiler: Profiler, tracked: Tracked) -> None:
    steps = profiler("overview")["steps"]
    assert [row[0] for row in steps["rows"]] == [
        window.label.removeprefix("ProfilerStep#") for window in tracked.report.windows
    ]
    numbers = [index for index, column in enumerate(steps["columns"]) if column["type"] == "number"]
    assert [sum(row[index] for index in numbers) for row in steps["rows"]] == pytest.approx(
        [window.duration_ns / 1e3 for window in tracked.report.windows], abs=1.0
    )  # µs; the plugin reads times as floating-point µs


def test_its_operator_table_counts_the_matrix_products_of_the_trace(
    profiler: Profiler, tracked: Tracked
) -> None:
    with gzip.open(tracked.trace) as file:
        events = json.load(file)["traceEvents"]
    called = [event for event in events if event.get("name") == "aten::addmm"]
    table = profiler("operation/table", group_by="Operation")["data"]
    assert [row["calls"] for row in table if row["name"] == "aten::addmm"] == [len(called)]
    pie = profiler("operation", group_by="OperationAndInputShape")["host_self_time"]["rows"]
    assert any(name.startswith("aten::mm") and length > 0 for name, length in pie)


def test_its_trace_view_gets_the_trace_to_the_letter(profiler: Profiler, tracked: Tracked) -> None:
    with gzip.open(tracked.trace) as file:
        assert profiler("trace") == json.load(file)


def test_the_scalars_tab_lists_ours(get: Get, tracked: Tracked) -> None:
    tags = set(get("plugin/scalars/tags")[tracked.scalars])
    parts = {f"mfu_profiler/time/{part}" for part in PARTS}
    assert {"mfu_profiler/mfu", "mfu_profiler/hfu", "mfu_profiler/step_time_s"} | parts <= tags
    [(_, _, mfu)] = get("plugin/scalars/scalars", run=tracked.scalars, tag="mfu_profiler/mfu")
    assert mfu == pytest.approx(tracked.report.mfu, rel=1e-6)


def test_the_text_tab_shows_the_report(get: Get, tracked: Tracked) -> None:
    assert get("plugin/text/tags") == {tracked.scalars: ["mfu_profiler/report"]}
    [text] = get("plugin/text/text", run=tracked.scalars, tag="mfu_profiler/report")
    assert "<strong>MFU " in text["text"] and "<table>" in text["text"]
    assert "Where the other" in text["text"]
