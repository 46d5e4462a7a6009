"""From a trace to reports: the way through ``analysis/``.

::

    timeline -> attribution -> kinds -> windows -> partition -> work -> costs -> waterfall -> findings
"""

from __future__ import annotations

from pathlib import Path

from mfu_profiler.analysis.build import timeline_report
from mfu_profiler.analysis.options import Options, PeakMode
from mfu_profiler.analysis.report import Report
from mfu_profiler.analysis.windows import WindowMode
from mfu_profiler.errors import SeveralReportsError
from mfu_profiler.flops import has_formula
from mfu_profiler.hardware import Precision
from mfu_profiler.trace.reader import read_trace
from mfu_profiler.trace.source import Progress

__all__ = ["analyze", "analyze_all"]


def analyze_all(
    path: str | Path,
    *,
    device: str | None = None,
    peak_tflops: float | None = None,
    peak: PeakMode = "datasheet",
    precision: Precision | None = None,
    flop_per_step: float | None = None,
    windows: WindowMode = "device",
    max_bytes: int | None = None,
    progress: Progress | None = None,
) -> tuple[Report, ...]:
    """Reports of a torch.profiler trace, one per device of each process in it.

    Args:
        path: ``.json``, ``.json.gz``, ``.zip``, a folder that holds one of them, or ``-`` for standard input.
        device: device name to use instead of the trace's.
        peak_tflops: dense peak in TFLOP/s, instead of the catalog's.
        peak: ``estimate`` takes a generic architecture rate where no datasheet is known.
        precision: reference precision (``bf16``, ...), instead of the one in which most FLOP ran.
        flop_per_step: model FLOP of one step on one device, instead of a count from shapes.
        windows: ``device`` windows, ``host`` marks, or the whole ``span``.
        max_bytes: decompressed size above which a trace is refused (4 GiB unless given).
        progress: called with (bytes read, bytes of the file or None).

    Raises:
        TraceError: the input cannot be reported on.
        UnknownDeviceError: ``device`` is not in the catalog.
        OptionError: an option makes no sense.

    """
    options = Options(
        device=device,
        peak_flop_per_s=None if peak_tflops is None else peak_tflops * 1e12,
        peak=peak,
        precision=precision,
        flop_per_step=flop_per_step,
        windows=windows,
    )
    timelines = read_trace(path, keeps_concrete=has_formula, max_byte=max_bytes, progress=progress)
    return tuple(timeline_report(timeline, options) for timeline in timelines)


def analyze(
    path: str | Path,
    *,
    device: str | None = None,
    peak_tflops: float | None = None,
    peak: PeakMode = "datasheet",
    precision: Precision | None = None,
    flop_per_step: float | None = None,
    windows: WindowMode = "device",
    max_bytes: int | None = None,
) -> Report:
    """The report of a trace of one device; arguments and errors as ``analyze_all``.

    Raises:
        SeveralReportsError: the trace holds several ranks or devices.

    """
    reports = analyze_all(
        path,
        device=device,
        peak_tflops=peak_tflops,
        peak=peak,
        precision=precision,
        flop_per_step=flop_per_step,
        windows=windows,
        max_bytes=max_bytes,
    )
    if len(reports) > 1:
        raise SeveralReportsError(
            f"{path}: the trace holds {len(reports)} ranks or devices, and analyze() returns one report.",
            f"ask for all:  mfu_profiler.analyze_all({str(path)!r})",
        )
    return reports[0]
