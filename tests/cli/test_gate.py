"""``report --fail-...`` in CI: statuses, reasons, JUnit, several ranks."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

import mfu_profiler.analysis
from mfu_profiler.analysis.report import Report
from mfu_profiler.cli.limits import fraction_of, seconds_of
from mfu_profiler.cli.main import app, main
from mfu_profiler.errors import OptionError
from mfu_profiler.render import render_json, render_markdown
from tests.render.sample import HOSTILE_NAME, cpu, hostile, ranks, resnet, unknown_device
from tests.trace.make import steps, write_trace

Captured = pytest.CaptureFixture[str]
TIMELESS = replace(cpu(), step_time_s=None)
KEPT = {
    "--fail-under-mfu": "20%",
    "--fail-over-step-time": "200ms",
    "--fail-on": "idle:50%",
}
MISSED = {
    "--fail-under-mfu": "35%",
    "--fail-over-step-time": "0.12",
    "--fail-on": "data-loading:0.05",
}
REASONS = {
    "--fail-under-mfu": "MFU 28.1 % is under the limit of 35 %",
    "--fail-over-step-time": "step time 176 ms is over the limit of 120 ms",
    "--fail-on": "data-loading 32.6 % is over the limit of 5 %",
}
UNKNOWN = {
    "--fail-under-mfu": "MFU is unknown (limit 20 %): device activities are missing",
    "--fail-over-step-time": "the step time is unknown (limit 200 ms): device activities are missing",
    "--fail-on": "idle is unknown (limit 50 %): device activities are missing",
}


def saved(folder: Path, *reports: Report) -> str:
    path = folder / "saved.json"
    path.write_text(render_json(reports))
    return str(path)


def test_a_limit_that_is_kept_is_status_0_and_silent(tmp_path: Path, capsys: Captured) -> None:
    path = saved(tmp_path, resnet())
    for option, value in KEPT.items():
        assert main(["report", path, option, value]) == 0
        out, err = capsys.readouterr()
        assert "MFU 28.1 %" in out and err == ""


@pytest.mark.parametrize("option", MISSED)
def test_a_limit_that_is_not_kept_is_status_1_and_one_line(
    option: str, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["report", saved(tmp_path, resnet()), option, MISSED[option]]) == 1
    out, err = capsys.readouterr()
    assert "MFU 28.1 %" in out and err == f"failed: {REASONS[option]}\n"


@pytest.mark.parametrize("option", KEPT)
def test_a_limit_that_cannot_be_judged_is_status_1_with_the_reason(
    option: str, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["report", saved(tmp_path, TIMELESS), option, KEPT[option]]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"failed: {UNKNOWN[option]}") and err.count("\n") == 1


def test_an_unknown_mfu_fails_its_limit_but_not_those_of_time(tmp_path: Path, capsys: Captured) -> None:
    path = saved(tmp_path, unknown_device())
    assert main(["report", path, "--fail-over-step-time", "200ms", "--fail-on", "idle:50%"]) == 0
    assert main(["report", path, "--fail-under-mfu", "1%", "--fail-on", "precision:50%"]) == 1
    lines = capsys.readouterr().err.splitlines()
    reason = 'no peak FLOP/s is known for "NVIDIA H100 80GB HBM4"'
    assert lines == [
        f"failed: MFU is unknown (limit 1 %): {reason}",
        f"failed: precision is unknown (limit 50 %): {reason}",
    ]


@pytest.mark.parametrize(
    ("limit", "failing"),
    [("28%", []), ("28.3%", ["rank 0, device 0"]), ("90%", ["rank 0, device 0", "rank 1"])],
)
def test_every_rank_must_keep_the_limit(
    limit: str, failing: list[str], tmp_path: Path, capsys: Captured
) -> None:
    status = main(["report", saved(tmp_path, *ranks()), "--fail-under-mfu", limit])
    lines = capsys.readouterr().err.splitlines()
    assert status == (1 if failing else 0) and len(lines) == len(failing)
    for line, place in zip(lines, failing, strict=True):
        assert line.startswith(f"failed: {place}")


def test_one_rank_of_unknown_mfu_fails_the_job(tmp_path: Path, capsys: Captured) -> None:
    assert main(["report", saved(tmp_path, resnet(), cpu()), "--fail-under-mfu", "1%"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "MFU is unknown" in line


def test_a_trace_is_gated_as_a_saved_report_is(tmp_path: Path, capsys: Captured) -> None:
    trace = str(write_trace(tmp_path / "trace", steps(5)))
    assert main(["report", trace, "--json", "-", "--fail-over-step-time", "2ms"]) == 0
    (tmp_path / "saved.json").write_text(capsys.readouterr().out)
    said = []
    for path in (trace, str(tmp_path / "saved.json")):
        assert main(["report", path, "--fail-over-step-time", "0.5ms", "--fail-under-mfu", "0.9"]) == 1
        said.append(capsys.readouterr())
    assert said[0] == said[1]
    assert said[0].err.splitlines()[1] == "failed: step time 1 ms is over the limit of 0.5 ms"


def test_all_reasons_come_after_all_outputs(tmp_path: Path, capsys: Captured) -> None:
    files = {form: tmp_path / f"out.{form}" for form in ("json", "markdown", "junit")}
    words = [word for form, file in files.items() for word in (f"--{form}", str(file))]
    limits = [word for pair in MISSED.items() for word in pair]
    assert main(["report", saved(tmp_path, resnet()), *words, *limits, "--fail-on", "copy:50%"]) == 1
    out, err = capsys.readouterr()
    assert err.splitlines() == [f"failed: {REASONS[option]}" for option in MISSED]
    assert "MFU 28.1 %" in out and json.loads(files["json"].read_text())["mfu"] == 0.281
    assert files["markdown"].read_text() == render_markdown([resnet()])
    suite = ElementTree.parse(files["junit"]).getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("4", "3")
    messages = [failure.get("message") for failure in suite.iter("failure")]
    assert messages == list(REASONS.values())


def test_junit_on_stdout_is_junit_only(tmp_path: Path, capsys: Captured) -> None:
    assert main(["report", saved(tmp_path, resnet()), "--junit", "-", "--fail-under-mfu", "0.35"]) == 1
    out, err = capsys.readouterr()
    assert ElementTree.fromstring(out.encode())[0].get("failures") == "1"
    assert err == f"failed: {REASONS['--fail-under-mfu']}\n"


def test_junit_goes_over_no_file_and_not_beside_another_output(tmp_path: Path, capsys: Captured) -> None:
    path, file = saved(tmp_path, resnet()), tmp_path / "gate.xml"
    words = ["report", path, "--fail-under-mfu", "1%", "--junit"]
    assert main([*words, str(file)]) == 0
    capsys.readouterr()
    assert main([*words, str(file)]) == 2
    assert capsys.readouterr().err == f"error: will not overwrite {file} without --force\n"
    assert main([*words, str(file), "--force"]) == 0
    capsys.readouterr()
    assert main([*words, path, "--force"]) == 2
    assert "it is the trace" in capsys.readouterr().err
    assert main([*words, "-", "--markdown", "-"]) == 2
    assert "--markdown and --junit cannot go to the same place" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_status_2_and_the_reasons_are_said(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = saved(tmp_path, resnet())
    monkeypatch.setattr(os, "replace", full)
    words = ["--fail-under-mfu", "35%", "--junit", str(tmp_path / "gate.xml")]
    assert main(["report", path, *words]) == 2
    failed, error = capsys.readouterr().err.splitlines()
    assert failed == f"failed: {REASONS['--fail-under-mfu']}"
    assert error.startswith("error: cannot write") and error.endswith("No space left on device")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("--fail-under-mfu 35", "between 0 and 1, not 35", "--fail-under-mfu 35%"),
        ("--fail-under-mfu 0", "between 0 and 1, not 0", "--fail-under-mfu 35%"),
        ("--fail-under-mfu 100%", "between 0 and 1, not 1", "--fail-under-mfu 35%"),
        ("--fail-under-mfu 0,35", "not a fraction", "--fail-under-mfu 35%"),
        ("--fail-under-mfu nan", "not a fraction", "--fail-under-mfu 35%"),
        ("--fail-under-mfu 35ms", "not a fraction", "--fail-under-mfu 35%"),
        ("--fail-over-step-time 0", "must be positive, not 0", "--fail-over-step-time 120ms"),
        ("--fail-over-step-time 120", "without a unit", "--fail-over-step-time 120ms"),
        ("--fail-over-step-time 1e999", "must be positive, not inf", "--fail-over-step-time 120ms"),
        ("--fail-over-step-time 12%", "not seconds", "--fail-over-step-time 120ms"),
        ("--fail-over-step-time fast", "not seconds", "--fail-over-step-time 120ms"),
        ("--fail-on data-loading", "cause:limit", "--fail-on data-loading:5%"),
        ("--fail-on data-loading:", "not a fraction", "--fail-on data-loading:5%"),
        ("--fail-on data-loading:5", "below 1, not 5", "--fail-on data-loading:5%"),
        ("--fail-on dataloader:5%", "no cause is called 'dataloader'", "did you mean: data-loading"),
        ("--fail-on compute:5%", "no cause is called 'compute'", "causes: data-loading, "),
        ("--fail-on copy:1% --fail-on exposed-copy:2%", "already", "--fail-on data-loading:5%"),
        ("--junit out.xml", "--junit has nothing to say without a limit", "--fail-under-mfu 35%"),
    ],
)
def test_limits_that_make_no_sense_are_status_2_and_say_what_to_type(
    words: str, message: str, hint: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the trace was read")

    monkeypatch.setattr(mfu_profiler.analysis, "analyze_all", never, raising=False)
    assert main(["report", "none.json", *words.split()]) == 2
    out, err = capsys.readouterr()
    first, *hints = err.splitlines()
    assert out == "" and first.startswith("error: --") and message in first
    assert any(hint in line for line in hints) and all(line.startswith("  ") for line in hints)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.35", 0.35), ("35%", 0.35), (" 35 % ", 0.35), (".5", 0.5), ("5e-2", 0.05), ("0%", 0)],
)
def test_a_fraction_may_be_a_percentage(text: str, value: float) -> None:
    assert fraction_of(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.12", 0.12),
        ("0.12s", 0.12),
        ("120ms", 0.12),
        ("120 ms", 0.12),
        ("850us", 850e-6),
        ("850µs", 850e-6),
        ("850\u03bcs", 850e-6),
        ("2000ns", 2e-6),
    ],
)
def test_a_time_may_carry_its_unit(text: str, value: float) -> None:
    assert seconds_of(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("text", ["", "-1", "+1", "1_0", "0x1", "1 2", "٣", "1%%", "inf"])
def test_what_is_no_number_is_refused(text: str) -> None:
    for parse in (fraction_of, seconds_of):
        with pytest.raises(OptionError, match="not "):
            parse(text)


def test_reasons_show_names_of_a_trace_as_inert_text(tmp_path: Path, capsys: Captured) -> None:
    evil = replace(hostile(), mfu=None, mfu_unknown_because=HOSTILE_NAME)
    words: list[Any] = ["--fail-under-mfu", "1%", "--junit", tmp_path / "gate.xml"]
    assert main(["report", saved(tmp_path, evil), *map(str, words)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable() and line.startswith("failed: MFU is unknown (limit 1 %): <script>")
    (failure,) = ElementTree.parse(tmp_path / "gate.xml").getroot().iter("failure")
    assert f"failed: {failure.get('message')}" == line


def test_help_says_status_1_where_there_is_a_gate() -> None:
    said = {
        command: CliRunner().invoke(app, [command, "--help"]).output
        for command in ("report", "verify", "peaks")
    }
    assert "1 a limit (--fail-...) is not kept" in said["report"]
    assert all(option in said["report"] for option in (*KEPT, "--junit"))
    assert all("is not kept" not in said[command] for command in ("verify", "peaks"))
