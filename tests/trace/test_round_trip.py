"""What is written in any accepted form is read back exactly."""

import io
import itertools
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfu_profiler.trace.reader import read_trace
from tests.trace.make import JsonObject, Layout, event, kernel, launch, pack, rows, trace_bytes, write_trace

EPOCH_NS = 1_712_195_495_519_689_052  # a float64 of these µs is off by up to 125 ns
BASES = (0, 6_322_354_285_748_736, 2**43 * 1000 - 3, 2**43 * 1000 + 1, EPOCH_NS, EPOCH_NS // 1000 * 1000)

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
large_ids = st.integers(2**63, 2**70).filter(lambda number: number % 2**64 != 0)  # 0 means none
ids = st.one_of(st.none(), st.integers(1, 50), st.integers(2**53, 2**53 + 9), large_ids)
shapes = st.lists(st.lists(st.integers(0, 2**40), max_size=3), max_size=3)


def _without_none(**members: Any) -> JsonObject:
    return {name.replace("_", " "): value for name, value in members.items() if value is not None}


op_arguments = st.builds(
    lambda dims, external, sequence, stack: (
        _without_none(External_id=external, Sequence_number=sequence, Call_stack=stack)
        | (
            {"Input Dims": dims, "Input type": ["float"], "Concrete Inputs": ["1"]}
            if dims is not None
            else {}
        )
    ),
    st.one_of(st.none(), shapes),
    ids,
    ids,
    st.one_of(st.none(), names),
)
call_arguments = st.builds(lambda c, e: _without_none(correlation=c, External_id=e), ids, ids)
activity_arguments = st.builds(
    lambda c, e, stream, size, collective: (
        {"device": 0, "stream": stream}
        | _without_none(correlation=c, External_id=e, bytes=size, Collective_name=collective)
    ),
    ids,
    ids,
    st.integers(0, 3),
    ids,
    st.one_of(st.none(), st.just("allreduce")),
)


@st.composite
def traces(draw: st.DrawFn) -> list[JsonObject]:
    """Random events of one process and one device, on one clock."""
    base = draw(st.sampled_from(BASES))
    times = st.integers(0, 10**10)
    categories = {
        "cpu_op": op_arguments,
        "cuda_runtime": call_arguments,
        "user_annotation": st.just({}),
        "python_function": st.just({}),
        "kernel": activity_arguments,
        "gpu_memcpy": activity_arguments,
        "gpu_memset": activity_arguments,
    }
    made = []
    for category in draw(st.lists(st.sampled_from(sorted(categories)), min_size=1, max_size=8)):
        is_device = category in ("kernel", "gpu_memcpy", "gpu_memset")
        pid, tid = (0, 7) if is_device else (10, draw(st.integers(1, 3)))
        arguments = draw(categories[category])
        start, duration = base + draw(times), draw(times)
        made.append(event(category, draw(names), start, duration, pid=pid, tid=tid, args=arguments))
    return made


def expected_rows(events: list[JsonObject]) -> list[tuple[Any, ...]]:
    """The rows of ``rows()``, by the plainest reading of the events."""
    calls = sorted(
        (start, -(end - start), args.get("correlation"))
        for category, start, end, args in map(_plain, events)
        if category == "cuda_runtime" and args.get("correlation") is not None
    )
    found: list[tuple[Any, ...]] = []
    for one in events:
        category, start, end, args = _plain(one)
        base = (one["name"], start, end)
        thread = f"{one['pid']}/{one['tid']}"
        external = _wrapped(args.get("External id"))
        if category == "cpu_op":
            texts = [args.get(name) for name in ("Input Dims", "Input type", "Concrete Inputs")]
            sequence = _wrapped(args.get("Sequence number"))
            found.append(("op", *base, thread, *texts, args.get("Call stack"), sequence, external))
        elif category == "cuda_runtime":
            found.append(("call", *base, thread, _wrapped(args.get("correlation")), external))
        elif category in ("user_annotation", "python_function"):
            found.append(("mark" if category == "user_annotation" else "python", *base, thread))
        else:
            kind = category.removeprefix("gpu_")
            joined = [(time, _wrapped(c)) for time, _, c in calls if c == args.get("correlation")]
            place = (0, str(args["stream"]), joined[0] if joined else None)
            size = _wrapped(args.get("bytes"))
            found.append((kind, *base, *place, size, external, "Collective name" in args))
    return sorted(found, key=repr)


def _plain(one: JsonObject) -> tuple[str, int, int, JsonObject]:
    start, duration = int(one["ts"] * 1000), int(one["dur"] * 1000)
    return one["cat"], start, start + duration, one["args"]


def _wrapped(value: int | None) -> int | None:
    return None if value is None else (value + 2**63) % 2**64 - 2**63


@given(traces(), st.integers(0, 99), st.booleans(), st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_kept_column_comes_back_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[JsonObject],
    seed: int,
    is_array: bool,
    is_pretty: bool,
    has_text_ids: bool,
    members_after: bool,
) -> None:
    layout = Layout("json", is_array, is_pretty, has_text_ids, members_after, seed)
    path = write_trace(tmp_path_factory.mktemp("t"), events, layout)
    assert rows(read_trace(path)) == expected_rows(events)


@given(traces())
@settings(max_examples=15, deadline=None)
def test_all_forms_of_one_trace_read_alike(
    tmp_path_factory: pytest.TempPathFactory, events: list[JsonObject]
) -> None:
    forms = itertools.product(("json", "gz", "zip", "zipped gz", "folder"), (False, True), (False, True))
    for number, (packing, is_array, is_pretty) in enumerate(forms):
        path = write_trace(tmp_path_factory.mktemp("t"), events, Layout(packing, is_array, is_pretty))
        timelines = read_trace(path)
        assert rows(timelines) == expected_rows(events), number
        assert timelines[0].facts.truncated_because is None


@pytest.mark.parametrize("packing", ["json", "gz"])
def test_standard_input_is_read_packed_or_plain(
    packing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [launch(1, EPOCH_NS), kernel(1, EPOCH_NS + 7_001, 30_303)]
    content = pack(tmp_path, trace_bytes(events, Layout()), packing).read_bytes()
    stdin = SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(content)))  # type: ignore[arg-type]  # raw enough
    monkeypatch.setattr(sys, "stdin", stdin)
    assert rows(read_trace("-")) == expected_rows(events)


