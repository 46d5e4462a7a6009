"""Bytes -> events, in blocks of bounded size.

A block is cut where one event ends and the next begins, and decoded as ``[`` + block + ``]``. The cut
is a guess (the last ``},{``), and decoding proves it: a block that begins between two events and decodes
as a list cannot end inside a string or inside an object.

::

    {"schemaVersion": 1, ... "traceEvents": [   {..}, {..}, {..},   {..}, {..} ], "traceName": ...}
    └──────────── header ─────────────────┘     └── block ────┘     └─ block ┘  └──── tail ─────┘

What the fast decoder refuses (NaN, control characters, broken UTF-8, fields of the wrong type) goes to
Python's own ``json``, one event at a time, which also finds the last whole event of a broken file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import numpy as np

from mfu_profiler.errors import TraceFormatError
from mfu_profiler.trace.events import Event, ExactEvent, Metadata
from mfu_profiler.trace.source import Source

__all__ = ["Decoder"]

MAX_EVENT_BYTE = 64 * 2**20
"""A header or one event larger than this is refused: no profiler writes one."""

_EVENTS_KEY = re.compile(rb'"traceEvents"\s*:\s*\[')
_BETWEEN_EVENTS = re.compile(rb"\}\s*,\s*(?=\{)")
# Not JSON, but written by older profilers for occupancies: after a key or inside a list of numbers.
_NOT_A_NUMBER = re.compile(rb'(?i)(?<=[":\[,])(\s*:?\s*)-?(?:nan|inf(?:inity)?)(?=\s*[,}\]])')
_EXACT_BELOW_US = float(2**43)

_LENIENT = json.JSONDecoder(strict=False, parse_constant=lambda _: None, parse_float=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Decoder:
    """Decodes one source; iterate over ``events()`` first, then read what the attributes say."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._blocks = source.blocks()
        self._buffer = b""
        self._at_end = False
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[Event])
        self._is_object = False
        self._expected_event: type[Event] | type[ExactEvent] = Event
        self.metadata = Metadata()
        """Top-level keys, complete once the events are exhausted."""
        self.truncated_because: str | None = None
        """Why reading stopped early; None where the trace was read whole."""
        self.malformed_count = 0
        """Members of the event list that are no events, or whose fields have the wrong type."""

    def events(self) -> Iterator[list[Event] | list[ExactEvent]]:
        """Lists of events in file order.

        Raises:
            TraceFormatError: not JSON, or JSON that is no trace.

        """
        self._read_header()
        ended = False
        while not ended:
            if not self._at_end:
                self._fill()
            events, ended = self._next_block()
            if events:
                yield events
        if self.truncated_because is None:
            self._read_tail()
        if self._source.broken_because:
            self.truncated_because = self._source.broken_because

    # Reading ------------------------------------------------------------------------------------

    def _fill(self) -> None:
        block = next(self._blocks, b"")
        self._at_end = not block
        self._buffer += block

    def _read_header(self) -> None:
        while not self._buffer.lstrip(b"\xef\xbb\xbf \t\r\n") and not self._at_end:
            self._fill()
        self._buffer = self._buffer.lstrip(b"\xef\xbb\xbf \t\r\n")
        if self._buffer[:1] == b"[":
            self._buffer = self._buffer[1:]
            return
        if self._buffer[:1] != b"{":
            raise self._no_trace("it is empty" if not self._buffer else "it is not JSON")
        self._is_object = True
        searched = 0
        while True:
            for match in _EVENTS_KEY.finditer(self._buffer, searched):
                header = self._buffer[: match.start()] + b'"traceEvents":0}'
                metadata = _metadata(header)
                if metadata is not None:
                    self.metadata = metadata
                    self._buffer = self._buffer[match.end() :]
                    return
            searched = max(0, len(self._buffer) - 64)
            if self._at_end or len(self._buffer) > MAX_EVENT_BYTE:
                raise self._no_trace(self._reason_without_events())
            self._fill()

    def _reason_without_events(self) -> str:
        try:
            _LENIENT.decode(self._buffer.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return "it is not JSON, or it is cut off before its events"
        return "it is JSON, but has no list traceEvents"

    def _read_tail(self) -> None:
        """Keys after the events. They are no reason to give up the events before them."""
        if not self._is_object:
            return
        while not self._at_end:
            self._fill()
        tail = self._buffer.lstrip()
        metadata = _metadata(b"{" + tail[1:]) if tail[:1] == b"," else Metadata()
        if metadata is None or not tail.rstrip().endswith(b"}"):
            self.truncated_because = "the file is cut off after its events"
        if metadata is not None:
            self.metadata = self.metadata.merged(metadata)

    def _no_trace(self, reason: str) -> TraceFormatError:
        if self._source.broken_because:
            reason = f"{self._source.broken_because} before its events"
        return TraceFormatError(
            f"{self._source.name}: no torch.profiler trace: {reason}.",
            "record one:  with torch.profiler.profile(record_shapes=True) as p: ...;"
            ' p.export_chrome_trace("trace.json")',
        )

    # One block ----------------------------------------------------------------------------------

    def _next_block(self) -> tuple[list[Any], bool]:
        """Events from the buffer's start, and whether the event list (or the data) has ended."""
        cut_positions = [len(self._buffer)] if self._at_end else self._likely_cuts()
        for cut in cut_positions:
            decoded = self._fast(cut)
            if decoded is not None:
                return decoded
        if not self._at_end and not cut_positions and len(self._buffer) < MAX_EVENT_BYTE:
            return [], False
        return self._slow()

    def _likely_cuts(self) -> list[int]:
        """Ends of the last few events in the buffer, last first, as offsets after their ``}``."""
        for reach in (2**14, 2**18, len(self._buffer)):
            start = max(0, len(self._buffer) - reach)
            ends = [match.start() + 1 for match in _BETWEEN_EVENTS.finditer(self._buffer, start)]
            if ends:
                return ends[-1:-4:-1]
        return []

    def _fast(self, cut: int) -> tuple[list[Any], bool] | None:
        """The events before ``cut``; None where the fast decoder refuses them."""
        block = b"[" + self._buffer[:cut] + (b"" if self._at_end else b"]")
        for attempt in (0, 1):
            try:
                return self._accepted(block, cut, ended=False)
            except msgspec.ValidationError:
                return None
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                end = _end_of_list(block, error)
                if end is not None:
                    return self._list_ended(block, end, cut)
                if attempt or "invalid character" not in str(error):
                    return None
                block = _NOT_A_NUMBER.sub(rb"\1null", block)
        return None

    def _accepted(self, block: bytes, cut: int, ended: bool) -> tuple[list[Any], bool]:
        events = self._decoder.decode(block)
        if self._expected_event is Event and _loses_nanoseconds(events):
            self._expected_event = ExactEvent
            self._decoder = msgspec.json.Decoder(list[ExactEvent])
            events = self._decoder.decode(block)
        rest = self._buffer[cut:] if not ended else self._buffer
        self._buffer = rest.lstrip(b", \t\r\n") if not ended else rest
        return events, ended or self._at_end

    def _list_ended(self, block: bytes, end: int, cut: int) -> tuple[list[Any], bool] | None:
        try:
            events, _ = self._accepted(block[:end], cut, ended=True)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        # The block may have been repaired, so count what follows the list from the block itself.
        following = block[end:] if self._at_end else block[end:-1]
        self._buffer = following + (b"" if self._at_end else self._buffer[cut:])
        return events, True

    def _slow(self) -> tuple[list[Any], bool]:
        """The same, by Python's ``json``, one event at a time, up to the first that is broken."""
        text = self._buffer.decode("utf-8", "replace")
        events: list[Any] = []
        position, ended, stuck = 0, False, False
        while not (ended or stuck):
            position = _skipped(text, position)
            if text[position : position + 1] == "]":
                position, ended = position + 1, True
            elif position >= len(text):
                stuck = True
            else:
                try:
                    value, position = _LENIENT.raw_decode(text, position)
                except (ValueError, RecursionError):
                    stuck = True
                else:
                    events += self._coerced(value)
        self._buffer = text[position:].encode("utf-8", "replace")
        if stuck and (self._at_end or len(self._buffer) > MAX_EVENT_BYTE // 4):
            self.truncated_because = (
                "the file is cut off" if self._at_end else "the JSON is broken"
            ) + " after its last whole event"
            ended = True
        return events, ended

    def _coerced(self, value: Any) -> list[Any]:
        """The event of a decoded value, with fields of the wrong type left out; empty for no event."""
        event = None
        if isinstance(value, dict):
            event = _converted(value, self._expected_event)
        if event is None:
            self.malformed_count += 1
            return []
        return [event]


def _metadata(text: bytes) -> Metadata | None:
    """The metadata of a JSON object; None where it is not one."""
    try:
        return msgspec.json.decode(text, type=Metadata)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        value = _LENIENT.decode(text.decode("utf-8", "replace").strip())
        return msgspec.convert(value, Metadata)
    except (ValueError, RecursionError, msgspec.ValidationError):
        return None


def _end_of_list(block: bytes, error: Exception) -> int | None:
    """Where the event list closes inside the block, if that is what the decoder stumbled over."""
    match = re.search(r"trailing characters \(byte (\d+)\)", str(error))
    if match is None:
        return None
    return block.rindex(b"]", 0, int(match[1])) + 1


def _loses_nanoseconds(events: list[Event]) -> bool:
    """Whether stamps are too large for their fractions to be exact in a float64."""
    stamps = np.array([event.ts for event in events[:1000]], dtype=np.float64)
    large = stamps[np.abs(stamps) >= _EXACT_BELOW_US]
    return bool(np.any(large != np.floor(large)))


def _skipped(text: str, position: int) -> int:
    while position < len(text) and text[position] in ", \t\r\n":
        position += 1
    return position


def _converted(value: dict[str, Any], kind: type[Event] | type[ExactEvent]) -> Event | ExactEvent | None:
    """An event from JSON values, keeping only members of the right type."""
    arguments = value.get("args")
    usable = {
        name: _plain(member)
        for name, member in value.items()
        if name in ("ph", "cat", "name", "pid", "tid", "ts", "dur")
        and isinstance(member, (str, int, Decimal))
        and not isinstance(member, bool)
    }
    for stamp in ("ts", "dur"):
        usable[stamp] = _as_number(usable.get(stamp))
    if isinstance(arguments, dict):
        usable["args"] = {
            name: _plain(member)
            for name, member in arguments.items()
            if not isinstance(member, (dict, bool))
            and (not isinstance(member, list) or name.startswith("In"))
        }
    for text in ("ph", "cat", "name"):
        if text in usable and not isinstance(usable[text], str):
            usable[text] = str(usable[text])
    try:
        return msgspec.json.decode(_ENCODER.encode(usable), type=kind)
    except (msgspec.DecodeError, UnicodeEncodeError, OverflowError, RecursionError):
        return None


def _plain(member: Any) -> Any:
    """Lone surrogates cannot be encoded again; they become question marks."""
    return member.encode("utf-8", "replace").decode() if isinstance(member, str) else member


def _as_number(member: Any) -> Decimal | None:
    """A stamp in µs; None for what is no number or beyond the range of int64 ns."""
    try:
        number = Decimal(member) if member is not None else Decimal("nan")
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < 2**53 else None
