"""Damaged traces give a report or one clear error, never another exception and never a warning."""

import copy
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.analysis import analyze_all
from mfu_profiler.errors import MfuProfilerError
from mfu_profiler.render import render_json, render_markdown, render_terminal
from tests.trace.make import Layout, pack, steps, trace_bytes

CASES = 2_000
CHUNKS = 20
"""Tests that the cases are spread over, so that workers share them."""
REAL = ("hta_cpu_only", "tracelens_mi300x_compiled", "tracelens_h100_bert", "tracelens_mi300x_bert")

Mutation = Callable[[bytearray, random.Random], None]


def flip(text: bytearray, rng: random.Random) -> None:
    text[rng.randrange(len(text))] ^= 1 << rng.randrange(8)


def delete(text: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(text))
    del text[start : start + rng.choice((1, 1, 2, 9, 200))]


def insert(text: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(text))
    text[start:start] = rng.choice(
        (b'"', b"\\", b"{", b"}", b"[", b"]", b",", b"\0", b"\xff", b"NaN", b"},{")
    )


def swap(text: bytearray, rng: random.Random) -> None:
    one, other = sorted(rng.randrange(len(text)) for _ in range(2))
    size = rng.choice((1, 5, 100))
    text[one : one + size], text[other : other + size] = text[other : other + size], text[one : one + size]


def duplicate(text: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(text))
    text[start:start] = text[start : start + rng.choice((1, 10, 1000))]


def truncate(text: bytearray, rng: random.Random) -> None:
    del text[rng.randrange(len(text)) :]


def change_digits(text: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 10, 100))):
        place = rng.randrange(len(text))
        if 48 <= text[place] <= 57:
            text[place] = rng.randrange(48, 58)


def blow_up(text: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(text))
    if 48 <= text[place] <= 57:
        text[place : place + 1] = rng.choice((b"99999999999", b"1e300", b"-1", b"1e-300", b"9" * 5000, b".5"))


BYTE_MUTATIONS: tuple[Mutation, ...] = (
    flip,
    delete,
    insert,
    swap,
    duplicate,
    truncate,
    change_digits,
    blow_up,
)
ODD_VALUES = (
    None,
    True,
    -1,
    0,
    2**63,
    2**64,
    10**25,
    -(10**18),
    1e300,
    4e15,
    0.1,
    "",
    "x",
    [],
    {},
    [[]],
    [1, [2]],
)
ODD_VALUES += (
    [[-1, 2]],
    [[2**62, 2**62], [2**62, 2**62]],
    "1e9",
    "ProfilerStep#7",
    "cudaGraphLaunch",
    "kernel",
    "X",
)


def mutated_json(trace: Any, rng: random.Random) -> bytes:
    """A few members changed, removed, doubled or exchanged, anywhere in the trace."""
    whole = json.loads(trace)
    events = whole["traceEvents"] if isinstance(whole, dict) else whole
    holders = [whole] if isinstance(whole, dict) and rng.random() < 0.2 else events
    for _ in range(rng.choice((1, 3, 30, 300))):
        holder = rng.choice(holders)
        while isinstance(holder, (dict, list)) and holder:
            key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            if isinstance(holder[key], (dict, list)) and holder[key] and rng.random() < 0.7:
                holder = holder[key]
                continue
            sibling = holder[rng.choice(list(holder))] if isinstance(holder, dict) else 7
            holder[key] = copy.deepcopy(rng.choice((*ODD_VALUES, sibling)))
            break
    if rng.random() < 0.2:
        rng.shuffle(events)
    return json.dumps(whole).encode()


def mutated(text: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.4:
        return mutated_json(text, rng)
    changed = bytearray(text)
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        if changed:
            rng.choice(BYTE_MUTATIONS)(changed, rng)
    return bytes(changed)


def check(path: Path, seed: int) -> None:
    """Everything that is done with a trace, up to the text that is shown."""
    try:
        reports = analyze_all(path, windows=("device", "host", "span")[seed % 3])
    except MfuProfilerError:
        return
    assert reports
    json.loads(render_json(reports))
    render_markdown(reports)
    render_terminal(reports, color=False, width=80)


@pytest.fixture(scope="session")
def originals() -> list[bytes]:
    """The real traces where they are there, and always one made here."""
    from tests.conftest import SHARED

    made = [trace_bytes(steps(5), Layout(is_pretty=True)), trace_bytes(steps(4), Layout(is_array=True))]
    paths = [SHARED / "traces" / f"{name}.json.gz" for name in REAL]
    return made + [gzip.decompress(path.read_bytes()) for path in paths if path.is_file()]


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_mutated_traces_give_a_report_or_one_error(
    originals: list[bytes], tmp_path: Path, chunk: int
) -> None:
    for case in range(chunk, CASES, CHUNKS):
        print("case", case)  # shown where one fails
        text = originals[0] if case % 3 == 0 else originals[case % len(originals)]
        check(pack(tmp_path, mutated(text, random.Random(case))), case)


@pytest.mark.parametrize("packing", ["gz", "zip"])
def test_damaged_packings_give_a_report_or_one_error(tmp_path: Path, packing: Any) -> None:
    whole = pack(tmp_path, trace_bytes(steps(5), Layout()), packing).read_bytes()
    for case in range(200):
        rng = random.Random(case)
        changed = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3))):
            rng.choice((flip, flip, delete, duplicate, truncate))(changed, rng)
        path = tmp_path / "damaged"
        path.write_bytes(changed)
        check(path, case)
