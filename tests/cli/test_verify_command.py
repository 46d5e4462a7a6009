"""``verify`` holds a prediction against the run that came: from traces, from JSON, and never over a file."""

from __future__ import annotations

import gzip
import io
import json
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.text import Text

from mfu_profiler.analysis.report import Report
from mfu_profiler.analysis.verifying.verify import verifications
from mfu_profiler.cli.main import main
from mfu_profiler.render import render_json
from mfu_profiler.render.verify_view import render_verification, render_verification_json
from tests.render.sample import SAMPLES, hostile, ranks, resnet
from tests.trace.make import Layout, steps, trace_bytes

Captured = pytest.CaptureFixture[str]
README = Path(__file__).parents[2] / "README.md"


def text_of(capsys: Captured, *words: str) -> str:
    assert main(["verify", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def error_of(capsys: Captured, *words: str) -> str:
    """The error text, once it is held to its form: one line and indented hints."""
    assert main(["verify", *words]) == 2
    out, err = capsys.readouterr()
    first, *hints = err.splitlines()
    assert out == "" and first.startswith("error: ") and hints
    assert all(hint.startswith("  ") for hint in hints) and "internal" not in err
    return err


def saved(folder: Path, name: str, reports: Sequence[Report]) -> str:
    place = folder / name
    place.write_text(render_json(reports))
    return str(place)


def faster() -> Report:
    """The sample without its wait for data."""
    sample = resnet()
    rows = [row for row in sample.waterfall if row.cause != "idle_data_loading"]
    gone = replace(sample.waterfall[6], cause="idle_data_loading", fraction=0.0, time_s=0.0)
    windows = tuple(replace(window, duration_ns=120_000_000) for window in sample.windows)
    return replace(
        sample, step_time_s=0.12, windows=windows, waterfall=(gone, *rows), findings=sample.findings[1:]
    )


def predicting() -> Report:
    """The sample, whose first finding predicts a step of 114 ms."""
    sample = resnet()
    first, *others = sample.findings
    told = replace(first, code="data_loading", step_time_after_s=0.114, mfu_after=0.43, confidence="high")
    return replace(sample, findings=(told, *others))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    return saved(tmp_path, "before.json", [predicting()]), saved(tmp_path, "after.json", [faster()])


def test_it_says_what_was_fixed_predicted_and_achieved_and_the_error(
    pair: tuple[str, str], capsys: Captured
) -> None:
    lines = text_of(capsys, *pair).splitlines()
    assert lines[:6] == [
        "  fixed      The device waits for the data loader",
        "  before     step 176 ms, median of 5 steps (171 ms to 183 ms)",
        "  predicted  step 114 ms at best, without this cause",
        "  achieved   step 120 ms, median of 5 steps (171 ms to 183 ms)",
        "  error      -5.0 %: the prediction was too short (predicted / achieved - 1)",
        "  MFU        28.1 % before, 43.0 % predicted, 28.1 % achieved",
    ]
    text = " ".join(" ".join(lines).split())
    assert "data loading: fixed, 32.6 % → 0.0 % of the step; predicted 114 ms" in text
    assert "host bound: smaller, 9.3 % → 8.3 % of the step; no prediction" in text


def test_the_real_pair_gives_the_same_from_traces_and_from_json(
    shared_dir: Path, tmp_path: Path, capsys: Captured
) -> None:
    before, after = (
        str(shared_dir / "traces" / f"kineto_resnet50_workers{workers}_v100.json.gz") for workers in (0, 4)
    )
    places = [str(tmp_path / name) for name in ("before.json", "after.json")]
    for trace, place in zip((before, after), places, strict=True):
        assert main(["report", trace, "--json", place]) == 0
    capsys.readouterr()
    text = text_of(capsys, before, after)
    assert "step 119 ms at best" in text and "step 128 ms, median of 4 steps" in text and "-7.5 %" in text
    for words in ((places[0], after), (before, places[1]), tuple(places)):
        assert text_of(capsys, *words) == text


def test_the_comparison_in_the_readme_is_what_the_command_prints(shared_dir: Path, capsys: Captured) -> None:
    before, after = (
        str(shared_dir / "traces" / f"kineto_resnet50_workers{workers}_v100.json.gz") for workers in (0, 4)
    )
    _, _, shown = README.read_text().partition("$ python -m mfu_profiler verify ")
    _, _, block = shown.partition("\n\n")
    expected = block.partition("\n```")[0]
    assert expected.count("\n") >= 5 and text_of(capsys, before, after).startswith(expected)


def test_the_same_file_twice_has_nothing_fixed(tmp_path: Path, capsys: Captured) -> None:
    trace = tmp_path / "trace.json"
    trace.write_bytes(trace_bytes(steps(5), Layout()))
    text = text_of(capsys, str(trace), str(trace))
    assert "fixed      nothing: " in text and "error      unknown: " in text


def test_a_packed_report_and_one_on_standard_input(
    pair: tuple[str, str], tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = pair
    text = text_of(capsys, before, after)
    packed = tmp_path / "before.json.gz"
    packed.write_bytes(gzip.compress(Path(before).read_bytes()))
    assert text_of(capsys, str(packed), after) == text
    stream = io.BufferedReader(io.BytesIO(Path(before).read_bytes()))  # type: ignore[arg-type]  # any raw stream
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    assert text_of(capsys, "-", after) == text


def test_a_trace_on_standard_input(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    content = trace_bytes(steps(5), Layout())
    trace = tmp_path / "trace.json"
    trace.write_bytes(content)
    stream = io.BufferedReader(io.BytesIO(content))  # type: ignore[arg-type]  # any raw stream
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    assert "standard input" in text_of(capsys, "-", str(trace))


def test_json_is_the_dataclass(pair: tuple[str, str], capsys: Captured) -> None:
    content: dict[str, Any] = json.loads(text_of(capsys, *pair, "--json", "-"))
    assert content["schema_version"] == 1 and content["fixed"] == ["data_loading"]
    assert content["predicted_step_time_s"] == 0.114 and content["achieved_step_time_s"] == 0.12
    assert content["error_fraction"] == pytest.approx(-0.05)
    assert content["findings"][0]["fate"] == "gone" and content["error_unknown_because"] is None


def test_several_ranks_are_a_page_and_an_object_each(tmp_path: Path, capsys: Captured) -> None:
    place = saved(tmp_path, "ranks.json", ranks())
    text = text_of(capsys, place, place)
    assert text.index("── rank 0 · device 0") < text.index("── rank 1 · device 1")
    content = json.loads(text_of(capsys, place, place, "--json", "-"))
    assert [one["before"]["rank"] for one in content["verifications"]] == [0, 1]


def test_json_goes_to_a_file_beside_the_text_and_never_over_another(
    pair: tuple[str, str], tmp_path: Path, capsys: Captured
) -> None:
    place = tmp_path / "out.json"
    assert "error " in text_of(capsys, *pair, "--json", str(place))
    assert json.loads(place.read_text())["error_fraction"] == pytest.approx(-0.05)
    assert main(["verify", *pair, "--json", str(place)]) == 2
    assert "without --force" in capsys.readouterr().err
    text_of(capsys, *pair, "--json", str(place), "--force")
    for one in pair:
        content = Path(one).read_text()
        assert main(["verify", *pair, "--json", one, "--force"]) == 2
        assert "will not overwrite" in capsys.readouterr().err and Path(one).read_text() == content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"schema_version": 1, "mfu": 0.1', "a report that is cut off"),
        (b'{"schema_version": 99}', "schema version 99"),
        (b'{"schema_version": 1, "devices": []}', "no report of mfu_profiler"),
        (b'{"schema_version": 1, "reports": []}', "the file holds no report"),
        (b'{"loss": 1}', "no torch.profiler trace"),
        (b"hello", "no torch.profiler trace"),
        (b"", "the file is empty"),
    ],
)
def test_bad_input_is_one_error_and_says_what_is_read(
    content: bytes, reason: str, pair: tuple[str, str], tmp_path: Path, capsys: Captured
) -> None:
    place = tmp_path / "bad.json"
    place.write_bytes(content)
    for words in ((str(place), pair[1]), (pair[0], str(place))):
        error = error_of(capsys, *words)
        assert reason in error and str(place) in error and "report TRACE --json FILE" in error


def test_a_missing_file_and_two_standard_inputs(pair: tuple[str, str], capsys: Captured) -> None:
    assert "No such file" in error_of(capsys, pair[0], "none.json")
    assert "only one of BEFORE and AFTER" in error_of(capsys, "-", "-")
    assert "help: python -m mfu_profiler verify --help" in error_of(capsys, pair[0])


def test_ranks_that_have_nothing_in_common(tmp_path: Path, capsys: Captured) -> None:
    first = saved(tmp_path, "first.json", ranks())
    second = saved(tmp_path, "second.json", [resnet(), resnet()])
    assert "no rank and device is in both runs" in error_of(capsys, first, second)


EVERY = sorted(set(SAMPLES) - {"none"})


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("sample", EVERY)
def test_every_line_fits_and_is_inert(sample: str, width: int) -> None:
    for before, after in ((SAMPLES[sample], [faster()]), ([predicting()], SAMPLES[sample])):
        found = verifications(before[:1], after[:1])
        text = render_verification(found, color=False, width=width)
        assert max(map(cell_len, text.splitlines())) <= width
        odd = {one for one in text if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}}
        assert odd == {"\n"} and text.endswith("\n")
        plain = render_verification_json(found)
        assert plain.isascii() and json.loads(plain)["schema_version"] == 1


def test_a_hostile_report_survives_the_way_through_json(tmp_path: Path, capsys: Captured) -> None:
    place = saved(tmp_path, "hostile.json", [hostile()])
    assert "\x1b" not in text_of(capsys, place, place)


def test_colour_changes_no_word() -> None:
    found = verifications([predicting()], [faster()])
    coloured = render_verification(found, color=True)
    words = [line.rstrip() for line in Text.from_ansi(coloured).plain.splitlines()]
    assert "\x1b[1m" in coloured and words == render_verification(found, color=False).splitlines()


def test_an_estimate_is_called_one_and_what_after_does_not_tell_is_no_number() -> None:
    before = predicting()
    estimate = replace(before.findings[0], code="optimizer", confidence="medium")
    found = verifications([replace(before, findings=(estimate,))], [faster()])
    text = render_verification(found, color=False)
    assert "step 114 ms at best, an estimate, without this cause" in text
    assert "57.4 ms → no finding" in text
    assert "optimizer: fixed, 32.6 % of the step → no finding; predicted 114 ms" in text


def test_numbers_that_json_has_not_are_null() -> None:
    """A report that somebody changed by hand may overflow."""
    huge = replace(predicting(), step_time_s=1e308)
    one = replace(huge.findings[0], share_fraction=1e300)
    found = verifications([replace(huge, findings=(one,))], [faster()])
    assert json.loads(render_verification_json(found))["findings"][0]["time_before_s"] is None
