"""The file of a live run: what torch exported, with the live facts spliced in."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfu_profiler.errors import TraceFormatError
from mfu_profiler.trace.live_file import BLOCK_MARK, step_marks_trace, write_live_trace
from mfu_profiler.trace.reader import read_trace

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def written(folder: Path, raw: str, live: dict[str, object]) -> dict[str, object]:
    source, target = folder / "raw.json", folder / "whole.json.gz"
    source.write_text(raw, encoding="utf-8")
    write_live_trace(source, live, target)
    content: dict[str, object] = json.loads(gzip.decompress(target.read_bytes()))
    return content


@settings(max_examples=100)
@given(live=st.dictionaries(st.text(), json_values), trace=st.dictionaries(st.text(), json_values))
def test_facts_and_trace_come_back_whole(
    live: dict[str, object], trace: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("live")
    trace.pop("mfu_profiler", None)
    content = written(folder, json.dumps(trace), live)
    assert content == {"mfu_profiler": live, **trace}
    assert sorted(path.name for path in folder.iterdir()) == ["raw.json", "whole.json.gz"]


def test_blanks_before_and_after_the_first_brace_do_no_harm(tmp_path: Path) -> None:
    assert written(tmp_path, ' \n{\n  "a": 1\n}', {"b": 2}) == {"mfu_profiler": {"b": 2}, "a": 1}
    assert written(tmp_path, "{ }", {"b": 2}) == {"mfu_profiler": {"b": 2}}


@pytest.mark.parametrize("raw", ["", "[1]", "no trace"])
def test_what_is_no_json_object_is_refused_and_nothing_is_left(raw: str, tmp_path: Path) -> None:
    with pytest.raises(TraceFormatError, match="torch exported no trace"):
        written(tmp_path, raw, {})
    assert [path.name for path in tmp_path.iterdir()] == ["raw.json"]


def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        written(tmp_path, "{}", {"mfu": float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == ["raw.json"]


def test_step_marks_are_steps_of_their_exact_length(tmp_path: Path) -> None:
    steps = [
        (1, 1_000_000_000_000_000_123, 1_000_000_000_000_004_123),
        (2, 1_000_000_000_000_004_123, 10**18 + 9_001),
    ]
    trace = step_marks_trace(steps, (10**18, 10**18 + 10_000), process=7, thread=8, torch_version="2.13.0")
    written(tmp_path, json.dumps(trace), {"version": 1})
    (timeline,) = read_trace(tmp_path / "whole.json.gz")
    marks = timeline.marks
    found = {
        timeline.names[name]: (start, end)
        for name, start, end in zip(
            marks.name.tolist(), marks.start_ns.tolist(), marks.end_ns.tolist(), strict=True
        )
    }
    assert found == {
        BLOCK_MARK: (0, 10_000),
        "ProfilerStep#1": (123, 4_123),
        "ProfilerStep#2": (4_123, 9_001),
    }
    assert timeline.facts.torch_version == "2.13.0"
