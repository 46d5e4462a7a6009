"""``demo`` trains, reports, names its deliberate bottleneck first, and leaves what it reported on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mfu_profiler.cli.main import main

pytest.importorskip("torch", reason="the demo trains")

REPOSITORY = Path(__file__).parents[2]
Captured = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Shown:
    """What one run of the demo left."""

    folder: Path
    out: str
    err: str
    trace: Path
    report: Path


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """One demo in an empty folder, as a stranger runs it."""
    folder = tmp_path_factory.mktemp("demo")
    done = demo(folder)
    assert done.returncode == 0, done.stderr
    return Shown(
        folder, done.stdout, done.stderr, only(folder, ".pt.trace.json.gz"), only(folder, ".report.json")
    )


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(folder / "cache")}
    words = [sys.executable, "-m", "mfu_profiler", "demo", *options]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def only(folder: Path, ending: str) -> Path:
    (path,) = (folder / "mfu_profiler_demo").glob(f"*{ending}")
    return path


def test_the_slow_loader_is_the_first_finding_and_the_report_is_on_stdout(shown: Shown) -> None:
    first = json.loads(shown.report.read_bytes())["findings"][0]
    assert first["code"].startswith("data_loading")
    assert not any("pin_memory" in advice for advice in first["advice"]) or "cuda" in shown.out
    after_heading = shown.out.split("What to fix first")[1].splitlines()[1]
    assert after_heading.strip().startswith("1  the main process loads the data while the device waits")
    assert "demo_training.py" in shown.out
    assert "check failed" not in shown.out


def test_stderr_says_what_happens_and_how_to_go_on(shown: Shown) -> None:
    lines = shown.err.splitlines()
    assert lines[0].startswith("Training a small GPT for 25 steps on ")
    assert "USDT" not in shown.err and "Traceback" not in shown.err
    (path,) = re.findall(r"python -m mfu_profiler report (\S+)", shown.err)
    assert (shown.folder / path).resolve() == shown.trace.resolve()


def test_report_on_the_trace_that_it_leaves_prints_the_same(shown: Shown, capsys: Captured) -> None:
    assert main(["report", str(shown.trace)]) == 0
    assert capsys.readouterr().out == shown.out


def test_the_flop_are_those_of_the_gpt(shown: Shown) -> None:
    # 6 N per token and 12 L H Q T per token of attention (PaLM, appendix B): 4 layers of 12 x 128 x 128,
    # a head of 256 x 128, 8 x 128 tokens.
    matrices = 4 * 12 * 128**2 + 256 * 128
    by_hand = 8 * 128 * (6 * matrices + 12 * 4 * 128 * 128)
    assert json.loads(shown.report.read_bytes())["flop"]["model_per_step"] == by_hand


def test_a_second_demo_in_the_same_place_leaves_files_of_its_own(shown: Shown) -> None:
    before = shown.trace.read_bytes()
    assert demo(shown.folder).returncode == 0
    assert len(list((shown.folder / "mfu_profiler_demo").glob("*.pt.trace.json.gz"))) == 2
    assert shown.trace.read_bytes() == before


@pytest.mark.parametrize("out", ["file", "file/inside"])
def test_a_folder_that_cannot_be_made_is_one_clear_line(out: str, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / out)]) == 2
    first, hint = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: cannot make the folder {tmp_path / out}: ")
    assert hint.split() == ["another", "one:", "demo", "--out", "FOLDER"]


def test_a_folder_without_permission_is_one_clear_line(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: no permission to write in {tmp_path}")
