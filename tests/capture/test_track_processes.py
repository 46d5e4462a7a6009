"""Whole processes under ``track``: how they end, what they fork, several ranks."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from mfu_profiler.analysis import analyze

from .training import MLP_FLOP

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Ended:
    """A process of ``lone_training`` that has ended."""

    status: int
    stdout: str
    stderr: str
    folder: Path

    @property
    def traces(self) -> list[Path]:
        return sorted(self.folder.glob("*.pt.trace.json.gz"))

    @property
    def reports(self) -> list[Path]:
        return sorted(self.folder.glob("*.report.json"))

    @property
    def said(self) -> list[str]:
        """What is ours on stderr, without the report."""
        return [line for line in self.stderr.splitlines() if line.startswith(("mfu_profiler:", "no report"))]


def begin(mode: str, folder: Path, *python: str) -> subprocess.Popen[str]:
    script = ["-X", "faulthandler", *python, "-m", "tests.capture.lone_training", mode, str(folder)]
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *script], cwd=REPOSITORY, stdout=pipe, stderr=pipe, text=True)


def end(process: subprocess.Popen[str], folder: Path) -> Ended:
    with process:
        try:
            stdout, stderr = process.communicate(timeout=120)
        finally:
            process.kill()
    assert "Fatal Python error" not in stderr, stderr[-3000:]
    return Ended(process.returncode, stdout, stderr, folder)


def ended(mode: str, folder: Path, *python: str) -> Ended:
    return end(begin(mode, folder, *python), folder)


def test_warnings_as_errors_change_nothing(tmp_path: Path) -> None:
    process = ended("plain", tmp_path, "-W", "error")
    assert process.status == 0, process.stderr
    assert process.stdout == "".join(f"step {number}\n" for number in range(1, 11)), (
        "nothing of ours on stdout"
    )
    assert len(process.traces) == len(process.reports) == 1
    assert len(process.said) == 1 and "10 steps in" in process.said[0]
    assert "Warning" not in process.stderr and "Traceback" not in process.stderr


def test_sys_exit_in_the_loop_keeps_its_status_and_gives_a_report(tmp_path: Path) -> None:
    process = ended("sys.exit", tmp_path)
    assert (process.status, process.stdout.splitlines()[-1]) == (3, "step 4")
    assert "SystemExit in step 5" in "\n".join(analyze(process.traces[0]).notes)
    assert len(process.reports) == 1 and "Traceback" not in process.stderr


def test_a_process_that_ends_at_once_leaves_the_report_that_was_on_its_way(tmp_path: Path) -> None:
    process = ended("os._exit", tmp_path)
    assert process.status == 4
    limit = time.monotonic() + 20
    while not process.reports and time.monotonic() < limit:
        time.sleep(0.05)
    assert len(process.traces) == len(process.reports) == 1


@pytest.mark.parametrize("mode", ["interrupted", "interrupted twice", "interrupted export"])
def test_ctrl_c_ends_the_process_as_ever_and_keeps_the_trace(mode: str, tmp_path: Path) -> None:
    process = ended(mode, tmp_path)
    assert process.status == -signal.SIGINT
    assert "\nKeyboardInterrupt\n" in process.stderr
    limit = time.monotonic() + 20
    while not process.reports and time.monotonic() < limit:
        time.sleep(0.05)
    report = analyze(process.traces[0])
    assert report.partition is not None
    assert "KeyboardInterrupt in step" in "\n".join(report.notes)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_thread_that_is_left_in_its_block_does_not_disturb_the_exit(tmp_path: Path) -> None:
    process = ended("thread left", tmp_path)
    assert process.status == 5, process.stderr[-2000:]
    assert "Traceback" not in process.stderr
    assert len(process.traces) == len(process.reports) == 1
    assert "the profiled thread did not end it" in "\n".join(analyze(process.traces[0]).notes)


def test_a_run_that_is_never_stopped_gives_its_report_at_the_exit(tmp_path: Path) -> None:
    process = ended("left started", tmp_path)
    assert process.status == 0 and "Traceback" not in process.stderr
    assert len(process.traces) == len(process.reports) == 1
    assert len(process.said) == 1 and "steps in" in process.said[0]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_worker_processes_neither_track_nor_disturb(context: str, tmp_path: Path) -> None:
    process = ended(context, tmp_path)
    assert (process.status, process.stdout) == (0, "loaded\n"), process.stderr[-2000:]
    assert len(process.traces) == len(process.reports) == 1
    assert len(process.said) == 1


def test_a_fork_in_the_block_neither_tracks_nor_disturbs(tmp_path: Path) -> None:
    process = ended("own fork", tmp_path)
    assert (process.status, process.stdout) == (0, "done\n"), process.stderr[-2000:]
    assert len(process.traces) == len(process.reports) == 1
    assert "10 steps in" in process.said[0]


def test_ranks_keep_their_weights_write_a_trace_each_and_print_one_report(tmp_path: Path) -> None:
    running = [begin(f"rank {rank}", tmp_path) for rank in (0, 1)]
    first, second = (end(process, tmp_path / "traces") for process in running)
    for rank in (first, second):
        assert (rank.status, rank.stdout) == (0, "same True\n"), rank.stderr[-2000:]
    assert sorted(path.name.split("_")[0] for path in first.traces) == ["rank0", "rank1"]
    assert "MFU" in first.stderr and len(first.said) == 1
    assert second.said == [] and "MFU" not in second.stderr
    for path in first.traces:
        report = analyze(path)
        assert report.partition is not None and report.partition.communication > 0
        assert report.flop.model_per_step == MLP_FLOP, "each rank its own"
