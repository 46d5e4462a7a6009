"""Where a block of the file happens to end changes nothing, whatever the events hold."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfu_profiler.trace import decode, source
from mfu_profiler.trace.reader import read_trace
from tests.trace.make import Layout, event, kernel, launch, op, pack, rows, trace_bytes

BLOCKS = (50, 64, 97, 211, 640, 2000)

NESTED = {"x": [{"ph": "X"}, {"b": [{}, {"c": 1}]}], "y": {"z": {"traceEvents": [{}, {}]}}}
TEXTS = ("a},{b", "]", "}],", '"traceEvents": [', 'say "nan": nan, ok', "\\", '\\"', "nan", "µ±∑🙂" * 9, "")


def tricky_events() -> list[Any]:
    events = [op(text, 1_000 * place, 500, **NESTED) for place, text in enumerate(TEXTS)]
    events += [op("x", 1, 2, **{"Call stack": text, "Input Dims": [[1]]}) for text in TEXTS]
    events += [launch(number, 20_000 + number) for number in range(1, 9)]
    return [*events, *(kernel(number, 30_000 + number, 77) for number in range(1, 9))]


def set_blocks(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(source, "BLOCK_BYTE", size)
    monkeypatch.setattr(decode, "LEAST_BLOCK_BYTE", 2 * size)
    monkeypatch.setattr(decode, "MOST_BLOCK_BYTE", 8 * size)


def read_in_blocks(path: Path, size: int | None) -> tuple[Any, ...]:
    """Everything that is read, with blocks of the given size."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        if size is not None:
            set_blocks(monkeypatch, size)
        timelines = read_trace(path)
    facts = timelines[0].facts
    counts = (facts.event_count, sorted(facts.categories.items()), sorted(facts.dropped.items()))
    device = timelines[0].device
    return rows(timelines), counts, device, facts.truncated_because, facts.torch_version


@pytest.mark.parametrize("is_pretty", [False, True], ids=["compact", "pretty"])
@pytest.mark.parametrize("is_array", [False, True], ids=["object", "array"])
def test_a_trace_full_of_brackets_in_strings_reads_alike_in_blocks_of_any_size(
    tmp_path: Path, is_array: bool, is_pretty: bool
) -> None:
    path = pack(tmp_path, trace_bytes(tricky_events(), Layout(is_array=is_array, is_pretty=is_pretty)))
    whole = read_in_blocks(path, None)
    assert len(whole[0]) == 2 * len(TEXTS) + 16 and whole[3] is None
    for size in BLOCKS:
        assert read_in_blocks(path, size) == whole, size


ODD_VALUES = (
    b"NaN",
    b"-NaN",
    b"nan",
    b"-nan",
    b"Infinity",
    b"-Infinity",
    b"inf",
    b"-inf",
    b"INF",
    b"[nan, 1, -inf]",
    b"[[inf],[nan]]",
    b"[ NaN ]",
    b'"a \x01\x02 tab \t end"',
    b'"\\ud800"',
    b'"\\udfff\\ud800 x"',
    b'"\xff\xfe\xc3"',
    b'"\xe2\x82"',
    b"1e999",
    b"-1e999",
    b"1e-999",
    b"1" * 5000,
    b"1e99999999999999999999",
    b"123456789012345678901234567890",
    b"true",
    b"null",
    b"{}",
    b"[]",
    b"[" * 500 + b"]" * 500,
)


@pytest.mark.parametrize("value", ODD_VALUES, ids=lambda value: repr(value[:24]))
@pytest.mark.parametrize("key", ["other", "Input Dims", "correlation", "Call stack"])
def test_an_odd_argument_costs_no_event(tmp_path: Path, key: str, value: bytes) -> None:
    odd = op("nan, inf, [nan]", 10, 9, **{key: "HERE"})
    text = trace_bytes([op("first", 0, 9), odd, op("last", 20, 9), kernel(3, 5, 8)], Layout())
    path = pack(tmp_path, text.replace(b'"HERE"', value))
    whole = read_in_blocks(path, None)
    found = {(row[0], row[1], row[2], row[3]) for row in whole[0]}
    expected = {("op", "first", 0, 9), ("op", "nan, inf, [nan]", 10, 19), ("op", "last", 20, 29)}
    assert found == expected | {("kernel", "gemm", 5, 13)}
    assert whole[3] is None
    for size in (50, 211):
        assert read_in_blocks(path, size)[1:] == whole[1:]


