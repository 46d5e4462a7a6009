"""Bytes -> events, in blocks of bounded size.

A block is cut where one event ends and the next begins, and decoded as ``[`` + block + ``]``. The cut
is a guess (the last ``},{``), and decoding proves it: a block that begins between two events and decodes
as a list cannot end inside a string or inside an object.

::

    {"schemaVersion": 1, ... "traceEvents": [   {..}, {..}, {..},   {..}, {..} ], "traceName": ...}
    └────────── members ──────────────────┘     └── block ────┘     └─ block ┘  └─── members ─────┘

A block that is refused is halved until only the part around the fault is left. That part is decoded one
event at a time (``mfu_profiler.trace.lenient``), which also finds the last whole event of a broken file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from mfu_profiler.errors import TraceFormatError
from mfu_profiler.trace.events import Event, ExactEvent, Metadata
from mfu_profiler.trace.lenient import lenient_event, lenient_value, value_end
from mfu_profiler.trace.source import Source
from mfu_profiler.trace.stamps import EXACT_BELOW_US, float_stamps

__all__ = ["Decoder"]

MOST_BYTE = 32 * 2**20
"""One event, or one member beside the events, larger than this is refused: no profiler writes one."""

MOST_BLOCK_BYTE = 2**20
LEAST_BLOCK_BYTE = 2**16
"""A block that is refused is halved down to this before its events are decoded one at a time."""

_BLANK = b"\xef\xbb\xbf \t\r\n"
_BETWEEN = b", \t\r\n"
_SEPARATOR = re.compile(rb"[\s,]*")
_COLON = re.compile(rb"\s*:\s*")
_BETWEEN_EVENTS = re.compile(rb"\}\s*,\s*(?=\{)")
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
# Not JSON, but written by older profilers. A quote after anything but a blank, a bracket, a comma, a colon
# or a backslash closes a string, so this is a key and its value, never the inside of a string.
_NAN_MEMBER = re.compile(rb'(?i)(?<=[^\s:,\[{\\])("\s*:\s*)-?(?:nan|inf(?:inity)?)(?=\s*[,}])')
_WANTED_MEMBERS = {field.encode_name for field in msgspec.structs.fields(Metadata)}
_REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Events = list[Any]
"""A list of ``Event``, or of ``ExactEvent``."""


class Decoder:
    """Decodes one source; iterate over ``events()`` first, then read what the attributes say."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._blocks = source.blocks()
        self._buffer = b""
        self._at_end = False
        self._kind: type[Event] | type[ExactEvent] = Event
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[Event])
        self._block_byte = MOST_BLOCK_BYTE
        self._members: dict[str, Any] = {}
        self.truncated_because: str | None = None
        """Why reading stopped early; None where the trace was read whole."""
        self.malformed_count = 0
        """Members of the event list that are no events, or whose fields have the wrong type."""

    @property
    def metadata(self) -> Metadata:
        """Top-level members beside the events, complete once the events are exhausted."""
        return msgspec.convert(self._members, Metadata)

    def events(self) -> Iterator[Events]:
        """Lists of events in file order.

        Raises:
            TraceFormatError: not JSON, or JSON that is no trace.

        """
        is_object = self._open_list()
        ended = False
        while not ended:
            events, ended = self._next_events()
            if events:
                yield events
        if is_object and self.truncated_because is None and not self._read_members():
            # Members after the events are no reason to give up the events before them.
            self.truncated_because = "the file is cut off after its events"
        if self.truncated_because is None:
            for _ in self._blocks:  # the checksum stands at the end of the file
                pass
        self.truncated_because = self._source.broken_because or self.truncated_because

    # Around the events --------------------------------------------------------------------------

    def _fill(self) -> None:
        block = next(self._blocks, b"")
        self._at_end = not block
        self._buffer += block

    def _open_list(self) -> bool:
        """Go to the first event; whether the list of events is a member of an object."""
        while not self._buffer.lstrip(_BLANK) and not self._at_end:
            self._fill()
        self._buffer = self._buffer.lstrip(_BLANK)
        first, self._buffer = self._buffer[:1], self._buffer[1:]
        if first == b"[":
            return False
        if first != b"{":
            raise self._no_trace("it does not begin with { or [" if first else "it is empty")
        whole = self._read_members()
        if whole and self._buffer[:1] == b"[":
            self._buffer = self._buffer[1:]
            return True
        raise self._no_trace(
            "it is JSON, but has no list traceEvents"
            if whole
            else "it is not JSON, or it is cut off before its events"
        )

    def _read_members(self) -> bool:
        """Read top-level members up to a list of events (its ``[`` stays) or up to the closing brace.

        Returns:
            False where the JSON is broken or ends before that.

        """
        position = 0
        while True:
            position = _SEPARATOR.match(self._buffer, position).end()  # type: ignore[union-attr]  # matches anything
            if self._buffer[position : position + 1] == b"}":
                self._buffer = self._buffer[position + 1 :]
                return True
            key = value_end(self._buffer, position)
            colon = _COLON.match(self._buffer, key) if key is not None else None
            if colon is not None:
                name, start = self._buffer[position:key], colon.end()
                if name == b'"traceEvents"' and self._buffer[start : start + 1] == b"[":
                    self._buffer = self._buffer[start:]
                    return True
                end = value_end(self._buffer, start)
                # A number at the buffer's end may go on in the next block.
                if end is not None and end < len(self._buffer):
                    self._keep_member(name, self._buffer[start:end])
                    position = end
                    continue
            self._buffer, position = self._buffer[position:], 0
            if self._at_end or len(self._buffer) > MOST_BYTE:
                return False
            self._fill()

    def _keep_member(self, name: bytes, value: bytes) -> None:
        key = lenient_value(name)
        if key in _WANTED_MEMBERS:
            self._members.setdefault(key, lenient_value(value))

    def _no_trace(self, reason: str) -> TraceFormatError:
        if self._source.broken_because:
            reason = f"{self._source.broken_because} before its events"
        return TraceFormatError(
            f"{self._source.name}: no torch.profiler trace: {reason}.",
            "record one:  with torch.profiler.profile(record_shapes=True) as p: ...;"
            ' p.export_chrome_trace("trace.json")',
        )

    # Events -------------------------------------------------------------------------------------

    def _next_events(self) -> tuple[Events, bool]:
        """Events from the buffer's start, and whether the event list (or the data) has ended."""
        self._buffer = self._buffer.lstrip(_BETWEEN)
        if not self._at_end and len(self._buffer) < self._block_byte:
            self._fill()
            if self._buffer[:1] != b"{":
                self._buffer = self._buffer.lstrip(_BETWEEN)
        size = min(self._block_byte, len(self._buffer))
        while size >= LEAST_BLOCK_BYTE or size == len(self._buffer) > 0:
            is_all = self._at_end and size == len(self._buffer)
            for cut in [size] if is_all else self._likely_cuts(size):
                decoded = self._decoded(cut, is_all)
                if decoded is not None:
                    self._block_byte = min(2 * max(size, LEAST_BLOCK_BYTE), MOST_BLOCK_BYTE)
                    return decoded
            size //= 2
        self._block_byte = LEAST_BLOCK_BYTE
        return self._one_by_one()

    def _likely_cuts(self, size: int) -> list[int]:
        """Ends of the last few events in the first ``size`` bytes, last first: offsets after their ``}``."""
        for reach in (2**14, 2**18, size):
            ends = [
                match.start() + 1
                for match in _BETWEEN_EVENTS.finditer(self._buffer, max(0, size - reach), size + 1)
            ]
            if ends:
                return ends[-1:-4:-1]
        return []

    def _decoded(self, cut: int, is_all: bool) -> tuple[Events, bool] | None:
        """The events before ``cut``, and whether the list has ended; None where the decoder refuses them."""
        added = b"" if is_all else b"]"
        block = b"".join((b"[", memoryview(self._buffer)[:cut], added))  # one copy, not three
        events, end = self._list(block)
        if events is None:
            block, count = _NAN_MEMBER.subn(rb"\1null", block)
            events, end = self._list(block) if count else (None, 0)
        if events is None:
            return None
        has_ended = is_all or end < len(block)
        self._buffer = block[end : len(block) - len(added)] + self._buffer[cut:]
        return events, has_ended

    def _list(self, text: bytes) -> tuple[Events | None, int]:
        """The events of the JSON list that the text begins with, and where it ends."""
        try:
            return self._exact(text), len(text)
        except _REFUSALS as error:
            trailing = _TRAILING.search(str(error))
        if trailing is None:
            return None, 0
        end = text.rindex(b"]", 0, int(trailing[1]) - 1) + 1
        try:
            return self._exact(text[:end]), end
        except _REFUSALS:
            return None, 0

    def _exact(self, text: bytes) -> Events:
        events: Events = self._decoder.decode(text)
        if self._kind is Event and _loses_nanoseconds(events):
            self._keep_stamp_texts()
            events = self._decoder.decode(text)
        return events

    def _keep_stamp_texts(self) -> None:
        self._kind = ExactEvent
        self._decoder = msgspec.json.Decoder(list[ExactEvent])

    def _one_by_one(self) -> tuple[Events, bool]:
        """Some events, one at a time, up to one that is broken or goes on beyond the buffer."""
        texts: list[bytes] = []
        position, has_ended = 0, False
        while position < LEAST_BLOCK_BYTE and not has_ended:
            start = _SEPARATOR.match(self._buffer, position).end()  # type: ignore[union-attr]  # matches anything
            if self._buffer[start : start + 1] == b"]":
                position, has_ended = start + 1, True
                continue
            end = value_end(self._buffer, start)
            if end is None or (end == len(self._buffer) and not self._at_end):
                break
            texts.append(self._buffer[start:end])
            position = end
        if position == 0:
            return [], self._gives_up()
        self._buffer = self._buffer[position:]
        return self._each(texts), has_ended

    def _gives_up(self) -> bool:
        """Read on where the first event in the buffer may be incomplete; True where it is broken."""
        if not self._at_end and len(self._buffer) <= MOST_BYTE:
            self._fill()
            return False
        reason = "the file is cut off" if self._at_end else "the JSON is broken"
        self.truncated_because = f"{reason} after its last whole event"
        return True

    def _each(self, texts: list[bytes]) -> Events:
        events = [event for text in texts if (event := lenient_event(text, self._kind)) is not None]
        if self._kind is Event and _loses_nanoseconds(events):
            self._keep_stamp_texts()
            return self._each(texts)
        self.malformed_count += len(texts) - len(events)
        return events


def _loses_nanoseconds(events: Events) -> bool:
    """Whether a stamp that was written with a fraction is too large for a float64 to hold its ns."""
    stamps = [event.ts for event in events]
    if float not in set(map(type, stamps)):
        return False
    return bool(np.any(np.abs(float_stamps(stamps)) >= EXACT_BELOW_US))
