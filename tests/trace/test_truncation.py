"""A file that ends early is read up to its last whole event."""

import gzip
import json
import random
from pathlib import Path

import pytest

from mfu_profiler.errors import TraceFormatError
from mfu_profiler.trace.reader import read_trace
from mfu_profiler.trace.timeline import Timeline
from tests.trace.make import Layout, kernel, launch, mark, op, pack, rows, steps, trace_bytes
from tests.trace.test_blocks import set_blocks

EVENTS = [
    mark("ProfilerStep#1", 0, 900),
    op("a},{b]", 10, 20, **{"Input Dims": [[1, 2], [{}, {}]]}),
    launch(1, 15),
    kernel(1, 40, 100, x=[{"y": 1}, {"z": [2]}]),
]


def read_or_refusal(path: Path) -> tuple[tuple[Timeline, ...], str]:
    """The timelines, or none and what the reader says instead."""
    try:
        return read_trace(path), ""
    except TraceFormatError as error:
        return (), str(error)


def event_ends(text: bytes) -> list[int]:
    """Where each event ends, by Python's decoder."""
    decoder, ends = json.JSONDecoder(), []
    plain = text.decode()
    position = plain.index("[", plain.index("traceEvents") if plain[0] == "{" else 0) + 1
    while True:
        while plain[position] in ", \n":
            position += 1
        if plain[position] == "]":
            return ends
        _, position = decoder.raw_decode(plain, position)
        ends.append(position)


@pytest.mark.parametrize("block", [None, 60])
@pytest.mark.parametrize("is_pretty", [False, True], ids=["compact", "pretty"])
@pytest.mark.parametrize("is_array", [False, True], ids=["object", "array"])
def test_cut_at_any_byte_the_whole_events_before_the_cut_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_array: bool, is_pretty: bool, block: int | None
) -> None:
    text = trace_bytes(EVENTS, Layout(is_array=is_array, is_pretty=is_pretty))
    ends = event_ends(text)
    assert len(ends) == len(EVENTS)
    if block is not None:
        set_blocks(monkeypatch, block)
    expected = [rows(read_trace(pack(tmp_path, text[:end]))) for end in ends]
    assert [len(found) for found in expected] == [1, 2, 3, 4]
    for cut in range(len(text)):
        path = pack(tmp_path, text[:cut])
        count = sum(end <= cut for end in ends)
        if count == 0:
            with pytest.raises(TraceFormatError):
                read_trace(path)
            continue
        timelines = read_trace(path)
        assert rows(timelines) == expected[count - 1], cut
        assert "cut off" in str(timelines[0].facts.truncated_because), cut


def test_members_before_a_cut_in_the_tail_are_kept(tmp_path: Path) -> None:
    members = {"deviceProperties": [{"id": 0, "name": "NVIDIA L4"}], "torch_version": "2.9", "x": 1}
    text = trace_bytes(EVENTS, Layout(members_after=True), members)
    (timeline,) = read_trace(pack(tmp_path, text[:-4]))
    assert timeline.device is not None and timeline.device.name == "NVIDIA L4"
    assert timeline.facts.torch_version == "2.9"
    assert timeline.facts.truncated_because == "the file is cut off after its events"


def test_broken_json_in_the_middle_ends_the_reading_there(tmp_path: Path) -> None:
    text = trace_bytes(EVENTS, Layout())
    broken = text.replace(b'"cudaLaunchKernel"', b'"cudaLaunch"Kernel"')
    (timeline,) = read_trace(pack(tmp_path, broken))
    assert timeline.facts.event_count == 2
    assert "after its last whole event" in str(timeline.facts.truncated_because)


def test_a_gzip_cut_at_any_byte_gives_the_events_before_the_cut(tmp_path: Path) -> None:
    whole = gzip.compress(trace_bytes(steps(60), Layout()), 6)
    (timeline,) = read_trace(pack(tmp_path, trace_bytes(steps(60), Layout())))
    complete = rows((timeline,))
    counts = []
    for cut in [*range(2, 30), *range(30, len(whole), 13), *range(len(whole) - 9, len(whole))]:
        path = pack(tmp_path, whole[:cut])
        timelines, refusal = read_or_refusal(path)
        if not timelines:
            assert "cut off" in refusal
            continue
        (timeline,) = timelines
        found = [row[:4] for row in rows((timeline,))]
        assert set(found) <= {row[:4] for row in complete}, cut
        assert timeline.facts.truncated_because == "the compressed file is cut off"
        counts.append(len(found))
    assert counts == sorted(counts) and counts[0] < 20 and counts[-1] == len(complete)


def test_a_large_gzip_loses_only_what_follows_the_cut(tmp_path: Path) -> None:
    text = trace_bytes(steps(20_000), Layout())  # one block of 8 MiB holds half of it
    whole = gzip.compress(text, 1)
    (timeline,) = read_trace(pack(tmp_path, whole[: len(whole) * 9 // 10]))
    assert 0.85 * 80_000 < timeline.facts.event_count < 0.95 * 80_000


@pytest.mark.parametrize("seed", range(40))
def test_a_gzip_with_a_flipped_byte_is_refused_or_said_to_be_corrupt(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    damaged = bytearray(gzip.compress(trace_bytes(steps(60), Layout()), 6))
    damaged[rng.randrange(10, len(damaged))] ^= 1 << rng.randrange(8)
    timelines, refusal = read_or_refusal(pack(tmp_path, bytes(damaged)))
    reason = str(timelines[0].facts.truncated_because) if timelines else refusal
    assert "corrupt" in reason or "cut off" in reason


def test_garbage_after_a_gzip_is_reported_and_costs_nothing(tmp_path: Path) -> None:
    (timeline,) = read_trace(pack(tmp_path, gzip.compress(trace_bytes(EVENTS, Layout())) + b"garbage"))
    assert timeline.facts.event_count == len(EVENTS)
    assert "corrupt" in str(timeline.facts.truncated_because)
