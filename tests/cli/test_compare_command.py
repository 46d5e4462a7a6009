"""``compare`` from the command line: traces and JSON mixed, its files, its gate, bad input."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from mfu_profiler.analysis.report import Report
from mfu_profiler.cli.main import main
from mfu_profiler.render import render_json
from tests.analysis.compared import run
from tests.render.sample import ranks, resnet
from tests.trace.make import Layout, steps, trace_bytes

Captured = pytest.CaptureFixture[str]


def text_of(capsys: Captured, *words: str) -> str:
    assert main(["compare", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def error_of(capsys: Captured, *words: str) -> str:
    """The error text, once it is held to its form: one line and indented hints."""
    assert main(["compare", *words]) == 2
    out, err = capsys.readouterr()
    first, *hints = err.splitlines()
    assert out == "" and first.startswith("error: ") and hints
    assert all(hint.startswith("  ") for hint in hints) and "internal" not in err
    return err


def saved(folder: Path, name: str, reports: Sequence[Report]) -> str:
    place = folder / name
    place.write_text(render_json(reports))
    return str(place)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    before, after = run(0.1, deviation_s=0.001), run(0.12, deviation_s=0.001)
    return saved(tmp_path, "before.json", [before]), saved(tmp_path, "after.json", [after])


@pytest.fixture
def trace(tmp_path: Path) -> str:
    place = tmp_path / "trace.json"
    place.write_bytes(trace_bytes(steps(5), Layout()))
    return str(place)


def test_the_real_pair_gives_the_same_from_traces_and_from_json(
    shared_dir: Path, tmp_path: Path, capsys: Captured
) -> None:
    before, after = (
        str(shared_dir / "traces" / f"kineto_resnet50_workers{workers}_v100.json.gz") for workers in (0, 4)
    )
    places = [str(tmp_path / name) for name in ("before.json", "after.json")]
    for source, place in zip((before, after), places, strict=True):
        assert main(["report", source, "--json", place]) == 0
    capsys.readouterr()
    pages = {}
    for words in ((before, after), (places[0], after), (before, places[1]), tuple(places)):
        pages[words], _, _ = text_of(capsys, *words).partition("What was compared")
    [page] = set(pages.values())
    assert page.startswith("  176 ms → 136 ms, 40.3 ms (22.9 %) faster: data loading 56.7 ms → 692 µs;")
    assert "  data loading         56.7 ms   692 µs  -56.0 ms" in page
    assert "A: 5 steps ± 2.4 %; B: 4 steps ± 11.0 %" in page


def test_the_same_file_twice_has_no_difference(trace: str, capsys: Captured) -> None:
    text = text_of(capsys, trace, trace)
    assert text.startswith("  no difference: step ") and "What changed" not in text
    assert "Ops" not in text and "Kernels" not in text and "What else differs" not in text


@pytest.mark.parametrize("name", ["tracelens_h100_bert", "kineto_resnet50_workers4_v100"])
def test_a_trace_and_its_own_report_have_no_difference(
    name: str, shared_dir: Path, tmp_path: Path, capsys: Captured
) -> None:
    source, place = str(shared_dir / "traces" / f"{name}.json.gz"), str(tmp_path / "report.json")
    assert main(["report", source, "--json", place]) == 0
    capsys.readouterr()
    for words in ((source, place), (place, source)):
        [one] = json.loads(text_of(capsys, *words, "--json", "-"))["pairs"]
        assert one["is_equal"] and one["verdict"] == "no difference" and one["change_s"] == 0
    assert main(["compare", source, place, "--max-regression", "0"]) == 0
    assert capsys.readouterr().out.startswith("  no difference: ")


def test_a_packed_report_and_one_on_standard_input(
    pair: tuple[str, str], tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = pair
    text, _, _ = text_of(capsys, before, after).partition("What was compared")
    packed = tmp_path / "before.json.gz"
    packed.write_bytes(gzip.compress(Path(before).read_bytes()))
    assert text_of(capsys, str(packed), after).startswith(text)
    stream = io.BufferedReader(io.BytesIO(Path(before).read_bytes()))  # type: ignore[arg-type]  # any raw stream
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    assert text_of(capsys, "-", after).startswith(text)


def test_three_runs_are_a_table_and_the_first_is_named(
    pair: tuple[str, str], trace: str, capsys: Captured
) -> None:
    text = text_of(capsys, *pair, trace)
    assert text.startswith("3 runs\n") and "against A" in text and "What changed" not in text
    assert len(json.loads(text_of(capsys, *pair, trace, "--json", "-"))["pairs"]) == 2


def test_several_ranks_are_a_page_each(tmp_path: Path, capsys: Captured) -> None:
    place = saved(tmp_path, "ranks.json", ranks())
    text = text_of(capsys, place, place)
    assert text.index("── rank 0 · device 0") < text.index("── rank 1 · device 1")


def test_files_are_written_beside_the_page_and_never_over_another(
    pair: tuple[str, str], tmp_path: Path, capsys: Captured
) -> None:
    places = {form: str(tmp_path / f"out.{form}") for form in ("json", "markdown", "junit")}
    options = [word for form, place in places.items() for word in (f"--{form}", place)]
    limit = ["--max-regression", "50%"]
    assert "slower" in text_of(capsys, *pair, *options, *limit)
    assert json.loads(Path(places["json"]).read_text())["pairs"][0]["verdict"] == "slower"
    assert "slower" in Path(places["markdown"]).read_text().splitlines()[2]
    assert ElementTree.parse(places["junit"]).getroot().get("failures") == "0"
    for form, place in places.items():
        assert main(["compare", *pair, f"--{form}", place, *limit]) == 2
        assert "without --force" in capsys.readouterr().err
    text_of(capsys, *pair, *options, *limit, "--force")
    for one in pair:
        content = Path(one).read_text()
        assert main(["compare", *pair, "--json", one, "--force"]) == 2
        assert "will not overwrite" in capsys.readouterr().err and Path(one).read_text() == content


def test_one_place_for_two_files_is_an_error(pair: tuple[str, str], tmp_path: Path, capsys: Captured) -> None:
    place = str(tmp_path / "out")
    assert "cannot go to the same place" in error_of(capsys, *pair, "--json", place, "--markdown", place)
    assert not Path(place).exists()


def test_the_reader_chooses_how_many_ops_and_kernels_are_listed(tmp_path: Path, capsys: Captured) -> None:
    before = saved(tmp_path, "before.json", [resnet()])
    after = saved(tmp_path, "after.json", [run(0.12, kernels=(), ops=())])
    text = text_of(capsys, before, after, "--top", "2")
    assert text.count("vanished") == 3 and "5 more differ, each by 6.10 ms at most" in text


# --- gate ----------------------------------------------------------------------------------------------

GATE = [
    (run(0.1, deviation_s=0.001), run(0.12, deviation_s=0.001), "5%", 1, "over the limit of 5 %"),
    (run(0.1, deviation_s=0.001), run(0.12, deviation_s=0.001), "0.05", 1, "over the limit of 5 %"),
    (run(0.1, deviation_s=0.001), run(0.12, deviation_s=0.001), "20%", 0, "within the limit of 20 %"),
    (run(0.1, deviation_s=0.001), run(0.12, deviation_s=0.001), "19.9 %", 1, "20 % longer"),
    (run(0.1, deviation_s=0.001), run(0.12, deviation_s=0.001), "0", 1, "over the limit of 0 %"),
    (run(0.1, deviation_s=0.001), run(0.08, deviation_s=0.001), "0", 0, "20 % shorter"),
    (run(0.1, deviation_s=0.05), run(0.12, deviation_s=0.05), "5%", 0, "within the noise of the steps"),
    (run(0.1, count=1), run(0.12, deviation_s=0.05), "5%", 1, "nobody can tell it from noise"),
    (run(0.1, deviation_s=0.05), run(0.12, count=1), "5%", 1, "nobody can tell it from noise"),
    (run(0.1, count=1), run(0.104, count=1), "5%", 0, "within the limit of 5 %"),
    (run(None), run(0.1), "5%", 1, "A has no step time"),
    (run(0.1), run(None), "5%", 1, "B has no step time"),
]


@pytest.mark.parametrize(("before", "after", "limit", "status", "words"), GATE)
def test_the_gate(
    before: Report,
    after: Report,
    limit: str,
    status: int,
    words: str,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    places = [saved(tmp_path, f"{number}.json", [one]) for number, one in enumerate((before, after))]
    junit = tmp_path / "gate.xml"
    assert main(["compare", *places, "--max-regression", limit, "--junit", str(junit)]) == status
    out, err = capsys.readouterr()
    said = " ".join(out.split())
    assert words in said and ("failed step time of B: " if status else "passed step time of B: ") in said
    if status:
        assert err.startswith("failed: step time of B: ") and words in err and err.count("\n") == 1
    elif "noise" in words:
        assert err.startswith("note: step time of B: ") and words in err and err.count("\n") == 1
    else:
        assert err == ""
    root = ElementTree.parse(junit).getroot()
    assert (root.get("tests"), root.get("failures")) == ("1", str(status))
    assert words in junit.read_text()


def test_the_gate_holds_every_run_against_the_first(tmp_path: Path, capsys: Captured) -> None:
    runs = [run(step_s, deviation_s=0.0005) for step_s in (0.1, 0.104, 0.12, 0.09, 0.13)]
    places = [saved(tmp_path, f"{number}.json", [one]) for number, one in enumerate(runs)]
    assert main(["compare", *places, "--max-regression", "5%"]) == 1
    out, err = capsys.readouterr()
    assert [line[:23] for line in err.splitlines()] == ["failed: step time of C:", "failed: step time of E:"]
    assert out.startswith("5 runs\n")


def test_a_rank_that_only_the_first_run_has_fails(tmp_path: Path, capsys: Captured) -> None:
    both, one = saved(tmp_path, "both.json", ranks()), saved(tmp_path, "one.json", ranks()[:1])
    assert main(["compare", both, one, "--max-regression", "5%"]) == 1
    assert "failed: step time of B, rank 1 device 1: unknown, only A has" in capsys.readouterr().err
    assert main(["compare", one, both, "--max-regression", "5%"]) == 0


def test_without_a_limit_a_longer_step_is_no_failure(pair: tuple[str, str], capsys: Captured) -> None:
    assert "slower" in text_of(capsys, *pair)


@pytest.mark.parametrize(
    "limit", ["5", "1", "-5%", "-0.05", "five", "", "%", "nan", "inf", "5 percent", "5%%"]
)
def test_a_limit_that_is_no_limit_is_one_error(limit: str, pair: tuple[str, str], capsys: Captured) -> None:
    assert "--max-regression 5%" in error_of(capsys, *pair, f"--max-regression={limit}")


def test_results_without_a_limit_are_an_error(pair: tuple[str, str], capsys: Captured) -> None:
    assert "without a limit" in error_of(capsys, *pair, "--junit", "-")


# --- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"schema_version": 1, "mfu": 0.1', "a report that is cut off"),
        (b'{"schema_version": 99}', "schema version 99"),
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
    for words in ((str(place), pair[1]), (pair[0], str(place)), (*pair, str(place))):
        error = error_of(capsys, *words)
        assert reason in error and str(place) in error and "report TRACE --json FILE" in error


def test_too_few_runs_a_missing_file_and_two_standard_inputs(pair: tuple[str, str], capsys: Captured) -> None:
    assert "help: python -m mfu_profiler compare --help" in error_of(capsys)
    assert "at least two runs" in error_of(capsys, pair[0])
    assert "No such file" in error_of(capsys, pair[0], "none.json")
    assert "only one of the runs" in error_of(capsys, "-", pair[0], "-")


def test_ranks_that_have_nothing_in_common(tmp_path: Path, capsys: Captured) -> None:
    first = saved(tmp_path, "first.json", ranks())
    second = saved(tmp_path, "second.json", [resnet(), resnet()])
    assert "no rank and device is in both runs: A has rank 0" in error_of(capsys, first, second)
