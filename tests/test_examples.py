"""The examples run, on the trace that the project ships."""

from __future__ import annotations

import subprocess
import sys
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
