"""The command line keeps its promises: statuses, one clear error line, quick help, nothing overwritten."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import mfu_profiler.analysis
from mfu_profiler.analysis.report import Report
from mfu_profiler.cli import progress
from mfu_profiler.cli.main import app, main
from mfu_profiler.errors import TraceFormatError
from tests.render.sample import ranks, resnet, unknown_device

ROOT = Path(__file__).parents[2]
Captured = pytest.CaptureFixture[str]
Asked = dict[str, Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The analysis answers with the sample and remembers what it was asked."""
    seen: Asked = {}

    def analyze_all(path: str, **options: Any) -> tuple[Report, ...]:
        seen.update(options, path=path)
        return (resnet(),)

    monkeypatch.setattr(mfu_profiler.analysis, "analyze_all", analyze_all, raising=False)
    return seen


def answer(monkeypatch: pytest.MonkeyPatch, how: Callable[..., Any]) -> None:
    monkeypatch.setattr(mfu_profiler.analysis, "analyze_all", how, raising=False)


def raising(error: BaseException) -> Callable[..., Any]:
    def analyze_all(*_: object, **__: object) -> tuple[Report, ...]:
        raise error

    return analyze_all


def test_a_report_is_printed_with_status_0(asked: Asked, capsys: Captured) -> None:
    assert main(["report", "trace.json"]) == 0
    out, err = capsys.readouterr()
    assert "MFU 28.1 %" in out and "\x1b" not in out and err == ""
    assert asked == {
        "path": "trace.json",
        "device": None,
        "peak_tflops": None,
        "peak": "datasheet",
        "precision": None,
        "flop_per_step": None,
        "windows": "device",
        "max_bytes": None,
        "progress": None,
    }


def test_every_option_reaches_the_analysis(asked: Asked) -> None:
    words = "report - --device H100 --peak-tflops 989.4 --peak estimate --precision bf16 --flop-per-step 7e11"
    assert main([*words.split(), "--windows", "host", "--max-bytes", "1000", "--top", "1"]) == 0
    assert asked == {
        "path": "-",
        "device": "H100",
        "peak_tflops": 989.4,
        "peak": "estimate",
        "precision": "bf16",
        "flop_per_step": 7e11,
        "windows": "host",
        "max_bytes": 1000,
        "progress": None,
    }


