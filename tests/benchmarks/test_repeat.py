"""Repeated traces are well-formed, and their reports are what they should be."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import mfu_profiler
from tests.benchmarks.repeat import Template, repeat

TINY = """{"schemaVersion": 1, "deviceProperties": [{"id": 0, "name": "V100"}],
 "traceEvents": [
  {"ph": "M", "name": "process_name", "ts": 990, "pid": 1, "args": {"name": "python"}},
  {"ph":"X","cat":"user_annotation","name":"ProfilerStep#7","pid":1,"tid":1,"ts":1000.001,"dur":10.5},
  {"ph":"X","cat":"user_annotation","name":"ProfilerStep#8","pid":1,"tid":1,"ts":1012.250,"dur":10},
  {"ph":"X","cat":"cpu_op","name":"100 % \\"ts\\": 5","pid":1,"tid":1,"ts":1001,"dur":1,
   "args":{"External id":0,"Sequence number":0,"Input Dims":[[5]]}},
  {"ph":"X","cat":"cuda_runtime","name":"cudaLaunchKernel","pid":1,"tid":1,"ts" : 1002,"dur":1,
   "args":{"correlation": 9, "external id": "4", "external ts": 1001}},
  {"ph":"s","cat":"ac2g","id":9,"pid":1,"tid":1,"ts":1002,"name":"ac2g"}
 ], "traceName": "ts"}"""


def _events(template: Template, copies: int) -> list[dict[str, Any]]:
    return json.loads("".join(template.repeated(copies)))["traceEvents"]


def test_one_copy_is_the_source():
    assert "".join(Template.of(TINY).repeated(1)) == TINY


def test_stamps_move_by_the_span_of_the_work_and_keep_their_digits():
    template = Template.of(TINY)
    assert template.span_us == 24  # 1022.250 - 1000.001, rounded up, and 1 µs between copies
    text = "".join(template.repeated(3))
    for stamp in ("1000.001", "1024.001", "1048.001", "1012.250", "1036.250", "1060.250"):
        assert f'"ts":{stamp},' in text
    assert [event["args"]["external ts"] for event in _events(template, 2)[4::6]] == [1001, 1025]


def test_step_numbers_go_on():
    steps = [event["name"] for event in _events(Template.of(TINY), 2) if "Step" in event["name"]]
    assert steps == ["ProfilerStep#7", "ProfilerStep#8", "ProfilerStep#9", "ProfilerStep#10"]


def test_ids_differ_between_copies_and_agree_within_one():
    call, flow = _events(Template.of(TINY), 3)[4::6], _events(Template.of(TINY), 3)[5::6]
    assert [event["args"]["correlation"] for event in call] == [9, 19, 29]
    assert [event["id"] for event in flow] == [9, 19, 29]
    assert [event["args"]["external id"] for event in call] == ["4", "14", "24"]


def test_an_id_of_zero_means_none_and_stays_but_a_sequence_number_does_not():
    arguments = [event["args"] for event in _events(Template.of(TINY), 2)[3::6]]
    assert [one["External id"] for one in arguments] == [0, 0]
    assert [one["Sequence number"] for one in arguments] == [0, 10]


def test_texts_and_shapes_stay():
    for event in _events(Template.of(TINY), 2)[3::6]:
        assert event["name"] == '100 % "ts": 5'
        assert event["args"]["Input Dims"] == [[5]]


def test_a_bare_list_of_events_is_repeated():
    bare = json.dumps(json.loads(TINY)["traceEvents"])
    assert len(json.loads("".join(Template.of(bare).repeated(2)))) == 12


def test_there_are_as_many_copies_as_both_sizes_take(tmp_path: Path):
    source, target = tmp_path / "source.json.gz", tmp_path / "target.json"
    source.write_bytes(gzip.compress(TINY.encode()))
    repeat(source, target, events=13, size_byte=1)
    assert len(json.loads(target.read_text())["traceEvents"]) == 18
    repeat(source, target, size_byte=4 * len(TINY))
    assert len(json.loads(target.read_text())["traceEvents"]) == 24


@pytest.mark.parametrize("text", ["{}", "[]", '{"traceEvents": [{"ph": "M"}]}', "nothing"])
def test_what_holds_no_work_is_refused(text: str):
    with pytest.raises(ValueError, match=r"no torch\.profiler trace|holds no work"):
        Template.of(text)


@pytest.mark.parametrize("name", ["hta_ns_resolution_v100", "kineto_resnet50_workers0_v100"])
def test_the_report_of_a_repeated_trace_has_its_steps_and_its_time(
    shared_dir: Path, tmp_path: Path, name: str
):
    """The last step has no successor, so each further copy adds all its steps and exactly its span."""
    source, target = shared_dir / "traces" / f"{name}.json.gz", tmp_path / "target.json"
    span_s = repeat(source, target, copies=3).span_us / 1e6
    once, thrice = mfu_profiler.analyze(source), mfu_profiler.analyze(target)
    assert thrice.steps.count == once.steps.count + 2 * (once.steps.count + 1)
    assert sum(thrice.step_times_s) - sum(once.step_times_s) == pytest.approx(2 * span_s, abs=1e-9)
    assert thrice.trace.events == 3 * once.trace.events
    numbers = [int(window.label.removeprefix("ProfilerStep#")) for window in thrice.windows]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
