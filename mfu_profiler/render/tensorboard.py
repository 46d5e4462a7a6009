"""A report as a TensorBoard event file: its numbers as scalars, its page as text.

::

    record 1    file_version "brain.Event:2"
    record 2    mfu_profiler/mfu, .../hfu, .../time/compute, ..., mfu_profiler/report     (one step)

What is unknown has no scalar. The charts are a file of their own: ``tensorboard_images``. A record is a
protocol buffer behind its length and two masked CRC-32C, as TensorBoard's own
``tensorboard/summary/writer/record_writer.py`` writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

from mfu_profiler.analysis.report import PARTS, Report
from mfu_profiler.errors import OptionError
from mfu_profiler.render.causes import ENDS
from mfu_profiler.render.markdown import render_markdown
from mfu_profiler.render.names import shown_text

__all__ = ["PREFIX", "event_file", "event_file_name", "render_tensorboard", "require_tensorboard"]

PREFIX = "mfu_profiler"
"""Before each tag; TensorBoard shows what has one prefix together."""
_FILE_VERSION = "brain.Event:2"
"""tensorboard/compat/proto/event.proto: in the first record of every event file."""
_NESTED = re.compile(r"^ {3}(?=- )", re.MULTILINE)


def render_tensorboard(report: Report, *, wall_time_s: float, step: int = 0) -> bytes:
    """The whole content of an event file. Scalars are float32 in it: seven digits.

    Args:
        report: the report of one device.
        wall_time_s: when it was made, in seconds of the Unix epoch; TensorBoard's time axis.
        step: TensorBoard's step axis.

    Raises:
        OptionError: the package ``tensorboard`` is not installed, or cannot be imported.

    """
    require_tensorboard()
    return event_file(_values(report), wall_time_s=wall_time_s, step=step)


def require_tensorboard() -> None:
    """Refuses where TensorBoard's writer is missing.

    Raises:
        OptionError: the package ``tensorboard`` is not installed, or cannot be imported.

    """
    try:
        import tensorboard.compat.proto.event_pb2
        import tensorboard.summary.writer.record_writer  # noqa: F401 - whether they are there
    except ImportError as error:
        raise OptionError(
            f'the package "tensorboard" cannot be imported: {error}',
            'install it:  pip install "mfu-profiler[torch]"',
        ) from error


def event_file(values: Sequence[Any], *, wall_time_s: float, step: int) -> bytes:
    """The content of an event file with one summary.

    Args:
        values: protocol buffers ``Summary.Value``.
        wall_time_s: of the summary, in seconds of the Unix epoch.
        step: of the summary.

    """
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = BytesIO()
    records = RecordWriter(content)
    first = event_pb2.Event(wall_time=wall_time_s, file_version=_FILE_VERSION)
    summary = summary_pb2.Summary(value=values)
    for event in (first, event_pb2.Event(wall_time=wall_time_s, step=step, summary=summary)):
        records.write(event.SerializeToString())
    return content.getvalue()


def event_file_name(wall_time_s: float, worker: str) -> str:
    """``events.out.tfevents.<s>.<worker>.mfu_profiler``: TensorBoard reads what has ``tfevents`` in its name.

    Args:
        wall_time_s: in seconds of the Unix epoch; TensorBoard reads a folder's files in order of their names.
        worker: name of the rank, as in the trace's file name.

    """
    inert = re.sub(r"[^\w.-]", "_", worker, flags=re.ASCII)
    return f"events.out.tfevents.{int(wall_time_s):010d}.{inert}.mfu_profiler"


def _values(report: Report) -> list[Any]:
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
    from tensorboard.plugins.text import metadata

    values = [
        summary_pb2.Summary.Value(tag=f"{PREFIX}/{name}", simple_value=value)
        for name, value in _scalars(report)
    ]
    text = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING,
        tensor_shape=tensor_shape_pb2.TensorShapeProto(),  # of rank 0, else TensorBoard puts it into a table
        string_val=[_page(report).encode("utf-8")],
    )
    about = metadata.create_summary_metadata(display_name="report", description="")
    values.append(summary_pb2.Summary.Value(tag=f"{PREFIX}/report", tensor=text, metadata=about))
    return values


def _scalars(report: Report) -> Iterator[tuple[str, float]]:
    known = {
        "mfu": report.mfu,
        "hfu": report.hfu,
        "step_time_s": report.step_time_s,
        "model_flop_per_step": report.flop.model_per_step,
    }
    yield from ((name, value) for name, value in known.items() if value is not None)
    if report.partition is not None:
        yield from ((f"time/{part}", getattr(report.partition, part)) for part in PARTS)
    losses = [row for row in report.waterfall if row.cause not in ENDS]
    yield from ((f"waterfall/{shown_text(row.cause, 80)}", row.fraction) for row in losses)


def _page(report: Report) -> str:
    """Markdown as TensorBoard reads it, where a nested list is indented by four."""
    return _NESTED.sub("    ", render_markdown([report]))
