"""Bad input gives one clear ``error:`` line or a report that says what is missing, never a traceback."""

import gzip
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mfu_profiler.cli.main import main
from mfu_profiler.trace.source import DEFAULT_MAX_BYTE
from tests.trace.make import Layout, event, kernel, launch, mark, op, pack, steps, trace_bytes, write_trace

Captured = pytest.CaptureFixture[str]
TRACE = trace_bytes(steps(5), Layout())


def refused(capsys: Captured, path: Path | str, *words: str) -> str:
    """The error text, once it is held to its form: one line and indented hints."""
    assert main(["report", str(path), *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    first, *hints = err.splitlines()
    assert first.startswith("error: ") and hints
    assert all(hint.startswith("  ") for hint in hints)
    assert "Traceback" not in err and "internal" not in err
    return err


def reported(capsys: Captured, path: Path | str, *words: str) -> str:
    """The report's text, on one line."""
    assert main(["report", str(path), *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return " ".join(out.split())


def test_a_missing_file(capsys: Captured, tmp_path: Path) -> None:
    assert "No such file or directory" in refused(capsys, tmp_path / "none.json")


@pytest.mark.parametrize("name", ["a\0b.json", "x" * 5000])
def test_a_name_that_no_file_can_have(capsys: Captured, name: str) -> None:
    refused(capsys, name)


def test_a_folder_without_traces(capsys: Captured, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    assert "holds no trace" in refused(capsys, tmp_path)


def test_a_folder_with_two_traces_names_one_to_report_on(capsys: Captured, tmp_path: Path) -> None:
    for name in ("b.json", "a.json.gz"):
        (tmp_path / name).write_bytes(TRACE)
    assert f"report {tmp_path}/a.json.gz" in refused(capsys, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(capsys: Captured, tmp_path: Path) -> None:
    path = pack(tmp_path, TRACE)
    path.chmod(0)
    assert "Permission denied" in refused(capsys, path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission(capsys: Captured, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    assert "Permission denied" in refused(capsys, folder)


def test_an_empty_file(capsys: Captured, tmp_path: Path) -> None:
    assert "the file is empty" in refused(capsys, pack(tmp_path, b""))


def test_an_empty_gzip(capsys: Captured, tmp_path: Path) -> None:
    assert "it is empty" in refused(capsys, pack(tmp_path, b"", "gz"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"   \n ", "it is empty"),
        (b"hello", "it does not begin with { or ["),
        (b"\x7fELF\2\1\1\0" * 99, "it does not begin with { or ["),
        (TRACE.decode().encode("utf-16"), "it does not begin with { or ["),
        (b"{ traceEvents: [] }", "it is not JSON"),
        (b"{", "cut off before its events"),
        (TRACE[:40], "cut off before its events"),
        (b"{}", "no list traceEvents"),
        (b'{"traceEvents": {"ph": "X"}}', "no list traceEvents"),
        (b'{"traceEvents": null}', "no list traceEvents"),
        (b'{"loss": [1, 2, {"traceEvents": [{"ph": "X"}]}]}', "no list traceEvents"),
        (b'{"traceEvents": []}', "it holds no events"),
        (b"[]", "it holds no events"),
        (b"[1, 2, 3]", "it holds no events"),
        (b'[{"loss": 1}]', "it holds no events"),
        (b'["x", null, [], {}]', "it holds no events"),
        (b'{"traceEvents": [', "it holds no events"),
        (b"[" * 10_000, "it holds no events"),
        (b'{"a":' * 10_000, "it is not JSON"),
        (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "it is not JSON"),
    ],
    ids=range(20),
)
def test_what_is_no_trace_is_said_to_be_none(
    capsys: Captured, tmp_path: Path, content: bytes, reason: str
) -> None:
    error = refused(capsys, pack(tmp_path, content))
    assert "no torch.profiler trace" in error and reason in error


def test_a_truncated_trace_is_reported_up_to_the_cut(capsys: Captured, tmp_path: Path) -> None:
    assert "cut off" in reported(capsys, pack(tmp_path, TRACE[: len(TRACE) * 4 // 5]))


def test_a_truncated_gzip_is_reported_up_to_the_cut(capsys: Captured, tmp_path: Path) -> None:
    whole = gzip.compress(TRACE)
    assert "cut off" in reported(capsys, pack(tmp_path, whole[:-20]))
    assert "cut off" in refused(capsys, pack(tmp_path, whole[:15]))


def test_a_corrupt_gzip_is_said_to_be_corrupt(capsys: Captured, tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(TRACE))
    whole[-8] ^= 1  # the checksum: every event is still there
    assert "corrupt" in reported(capsys, pack(tmp_path, bytes(whole)))
    assert "corrupt" in refused(capsys, pack(tmp_path, bytes(whole[:10]) + b"\xff" * 50))


@pytest.mark.parametrize("names", [[], ["notes.txt"], ["a.json", "b.json.gz"]])
def test_a_zip_without_exactly_one_trace(capsys: Captured, tmp_path: Path, names: list[str]) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in [*names, "readme.txt"]:
            archive.writestr(name, TRACE)
    assert "the zip file holds" in refused(capsys, pack(tmp_path, file.getvalue()))


def test_a_broken_zip(capsys: Captured, tmp_path: Path) -> None:
    whole = pack(tmp_path, TRACE, "zip").read_bytes()
    assert "the zip file cannot be read" in refused(capsys, pack(tmp_path, whole[:-30]))


def test_a_zip_on_standard_input_names_the_way_out(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pack(tmp_path, TRACE, "zip").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
        assert "unzip -p" in refused(capsys, "-")


def test_a_closed_standard_input(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert "standard input is closed" in refused(capsys, "-")


def test_a_trace_above_max_bytes_is_refused_with_the_option(capsys: Captured, tmp_path: Path) -> None:
    error = refused(capsys, pack(tmp_path, TRACE, "gz"), "--max-bytes", "1000")
    assert (
        "more than 1,000 bytes once decompressed" in error and f"--max-bytes {4 * DEFAULT_MAX_BYTE}" in error
    )
    assert "MFU" in reported(capsys, pack(tmp_path, TRACE, "gz"), "--max-bytes", str(len(TRACE)))


def test_a_gzip_bomb_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.json.gz"
    with gzip.open(path, "wb", 9) as file:
        file.write(b'{"traceEvents": [')
        for _ in range(512):
            file.write(b" " * 2**20)
    assert path.stat().st_size < 2**20
    script = f"""
import resource
from mfu_profiler.cli.main import main
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
status = main(["report", {str(path)!r}, "--max-bytes", "300000000"])
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert status == 2 and grown < 250_000, (status, grown)  # KiB, the imports included
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert "more than 300,000,000 bytes" in run.stderr


def test_non_utf8_names_are_shown_with_replacement_characters(capsys: Captured, tmp_path: Path) -> None:
    text = reported(capsys, pack(tmp_path, TRACE.replace(b'"gemm"', b'"gemm\xff\xfe"')))
    assert "gemm" in text and "MFU" in text


def test_nesting_10_000_deep_inside_an_event(capsys: Captured, tmp_path: Path) -> None:
    deep = b"[" * 10_000 + b"]" * 10_000
    changed = TRACE.replace(b'"args":{}', b'"args":{"deep":' + deep + b"}")
    status = main(["report", str(pack(tmp_path, changed))])
    out, err = capsys.readouterr()
    assert status in (0, 2) and (out or err.startswith("error: ")) and "Traceback" not in err
    tail = TRACE[:-1] + b',"deep":' + deep + b"}"
    assert "MFU" in reported(capsys, pack(tmp_path, tail))


@pytest.mark.parametrize("value", [None, 7, "text", [], {}, True, -1e300, 2**70], ids=repr)
@pytest.mark.parametrize("field", ["ph", "cat", "name", "pid", "tid", "ts", "dur", "args"])
def test_events_of_the_wrong_type(capsys: Captured, tmp_path: Path, field: str, value: Any) -> None:
    events = [*steps(5), *(one | {field: value} for one in steps(5))]
    assert "MFU" in reported(capsys, write_trace(tmp_path, events))
    status = main(["report", str(write_trace(tmp_path, [one | {field: value} for one in steps(3)]))])
    out, err = capsys.readouterr()
    assert status in (0, 2) and (out or err.startswith("error: ")) and "internal" not in err


def test_ids_beyond_64_bits(capsys: Captured, tmp_path: Path) -> None:
    events = steps(5)
    for one in events:
        if "correlation" in one["args"]:
            one["args"]["correlation"] += 2**70
    assert "MFU" in reported(capsys, write_trace(tmp_path, events))


def test_no_steps_are_said_to_be_missing(capsys: Captured, tmp_path: Path) -> None:
    events = [one for one in steps(5) if one["cat"] != "user_annotation"]
    assert "step" in reported(capsys, write_trace(tmp_path, events))


def test_no_device_events_are_said_to_be_missing(capsys: Captured, tmp_path: Path) -> None:
    events = [one for one in steps(5) if one["cat"] != "kernel"]
    assert "device activities are missing" in reported(capsys, write_trace(tmp_path, events))


@pytest.mark.parametrize("windows", ["device", "host", "span"])
def test_zero_length_steps(capsys: Captured, tmp_path: Path, windows: str) -> None:
    events = [one | ({"dur": 0} if one["cat"] == "user_annotation" else {}) for one in steps(5)]
    assert "MFU" in reported(capsys, write_trace(tmp_path, events), "--windows", windows)
    still = [mark("ProfilerStep#0", 5, 0), mark("ProfilerStep#1", 5, 0), op("aten::mm", 5, 0)]
    still += [launch(1, 5, 0), kernel(1, 5, 0)]
    assert "MFU" in reported(capsys, write_trace(tmp_path, still), "--windows", windows)


@pytest.mark.parametrize("windows", ["device", "host", "span"])
def test_steps_that_overlap(capsys: Captured, tmp_path: Path, windows: str) -> None:
    overlapping = [mark(f"ProfilerStep#{step}", 1_000_000 * step, 3_000_000) for step in range(5)]
    events = [*overlapping, *(one for one in steps(5) if one["cat"] != "user_annotation")]
    assert "MFU" in reported(capsys, write_trace(tmp_path, events), "--windows", windows)


def test_only_unknown_categories(capsys: Captured, tmp_path: Path) -> None:
    path = write_trace(tmp_path, [event("mtia_ccp_events", "x", 0, 9), event("?", "y", 5, 9)])
    assert "it holds no events of the profiler" in refused(capsys, path)


def test_only_metadata_events(capsys: Captured, tmp_path: Path) -> None:
    path = write_trace(tmp_path, [{"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "python"}}])
    assert "it holds no events of the profiler" in refused(capsys, path)


def test_a_name_full_of_escapes_is_made_visible(capsys: Captured, tmp_path: Path) -> None:
    assert "\\x1b" in refused(capsys, tmp_path / "a\x1b[31mb.json")