def test_a_named_pipe_is_read(tmp_path: Path) -> None:
    import os
    import threading

    events = [launch(1, EPOCH_NS), kernel(1, EPOCH_NS + 7_001, 30_303)]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(trace_bytes(events, Layout())))
    writer.start()
    assert rows(read_trace(pipe)) == expected_rows(events)
    writer.join()


def test_hidden_files_of_macos_are_no_traces(tmp_path: Path) -> None:
    import zipfile

    text = trace_bytes([launch(1, 0)], Layout())
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("t.json", text)
        archive.writestr("__MACOSX/._t.json", b"\0")
    (tmp_path / "._t.zip").write_bytes(b"\0")
    assert rows(read_trace(tmp_path)) == expected_rows([launch(1, 0)])


def test_a_byte_order_mark_and_blank_lines_may_precede_the_trace(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf\r\n\n " + trace_bytes([launch(1, 0)], Layout())
    assert rows(read_trace(pack(tmp_path, text))) == expected_rows([launch(1, 0)])


def test_one_fraction_among_whole_epoch_stamps_is_exact(tmp_path: Path) -> None:
    # 3,000 whole stamps, then one whose float64 is whole too: ...690.0
    events = [launch(number + 1, EPOCH_NS // 1000 * 1000 + number * 1000) for number in range(3000)]
    events.append(launch(9000, EPOCH_NS + 1_000))
    text = trace_bytes(events, Layout()).replace(b'.000,"dur"', b',"dur"')
    assert rows(read_trace(pack(tmp_path, text))) == expected_rows(events)


def test_stamps_in_strings_are_exact(tmp_path: Path) -> None:
    events = [launch(number + 1, EPOCH_NS + 777 * number) for number in range(5)]
    text = trace_bytes([one | {"ts": str(one["ts"])} for one in events], Layout())
    assert rows(read_trace(pack(tmp_path, text))) == expected_rows(events)


@pytest.mark.parametrize("seed", range(3))
def test_real_traces_read_alike_compact_and_shuffled(shared_dir: Path, tmp_path: Path, seed: int) -> None:
    import gzip
    import json
    from decimal import Decimal

    source = shared_dir / "traces" / ("tracelens_mi300x_bert", "tracelens_h100_bert", "hta_cpu_only")[seed]
    source = source.with_suffix(".json.gz")
    whole = json.loads(gzip.decompress(source.read_bytes()), parse_float=Decimal)
    events = whole.pop("traceEvents")
    members = {"deviceProperties": whole.get("deviceProperties", [])}
    original = rows(read_trace(source))
    for layout in (Layout("json", False, False, False, True, seed), Layout("gz", True, True)):
        assert rows(read_trace(write_trace(tmp_path, events, layout, members))) == original
