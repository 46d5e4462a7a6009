"""The settings of a live run as options of its analysis."""

from __future__ import annotations

from dataclasses import replace

from mfu_profiler.analysis.options import Options
from mfu_profiler.errors import UnknownDeviceError
from mfu_profiler.hardware import PRECISIONS, find_device
from mfu_profiler.trace.live import LiveFacts

__all__ = ["with_settings"]


def with_settings(options: Options, live: LiveFacts | None) -> Options:
    """The caller's options, completed by what the user gave to ``track``.

    A setting that makes no sense is passed over: the file may come from anywhere, and ``track`` refuses such
    values itself. Who names another device, or asks for an estimate, does not mean the old device's peak.
    """
    if live is None:
        return options
    settings = live.settings
    precision = next((known for known in PRECISIONS if known == settings.precision), None)
    chooses_peak = options.device is not None or options.peak == "estimate"
    result = replace(
        options,
        precision=options.precision or precision,
        flop_per_step=options.flop_per_step or settings.flop_per_step,
    )
    if chooses_peak:
        return result
    return replace(
        result,
        device=settings.device if _is_known(settings.device) else None,
        peak_flop_per_s=options.peak_flop_per_s or settings.peak_flop_per_s,
    )


def _is_known(device: str | None) -> bool:
    if device is None:
        return False
    try:
        find_device(device)
    except UnknownDeviceError:
        return False
    return True
