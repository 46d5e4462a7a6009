"""A long trace, made by repeating a short one: ``python -m tests.benchmarks.repeat SOURCE TARGET``.

::

    source   {header "traceEvents": [  e1, e2, ... en  ]  tail}
    target   {header "traceEvents": [  e1, e2, ... en,  e1', e2', ... en',  e1'', ...  ]  tail}

Copies are made of the text, so that the target has the source's spelling, spacing and digits. Only whole
numbers change, and only those that tell the copies apart: time stamps move by whole µs (the ns digits stay),
ids and sequence numbers by a stride larger than any of them, step numbers go on counting. One copy begins
where all work of the one before has ended; no event joins two copies.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Template", "repeat"]

_EVENTS = re.compile(r'\s*\[|.*?"traceEvents"\s*:\s*\[', re.DOTALL)
_STAMPS = ("ts", "external ts")
_IDS = (
    "correlation",
    "id",  # of a flow
    "External id",
    "external id",
    "Sequence number",
    "Record function id",
    "Ev Idx",
    "Profiler Event Index",
    "Python id",
    "Python parent id",
)
_MEANS_NONE_IF_ZERO = frozenset({"correlation", "External id", "external id"})
_STEP = "ProfilerStep#"
_DAY_US = 86_400e6
"""A longer event is no event: ROCm's duration overflows, for one."""
# A key inside a string is written \"ts\": and is not found. Numbers of over 18 digits are no such ids.
_NUMBER = re.compile(
    r'((?:"(?P<key>' + "|".join(_STAMPS + _IDS) + r')"\s*:\s*"?)|' + _STEP + r")(?P<number>\d{1,18})(?!\d)"
)


@dataclass(frozen=True, slots=True)
class Template:
    """A trace as text with holes for the numbers that differ between copies."""

    header: str
    body: str
    """The events, comma-separated, with ``%d`` for each hole and ``%%`` for each percent sign."""
    tail: str
    numbers: list[int]
    """What stands in the holes of the source."""
    strides: list[int]
    """By how much each grows from copy to copy."""
    event_count: int
    span_us: int
    """Stride of the stamps: from the first start to the last end of the source's work."""

    @classmethod
    def of(cls, text: str) -> Template:
        """Raises: ValueError: the text is no trace, or holds no work."""
        opening = _EVENTS.match(text)
        if opening is None:
            raise ValueError("no torch.profiler trace")
        events, end = json.JSONDecoder(strict=False).raw_decode(text, opening.end() - 1)
        source = text[opening.end() : end - 1]
        holes = [(match["key"] or _STEP, int(match["number"])) for match in _NUMBER.finditer(source)]
        span = _span_us(events)
        ids = [number for key, number in holes if key in _IDS]
        steps = [number for key, number in holes if key == _STEP]
        stride_of = dict.fromkeys(_STAMPS, span) | dict.fromkeys(_IDS, max(ids, default=0) + 1)
        stride_of[_STEP] = max(steps, default=0) - min(steps, default=0) + 1
        return cls(
            header=text[: opening.end()],
            body=_NUMBER.sub(r"\1%d", source.replace("%", "%%")),
            tail=text[end - 1 :],
            numbers=[number for _, number in holes],
            strides=[
                0 if number == 0 and key in _MEANS_NONE_IF_ZERO else stride_of[key] for key, number in holes
            ],
            event_count=len(events),
            span_us=span,
        )

    def repeated(self, copies: int) -> Iterator[str]:
        """The pieces of the long trace."""
        yield self.header
        numbers = self.numbers
        for index in range(copies):
            if index:
                yield ","
                numbers = [number + stride for number, stride in zip(numbers, self.strides, strict=True)]
            yield self.body % tuple(numbers)
        yield self.tail


def repeat(
    source: Path, target: Path, *, copies: int | None = None, events: int = 0, size_byte: int = 0
) -> Template:
    """Write ``source`` repeated to ``target``, uncompressed.

    Args:
        source: a trace, ``.json`` or ``.json.gz``.
        target: the file to write.
        copies: how many; by default as many as it takes to reach both ``events`` and ``size_byte``.
        events: least number of events, all phases counted.
        size_byte: least size of the target.

    """
    content = source.read_bytes()
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    template = Template.of(content.decode("utf-8", "replace"))
    if copies is None:
        copies = max(1, math.ceil(events / template.event_count), math.ceil(size_byte / len(content)))
    with target.open("w", encoding="utf-8", newline="") as file:
        file.writelines(template.repeated(copies))
    return template


def _span_us(events: list[Any]) -> int:
    work = [event for event in events if event.get("ph") == "X" and "ts" in event]
    if not work:
        raise ValueError("the trace holds no work")
    starts = [float(event["ts"]) for event in work]
    durations = [float(event.get("dur") or 0) for event in work]
    ends = [start + duration for start, duration in zip(starts, durations, strict=True) if duration < _DAY_US]
    return math.ceil(max(ends + starts) - min(starts)) + 1


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make a long trace by repeating a short one.")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--copies", type=int, help="how many, instead of the least sizes below")
    parser.add_argument("--events", type=int, default=1_000_000, help="least number of events")
    parser.add_argument("--bytes", type=int, default=250_000_000, help="least size")
    given = parser.parse_args()
    repeat(given.source, given.target, copies=given.copies, events=given.events, size_byte=given.bytes)


if __name__ == "__main__":
    main()
