"""``report`` takes a report that was saved as JSON in place of its trace."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mfu_profiler.analysis.report import Report
from mfu_profiler.cli.main import main
from mfu_profiler.render import render_json, render_markdown
from tests.render.sample import SAMPLES, resnet

Captured = pytest.CaptureFixture[str]


def saved(folder: Path, *reports: Report) -> str:
    path = folder / "saved.json"
    path.write_text(render_json(reports))
    return str(path)


@pytest.mark.parametrize("sample", sorted(set(SAMPLES) - {"none"}))
def test_a_saved_report_renders_as_it_did(sample: str, tmp_path: Path, capsys: Captured) -> None:
    """In the hostile ones JSON turns lone surrogates into the letters of their escape."""
    path = saved(tmp_path, *SAMPLES[sample])
    assert main(["report", path, "--json", "-"]) == 0
    assert capsys.readouterr().out == Path(path).read_text()
    if "hostile" not in sample:
        assert main(["report", path, "--markdown", "-"]) == 0
        assert capsys.readouterr().out == render_markdown(SAMPLES[sample])


def test_a_saved_report_may_be_packed_or_on_standard_input(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "report.json.gz"
    packed.write_bytes(gzip.compress(render_json([resnet()]).encode()))
    assert main(["report", str(packed)]) == 0
    first = capsys.readouterr().out
    raw = io.BufferedReader(io.BytesIO(render_json([resnet()]).encode()))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=raw))
    assert main(["report", "-"]) == 0
    assert capsys.readouterr().out == first and "MFU 28.1 %" in first


@pytest.mark.parametrize(
    "words",
    [
        "--device H100",
        "--peak-tflops 1",
        "--peak datasheet",
        "--precision bf16",
        "--flop-per-step 1",
        "--windows device",
    ],
)
def test_options_that_need_the_trace_are_refused_with_a_saved_report(
    words: str, tmp_path: Path, capsys: Captured
) -> None:
    path = saved(tmp_path, resnet())
    assert main(["report", path, *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and words.split()[0] in err.splitlines()[0]
    assert f"only for a trace, and {path} is a saved report" in err
    assert main(["report", path, "--top", "1", "--max-bytes", "1000000"]) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"schema_version": 1, "mfu": 0.3', "cut off"),
        ('{"schema_version": 99, "mfu": 0.3}', "schema version 99"),
        ('{"schema_version": 1, "mfu": "high"}', "no report of mfu_profiler"),
        ('{"schema_version": 1, "reports": []}', "the file holds no report"),
    ],
)
def test_a_saved_report_that_cannot_be_read_is_one_error(
    content: str, message: str, tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "saved.json"
    path.write_text(content)
    assert main(["report", str(path), "--fail-under-mfu", "1%"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and message in err and "internal" not in err


def test_a_saved_report_over_the_limit_of_bytes_is_refused(tmp_path: Path, capsys: Captured) -> None:
    assert main(["report", saved(tmp_path, resnet()), "--max-bytes", "100"]) == 2
    assert "more than 100 bytes" in capsys.readouterr().err
