"""Files are written whole or not at all, and text goes where somebody reads it."""

import io
import os
import sys
from pathlib import Path

import pytest

from mfu_profiler.cli import output
from mfu_profiler.cli.output import Target, check_targets, print_text, write_target
from mfu_profiler.errors import OptionError


def test_a_new_file_is_written_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_target(Target("json", str(tmp_path / "out.json")), "{µ}\n", force=False)
    assert [(path.name, path.read_text("utf-8")) for path in tmp_path.iterdir()] == [("out.json", "{µ}\n")]


def test_an_existing_file_needs_force(tmp_path: Path) -> None:
    place = tmp_path / "out.json"
    place.write_text("old")
    target = Target("json", str(place))
    with pytest.raises(OptionError, match=r"will not overwrite .*out.json without --force"):
        check_targets([target], trace="trace.json", force=False)
    with pytest.raises(OptionError, match=r"will not overwrite .*out.json without --force"):
        write_target(target, "new", force=False)
    assert place.read_text() == "old"
    check_targets([target], trace="trace.json", force=True)
    write_target(target, "new", force=True)
    assert place.read_text() == "new"


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "out.json"
    place.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OptionError, match=r"cannot write .*: No space left on device"):
        write_target(Target("json", str(place)), "new", force=True)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_link_keeps_pointing_where_it_did(tmp_path: Path) -> None:
    link, place = tmp_path / "link.json", tmp_path / "out.json"
    place.write_text("old")
    link.symlink_to(place)
    write_target(Target("json", str(link)), "new", force=True)
    assert link.is_symlink() and place.read_text() == "new"


def test_a_device_is_written_to_and_not_replaced() -> None:
    target = Target("json", "/dev/null")
    check_targets([target], trace="trace.json", force=False)
    write_target(target, "text", force=False)
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing/out.json", "no such folder: .*missing"),
        ("folder", "it is a folder"),
        ("trace.json", "is the trace"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(
    path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("trace.json").write_text("[]")
    with pytest.raises(OptionError, match=message):
        check_targets([Target("json", path)], trace="trace.json", force=True)


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OptionError, match="no permission to write in"):
        check_targets([Target("json", str(tmp_path / "out.json"))], trace="trace.json", force=False)


def test_two_outputs_need_two_places(tmp_path: Path) -> None:
    for path in ("-", str(tmp_path / "out")):
        with pytest.raises(OptionError, match="same place"):
            check_targets([Target("json", path), Target("markdown", path)], trace="t", force=True)


def test_an_output_without_unicode_gets_plain_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    print_text("██▍ 13 µs ± 2 → 日\n")
    assert raw.getvalue() == b"##. 13 us +- 2 -> \\u65e5\n"


def test_a_closed_or_full_stdout_is_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OptionError, match="stdout: it is closed"):
        print_text("text")
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        monkeypatch.setattr(output, "discard_stdout", lambda: None)
        with pytest.raises(OptionError, match="stdout: No space left"):
            print_text("text")
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_that_want_it(
    environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert output.stdout_color(environment) is expected
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert output.stdout_color(environment) is False


def test_errors_show_names_as_escapes_and_hints_below(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_error("no peak for \x1b[31mX\n", "nearest: Y", "give it: Z")
    assert capsys.readouterr().err == "error: no peak for \\x1b[31mX\\n\n  nearest: Y\n  give it: Z\n"


def test_force_never_overwrites_what_the_report_is_made_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace.json"
    trace.write_text("{}")
    target = [Target("json", str(trace))]
    for said in (str(trace), str(tmp_path)):
        with pytest.raises(OptionError, match="it is the trace"):
            check_targets(target, trace=said, force=True)
    with trace.open("rb") as opened:
        monkeypatch.setattr(os, "fstat", lambda _: os.stat(opened.name))
        with pytest.raises(OptionError, match="it is the trace"):
            check_targets(target, trace="-", force=True)
    check_targets([Target("json", str(tmp_path / "new.json"))], trace=str(tmp_path), force=True)
