"""The charts of a report as pictures for TensorBoard's tab "Images": an event file of their own.

::

    record 1    file_version "brain.Event:2"
    record 2    mfu_profiler/waterfall, .../steps, .../timeline: width, height, PNG       (one step)

Apart from the scalars, since drawing may fail, or end the whole process: the engine in vl-convert reserves
more address space than ``ulimit -v`` may leave.
"""

from __future__ import annotations

import struct
from typing import Any

from mfu_profiler.analysis.report import Report
from mfu_profiler.render.charts import FIGURES, Figure
from mfu_profiler.render.markdown import escaped
from mfu_profiler.render.tensorboard import PREFIX, event_file, require_tensorboard

__all__ = ["IMAGES", "render_tensorboard_images"]

IMAGES = ("waterfall", "steps", "timeline")
"""Of the charts, those that say something without a pointer over them."""
_SCALE = 1.0
"""Pixels as TensorBoard shows them in "actual size": twice as many would not fit beside its side bar, and its
thumbnails leave pixels out, whatever the size."""


def render_tensorboard_images(report: Report, *, wall_time_s: float, step: int = 0) -> bytes | None:
    """The whole content of an event file; None where the report has nothing to draw.

    Args:
        report: the report of one device.
        wall_time_s: when it was made, in seconds of the Unix epoch; TensorBoard's time axis.
        step: TensorBoard's step axis.

    Raises:
        OptionError: ``tensorboard`` or ``vl-convert-python`` is not installed.
        ValueError: vl-convert cannot draw a chart.

    """
    require_tensorboard()
    made = {name: FIGURES[name](report) for name in IMAGES}
    values = [_value(name, figure) for name, figure in made.items() if figure is not None]
    return event_file(values, wall_time_s=wall_time_s, step=step) if values else None


def _value(name: str, figure: Figure) -> Any:
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
    from tensorboard.plugins.image import metadata

    png = figure.to_png(_SCALE)
    width, height = struct.unpack(">II", png[16:24])  # PNG, section 11.2.1: the header comes first
    content = [str(width).encode(), str(height).encode(), png]
    length = tensor_shape_pb2.TensorShapeProto.Dim(size=len(content))
    about = metadata.create_summary_metadata(display_name=figure.title, description=escaped(figure.caption))
    return summary_pb2.Summary.Value(
        tag=f"{PREFIX}/{name}",
        metadata=about,
        tensor=tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING,
            tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=[length]),
            string_val=content,
        ),
    )
