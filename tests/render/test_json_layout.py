"""Lists of whole numbers stand on one line of the JSON form, and nothing else changes by it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.analysis.report import DeviceSamples, Report, StepTimeline, TimelineLane
from mfu_profiler.render import render_json
from tests.render.charted import charted, charted_hostile
from tests.render.sample import resnet

LISTED = "[1,\n 2]"
"""What the layout looks for, inside a string."""
texts = st.text() | st.sampled_from(
    [LISTED, f'"{LISTED}"', "[\n  -1\n]", "[\\n1]", "\\", "[\r\n1,\u20282]", "[]", "[1,  2]", "[ 3]"]
)
LARGEST = 2**53
whole = st.integers(-LARGEST, LARGEST) | st.sampled_from([-LARGEST, LARGEST])
events = st.lists(st.tuples(whole, whole, whole, whole, whole), max_size=3).map(tuple)


def lists_of(text: str) -> list[Any]:
    """What stands as a whole list on a line of its own."""
    lines = (line.strip().rstrip(",") for line in text.split("\n"))
    return [json.loads(line) for line in lines if line.startswith("[") and line.endswith("]")]


def plain(report: Report) -> Any:
    """What the JSON form must hold."""
    return json.loads(msgspec.json.encode(report))


@given(
    notes=st.lists(texts, max_size=4).map(tuple),
    directions=st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    steps=st.lists(st.floats(0, 1e300) | st.just(2.0), max_size=3).map(tuple),
    drawn=events,
    names=st.lists(texts, max_size=3).map(tuple),
)
def test_the_layout_changes_no_value(
    notes: tuple[str, ...],
    directions: dict[str, float],
    steps: tuple[float, ...],
    drawn: Any,
    names: tuple[str, ...],
) -> None:
    lane = TimelineLane("host", LISTED, drawn, 0, 0)
    report = replace(
        resnet(),
        notes=notes,
        copy_by_direction=directions,
        step_times_s=steps,
        step_timeline=StepTimeline(LISTED, 1, (lane,), 0, names, ()),
        device_samples=DeviceSamples(steps, steps, steps, notes),
    )
    text = render_json([report])
    assert json.loads(text) == plain(report)
    assert json.loads(render_json([report, report]))["reports"] == [plain(report)] * 2
    assert lists_of(text) == [list(event) for event in drawn]


def test_an_event_is_one_line_and_all_else_is_indented() -> None:
    text = render_json([charted()])
    assert lists_of(text)[2:4] == [[0, 6_000_000, 2, 0, 0], [0, 9_000_000, 2, 2, 0]]
    lines = text.split("\n")
    assert '  "schema_version": 1,' in lines
    assert "    0.231," in lines, "numbers with a fraction, as they were"
    assert not any(line.strip().rstrip(",").isdigit() for line in lines)


def test_events_of_a_hostile_step_are_one_line_each_as_well() -> None:
    step = charted_hostile().step_timeline
    assert step is not None
    found = [list(event) for lane in step.lanes for event in lane.events]
    assert lists_of(render_json([charted_hostile()])) == found
