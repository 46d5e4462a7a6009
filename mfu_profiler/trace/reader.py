"""``read_trace``: a path -> timelines, one per device of each process in the trace."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mfu_profiler.errors import TraceFormatError
from mfu_profiler.trace.columns import ColumnBuilder
from mfu_profiler.trace.decode import Decoder
from mfu_profiler.trace.source import Progress, open_source
from mfu_profiler.trace.split import timelines
from mfu_profiler.trace.timeline import Timeline

__all__ = ["read_trace"]


def read_trace(
    path: str | Path,
    *,
    keeps_concrete: Callable[[str], bool] = lambda _: True,
    max_byte: int | None = None,
    progress: Progress | None = None,
) -> tuple[Timeline, ...]:
    """Read a Kineto trace, whatever its packaging.

    Args:
        path: ``.json``, ``.json.gz``, ``.zip``, a folder with one of them, or ``-``.
        keeps_concrete: tells by op name whether its ``Concrete Inputs`` are wanted.
        max_byte: decompressed bytes above which the trace is refused.
        progress: called with (bytes read, bytes of the file or None).

    Raises:
        TraceNotFoundError: nothing to read there.
        TraceFormatError: the bytes are no trace.
        TraceTooLargeError: more than ``max_byte``.

    """
    builder = ColumnBuilder(keeps_concrete)
    with open_source(path, max_byte, progress) as source, _no_garbage_collection():
        decoder = Decoder(source)
        for events in decoder.events():
            builder.add(events)
    builder.dropped["malformed"] += decoder.malformed_count
    if not builder.holds_profiler_events:
        raise TraceFormatError(
            f"{source.name}: no torch.profiler trace: it holds no events of the profiler.",
            decoder.truncated_because or "record at least one step between profiler start and stop",
        )
    return timelines(builder, decoder.metadata, source.name, decoder.truncated_because)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Events hold no cycles, and a collection would visit each of them many times."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
