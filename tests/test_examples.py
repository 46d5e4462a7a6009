"""The examples run, on the trace that the project ships."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mfu_profiler

from .conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
SHIPPED = EXAMPLES / "traces" / "gpt_cpu.json.gz"


def run(script: str, *arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    return finished.stdout


def test_the_shipped_trace_gives_the_flop_of_its_model() -> None:
    report = mfu_profiler.analyze(SHIPPED, peak_tflops=1.0)
    # 6 N per token and 12 L H Q T per token of attention (PaLM, appendix B): 2 layers of 12 x 128 x 128
    # and a head of 65 x 128; the first layer's input gradient is needed, for the embedding.
    tokens, matmul_parameters = 16 * 64, 2 * 12 * 128**2 + 65 * 128
    assert report.flop.model_per_step == tokens * (6 * matmul_parameters + 12 * 2 * 128 * 64)
    assert report.steps.count == 4
    assert report.partition is not None
    assert report.partition.idle_data_loading > 0


def test_the_report_from_python_names_the_largest_loss() -> None:
    out = run("report_from_python.py", str(SHIPPED))
    assert "CPU: MFU unknown" in out
    assert "largest loss:" in out


def test_recording_makes_such_a_trace(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="recording needs torch")
    target = tmp_path / "trace.json.gz"
    assert "the fastest matrix product here:" in run("record_gpt_cpu.py", str(target))
    recorded, shipped = mfu_profiler.analyze(target), mfu_profiler.analyze(SHIPPED)
    assert recorded.flop.model_per_step == shipped.flop.model_per_step


TRACKED = pytest.mark.parametrize("script", ["train_gpt.py", "accumulate_autocast.py", "compiled.py"])


@TRACKED
def test_a_tracked_example_reports_the_flop_of_its_formula(script: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="recording needs torch")
    out = run(script, "--out", str(tmp_path))
    by_hand, reported = re.findall(r"FLOP of a step .*: +(\d+)", out)
    assert by_hand == reported
    (trace,) = tmp_path.glob("*.pt.trace.json.gz")
    assert mfu_profiler.analyze(trace).flop.model_per_step == int(by_hand)


def test_the_gpt_prints_the_live_line_of_nanogpt(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="recording needs torch")
    out = run("train_gpt.py", "--steps", "12", "--out", str(tmp_path))
    lines = re.findall(r"iter (\d+): loss [\d.]+, time [\d.]+ms, mfu ([\d.]+|nan)%", out)
    assert [number for number, _ in lines] == ["0", "5", "10"]
    assert lines[0][1] == "nan" and float(lines[2][1]) > 0


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_cnn_says_how_long_it_waits_for_data(workers: str, tmp_path: Path) -> None:
    """Which of the two waits longer depends on what else the machine does: tests/capture has that claim."""
    pytest.importorskip("torch", reason="recording needs torch")
    ran = run("train_cnn.py", "--workers", workers, "--out", str(tmp_path))
    (share,) = map(float, re.findall(r"waiting for data: ([\d.]+)%", ran))
    assert 0 <= share <= 100


def test_each_rank_of_the_ddp_example_has_its_trace(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="recording needs torch")
    out = run("ddp_gloo.py", "--out", str(tmp_path))
    assert sorted(re.findall(r"rank (\d): communication", out)) == ["0", "1"]
    reports = [mfu_profiler.analyze(trace) for trace in tmp_path.glob("*.pt.trace.json.gz")]
    assert sorted(str(report.trace.rank) for report in reports) == ["0", "1"]
    # Two layers: forward twice, weight gradients twice, one input gradient.
    assert {report.flop.model_per_step for report in reports} == {128 * 2 * 256 * 1024 * 5}


@pytest.mark.parametrize(
    ("script", "samples"),
    [
        ("slow_loader.py", 1),
        ("per_tensor_optimizer.py", 1),
        ("attention_by_hand.py", 1),
        ("needless_work.py", 1),
        ("tiny_batches.py", 32),
    ],
)
def test_a_fix_leaves_the_flop_of_a_sample_as_they_are(script: str, samples: int, tmp_path: Path) -> None:
    """A fixed step trains on so many times the samples; its time is a matter of tests/benchmarks."""
    pytest.importorskip("torch", reason="recording needs torch")

    def model_flop(flag: str) -> float:
        target = tmp_path / f"report{flag}.json"
        options = ["--steps", "6", "--report", str(target), "--out", str(tmp_path)]
        run(f"fixes/{script}", *options, *filter(None, [flag]))
        flop: float = json.loads(target.read_text())["flop"]["model_per_step"]
        return flop

    with ThreadPoolExecutor() as both:
        before, after = both.map(model_flop, ["", "--fixed"])
    assert before > 0
    assert after == samples * before


def test_a_script_without_a_report_file_prints_its_report(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="recording needs torch")
    script = EXAMPLES / "fixes" / "tiny_batches.py"
    command = [sys.executable, str(script), "--out", str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Where the numbers come from" in finished.stderr


def test_the_readme_of_the_fixes_names_each_script() -> None:
    folder = EXAMPLES / "fixes"
    named = re.findall(r"^\| `(\w+\.py)`", (folder / "README.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(script.name for script in folder.glob("*.py"))
