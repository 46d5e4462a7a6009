"""What a user may say about an analysis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from mfu_profiler.analysis.windows import WindowMode
from mfu_profiler.errors import OptionError
from mfu_profiler.hardware import PRECISIONS, Precision, find_device

__all__ = ["Options", "PeakMode"]

PeakMode = Literal["datasheet", "estimate"]


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of one analysis; bad values fail here, before anything is read."""

    device: str | None = None
    """Device name to use instead of the trace's."""
    peak_flop_per_s: float | None = None
    """Peak at the reference precision, instead of the catalog's."""
    peak: PeakMode = "datasheet"
    """``estimate`` takes a generic architecture rate x SMs x clock."""
    precision: Precision | None = None
    """Reference precision, instead of the one in which most FLOP ran."""
    flop_per_step: float | None = None
    """Model FLOP of a step on one device, instead of a count from shapes."""
    windows: WindowMode = "device"

    def __post_init__(self) -> None:
        """Raises: OptionError: a value makes no sense. UnknownDeviceError: nor does the device's name."""
        if self.device is not None:
            find_device(self.device)
        for name, value in (("peak_tflops", self.peak_flop_per_s), ("flop_per_step", self.flop_per_step)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise OptionError(f"{name} must be a positive number, not {value}.")
        _one_of("precision", self.precision, (None, *PRECISIONS))
        _one_of("windows", self.windows, get_args(WindowMode))
        _one_of("peak", self.peak, get_args(PeakMode))


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        words = ", ".join(str(word) for word in allowed if word is not None)
        raise OptionError(f"{name} must be one of {words}, not {value!r}.")