@pytest.mark.parametrize("field", ["name", "cat", "ph", "pid", "tid", "ts", "dur", "args"])
@pytest.mark.parametrize("value", [*ODD_VALUES, b"7", b'"text"'], ids=lambda value: repr(value[:24]))
def test_an_odd_field_costs_at_most_its_event(tmp_path: Path, field: str, value: bytes) -> None:
    odd = event("cpu_op", "odd", 10, 9) | {field: "HERE"}
    text = trace_bytes([op("first", 0, 9), odd, op("last", 20, 9)], Layout()).replace(b'"HERE"', value)
    path = pack(tmp_path, text)
    whole = read_in_blocks(path, None)
    assert {row[1] for row in whole[0]} >= {"first", "last"}
    assert len(whole[0]) <= 3 and whole[3] is None
    for size in (50, 211):
        assert read_in_blocks(path, size) == whole


def test_broken_utf8_in_a_name_becomes_replacement_characters(tmp_path: Path) -> None:
    text = trace_bytes([op("aHERE", 0, 9), op("ü" * 300, 20, 9)], Layout()).replace(b"HERE", b"\xff")
    for size in (None, 50, 51):
        found = read_in_blocks(pack(tmp_path, text), size)[0]
        assert {row[1] for row in found} == {"a\ufffd", "ü" * 300}


@pytest.mark.parametrize("value", [1, "text", None, [1, 2], [{"ph": "X"}], True, -0.5, {}], ids=repr)
def test_a_member_of_the_event_list_that_is_no_event_is_counted(tmp_path: Path, value: Any) -> None:
    text = trace_bytes([op("first", 0, 9), {"HERE": 1}, op("last", 20, 9)], Layout())
    path = pack(tmp_path, text.replace(b'{"HERE":1}', msgspec.json.encode(value)))
    whole = read_in_blocks(path, None)
    assert {row[1] for row in whole[0]} == {"first", "last"}
    assert whole[1][2] == ([] if value == {} else [("malformed", 1)])
    for size in (50, 211):
        assert read_in_blocks(path, size) == whole


def test_members_after_the_events_are_read(tmp_path: Path) -> None:
    layout = Layout(members_after=True)
    members = {"deviceProperties": [{"id": 0, "name": "NVIDIA H100 PCIe"}], "torch_version": "2.9"}
    padding = {"padding": [NESTED] * 30, "note": "] },{"}
    path = pack(tmp_path, trace_bytes(tricky_events(), layout, padding | members))
    for size in (None, *BLOCKS):
        read = read_in_blocks(path, size)
        assert read[2].name == "NVIDIA H100 PCIe" and read[4] == "2.9" and read[3] is None


def test_a_huge_header_is_read_over_many_blocks(tmp_path: Path) -> None:
    members = {
        "log": ['"traceEvents": [' * 10] * 50,
        "nested": {"traceEvents": [{"ph": "X"}]},
        'traceEvents": [{"ph": "X"': 1,
        "deviceProperties": [{"id": 0, "name": "NVIDIA H100 PCIe"}],
    }
    path = pack(tmp_path, trace_bytes([op("a", 0, 9), kernel(1, 2, 3)], Layout(), members))
    for size in (None, *BLOCKS):
        read = read_in_blocks(path, size)
        assert [row[1] for row in read[0]] == ["gemm", "a"]
        assert read[2].name == "NVIDIA H100 PCIe"


@given(st.integers(40, 3000), st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=60, deadline=None)
def test_random_blocks_of_random_traces_read_alike(
    tmp_path_factory: pytest.TempPathFactory, size: int, random: Any, is_pretty: bool
) -> None:
    events = random.sample(tricky_events() * 3, 30)
    seed = random.randrange(1000)
    path = pack(
        tmp_path_factory.mktemp("t"), trace_bytes(events, Layout(is_pretty=is_pretty, shuffle_seed=seed))
    )
    assert read_in_blocks(path, size) == read_in_blocks(path, None)


def test_an_event_larger_than_a_block_is_read(tmp_path: Path) -> None:
    events = [op("a", 0, 9), op("b", 10, 9, x=["},{" * 5000]), op("c", 20, 9)]
    path = pack(tmp_path, trace_bytes(events, Layout()))
    for size in (None, 500):
        assert [row[1] for row in read_in_blocks(path, size)[0]] == ["a", "b", "c"]


def test_one_fault_does_not_slow_its_whole_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def counted(text: bytes, kind: Any) -> Any:
        asked.append(text)
        return lenient(text, kind)

    lenient = decode.lenient_event
    monkeypatch.setattr(decode, "lenient_event", counted)
    text = trace_bytes([op(f"op {number}", number, 9) for number in range(20_000)], Layout())
    path = pack(tmp_path, text.replace(b'"op 12345"', b'"op \xff"'))
    assert read_trace(path)[0].facts.event_count == 20_000
    assert sum(map(len, asked)) < 4 * decode.LEAST_BLOCK_BYTE