def test_an_unknown_mfu_is_a_report_too(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    answer(monkeypatch, lambda *_, **__: (unknown_device(),))
    assert main(["report", "trace.json"]) == 0
    assert "MFU unknown" in capsys.readouterr().out


def test_json_on_stdout_is_json_only(asked: Asked, capsys: Captured) -> None:
    assert main(["report", "trace.json", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["mfu"] == 0.281


def test_markdown_on_stdout_is_markdown_only(asked: Asked, capsys: Captured) -> None:
    assert main(["report", "trace.json", "--markdown", "-"]) == 0
    assert capsys.readouterr().out.startswith("## ")


def test_files_are_written_beside_the_terminal_report(asked: Asked, capsys: Captured, tmp_path: Path) -> None:
    words = ["report", "t.json", "--json", str(tmp_path / "a.json"), "--markdown", str(tmp_path / "a.md")]
    assert main(words) == 0
    assert "MFU 28.1 %" in capsys.readouterr().out
    assert json.loads((tmp_path / "a.json").read_text())["schema_version"] == 1
    assert (tmp_path / "a.md").read_text().startswith("## ")
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err == f"error: will not overwrite {tmp_path}/a.json without --force\n"
    assert main([*words, "--force"]) == 0


def test_several_reports_are_one_json_object(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    answer(monkeypatch, lambda *_, **__: ranks())
    assert main(["report", "traces/", "--json", "-"]) == 0
    assert len(json.loads(capsys.readouterr().out)["reports"]) == 2


def test_a_file_that_cannot_be_written_does_not_cost_the_report(
    asked: Asked, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "replace", raising(OSError(28, "No space left on device")))
    assert main(["report", "trace.json", "--json", str(tmp_path / "a.json")]) == 2
    out, err = capsys.readouterr()
    assert "MFU 28.1 %" in out and err.endswith("a.json: No space left on device\n")


def test_an_error_of_ours_is_one_line_its_hints_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    answer(monkeypatch, raising(TraceFormatError("x\x1b.json is not JSON", "record it with torch.profiler")))
    assert main(["report", "x.json"]) == 2
    assert capsys.readouterr() == ("", "error: x\\x1b.json is not JSON\n  record it with torch.profiler\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("report", "Missing argument 'TRACE'"),
        ("report x --peak best", "'best' is not one of 'datasheet', 'estimate'"),
        ("report x --windows gpu", "'gpu' is not one of"),
        ("report x --peak-tflops nan", "--peak-tflops must be a positive number, not nan"),
        ("report x --peak-tflops -3", "--peak-tflops must be a positive number, not -3"),
        ("report x --peak-tflops 989e12", "--peak-tflops 9.89e+14 is more than any device reaches"),
        ("report x --flop-per-step 0", "--flop-per-step must be a positive number, not 0"),
        ("report x --max-bytes 0", "--max-bytes"),
        ("report x --top -1", "--top"),
        ("report x --jsn y", "No such option: --jsn"),
        ("report x y", "unexpected extra argument"),
        ("reprot x", "No such command 'reprot'"),
    ],
)
def test_wrong_usage_is_status_2_and_says_what_is_wrong(
    words: str, message: str, asked: Asked, capsys: Captured
) -> None:
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and message in err and "Traceback" not in err
    assert all(line.startswith("  ") for line in err.splitlines()[1:])
    assert not asked


def test_a_forgotten_report_is_noticed(capsys: Captured, tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    trace.write_text("[]")
    assert main([str(trace)]) == 2
    assert f"did you mean: report {trace}" in capsys.readouterr().err


def test_no_command_shows_the_help(capsys: Captured) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Commands:" in err


def test_a_bug_is_called_a_bug(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    answer(monkeypatch, raising(ZeroDivisionError("by zero")))
    assert main(["report", "x"]) == 70
    err = capsys.readouterr().err
    assert err.startswith("error: internal error, please report it: ZeroDivisionError: by zero\n")
    assert "Traceback" not in err
    monkeypatch.setenv("MFU_PROFILER_DEBUG", "1")
    assert main(["report", "x"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(32, "Broken pipe"), 141),
        (MemoryError(), 2),
        (OSError(5, "I/O"), 2),
    ],
)
def test_what_the_world_does_to_us_has_its_status(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    answer(monkeypatch, raising(error))
    assert main(["report", "x"]) == status
    assert capsys.readouterr().err.startswith("error: ") == (status == 2)


def test_help_documents_every_option_and_the_exit_statuses() -> None:
    result = CliRunner().invoke(app, ["report", "--help"])
    assert result.exit_code == 0
    options = "device peak-tflops peak precision flop-per-step windows json markdown max-bytes force top"
    assert all(f"--{option}" in result.output for option in options.split())
    assert "Exit status: 0" in result.output and "130" in result.output
    assert "Exit status: 0" in CliRunner().invoke(app, ["--help"]).output


def test_version_is_printed() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0 and result.output.startswith("mfu_profiler ")


def run(*words: str, code: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code] if code else [sys.executable, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment, **options
    )


def test_help_imports_nothing_heavy() -> None:
    result = run("-m", "mfu_profiler", "--help")
    assert result.returncode == 0 and "report" in result.stdout
    imported = run("-X", "importtime", "-m", "mfu_profiler", "report", "--help").stderr
    modules = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in imported.splitlines()}
    assert "typer" in modules
    assert not modules & {"numpy", "torch", "rich", "msgspec"}


FAKE = """
import sys, mfu_profiler.analysis
from tests.render.sample import resnet
from mfu_profiler.cli.main import main
mfu_profiler.analysis.analyze_all = {how}
sys.exit(main(["report", "x"]))
"""


def started(how: str) -> "subprocess.Popen[str]":
    """A report in a process of its own whose analysis says that it is ready, then does ``how``."""
    code = FAKE.format(how=f"lambda *_, **__: (print('ready', flush=True), {how}, (resnet(),))[2]")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code], text=True, cwd=ROOT, **pipes)  # type: ignore[call-overload]
    assert process.stdout.readline() == "ready\n"
    return process  # type: ignore[no-any-return]


def test_a_reader_that_leaves_is_no_error() -> None:
    process = started("sys.stdin.read()")
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.stdin.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 141


def test_ctrl_c_ends_quietly_with_130() -> None:
    # Where tests run in the background SIGINT is ignored, and Python leaves it so.
    process = started(
        "__import__('signal').signal(2, __import__('signal').default_int_handler),"
        " print('started', flush=True), __import__('time').sleep(60)"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")


def test_an_ascii_terminal_gets_the_report() -> None:
    result = run(
        code="import sys; sys.stdout.reconfigure(encoding='ascii')"
        + FAKE.format(how="lambda *_, **__: (resnet(),)")
    )
    assert result.returncode == 0 and "MFU 28.1 %" in result.stdout and "####" in result.stdout


def test_small_files_and_pipes_get_no_progress_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = tmp_path / "big.json"
    with big.open("wb") as file:
        file.truncate(progress.LEAST_BYTES + 1)
    small = tmp_path / "small.json"
    small.write_text("[]")
    with progress.reading_progress(str(big)) as update:
        assert update is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for path in (str(small), "-", str(tmp_path / "none")):
        with progress.reading_progress(path) as update:
            assert update is None
    with progress.reading_progress(str(big)) as update:
        assert update is not None
        update(1, None)
        update(2, 3)


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_closed_stream_is_no_error(closed: str, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    trace = ROOT / "examples" / "traces" / "gpt_cpu.json.gz"
    command = f'"{sys.executable}" -m mfu_profiler report "{trace}" {closed}>&- {3 - int(closed)}>"{other}"'
    finished = subprocess.run(["sh", "-c", command], cwd=ROOT, check=False)
    assert finished.returncode == 0
    assert ("MFU unknown" in other.read_text()) is (closed == "2")
