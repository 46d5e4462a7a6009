"""What a user may say to ``track``; bad values fail at entry, before training starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from mfu_profiler.errors import OptionError
from mfu_profiler.hardware import PRECISIONS, Precision, find_device

__all__ = ["ACTIVE", "DEFAULT_OUT", "TIMED", "WARMUP", "ReportMode", "Settings"]

ReportMode = Literal["now", "exit", "never"]
DEFAULT_OUT = "mfu_traces"
"""Folder of the traces where none is given."""
WARMUP, TIMED, ACTIVE = 5, 15, 5
"""Steps of each phase: a report after 28 steps."""
MOST_TFLOPS = 1e5
"""No device reaches a tenth of this; a larger number was meant in FLOP/s."""
MOST_STEPS = 10_000
"""More recorded steps fill the memory and tell nothing new."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Arguments of ``track``; words as ``torch.profiler`` uses them where they mean the same."""

    warmup: int = WARMUP
    """Steps after the counted one that are neither timed nor profiled (caches, autotuning, compilation)."""
    timed: int = TIMED
    """Steps that are only timed: the step time of the headline."""
    active: int = ACTIVE
    """Steps that are profiled."""
    out: str | None = None
    """Folder of traces and TensorBoard files; ``mfu_traces`` (and no TensorBoard files) where it is None."""
    report: ReportMode = "now"
    """``now``: as soon as the steps are profiled; ``exit``: at the end; ``never``: only the trace."""
    device: str | None = None
    """Device name to use instead of the driver's."""
    precision: Precision | None = None
    """Reference precision, instead of the one in which most FLOP ran."""
    peak_tflops: float | None = None
    """Dense peak in TFLOP/s, instead of the datasheet's or the measured one."""
    flop_per_step: float | None = None
    """Model FLOP of one step on this device, instead of a count."""
    with_stack: bool = False
    """Python stacks in the trace: exact source lines, and a slower host."""
    profile_memory: bool = False
    """Allocations in the trace."""
    quiet: bool = False
    """Print neither report nor closing line."""

    def __post_init__(self) -> None:
        """Raises: OptionError: a value makes no sense. UnknownDeviceError: nor does the device's name."""
        for name, least in (("warmup", 0), ("timed", 1), ("active", 1)):
            _whole(name, getattr(self, name), least)
        _positive("peak_tflops", self.peak_tflops, MOST_TFLOPS)
        _positive("flop_per_step", self.flop_per_step, math.inf)
        _one_of("report", self.report, get_args(ReportMode))
        _one_of("precision", self.precision, (None, *PRECISIONS))
        for name in ("with_stack", "profile_memory", "quiet"):
            _one_of(name, getattr(self, name), (True, False))
        for name in ("out", "device"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value):
                raise OptionError(f"{name} must be a text that is not empty, not {value!r}.")
        if self.out is not None and "\0" in self.out:
            raise OptionError(f"out must be a folder's name, not {self.out!r}.", 'track(model, out="traces")')
        if self.device is not None:
            find_device(self.device)

    @property
    def folder(self) -> str:
        """Where traces go."""
        return DEFAULT_OUT if self.out is None else self.out

    def to_json(self) -> dict[str, Any]:
        """What the report needs to know, and what was asked for."""
        left_out = ("out", "report", "quiet")
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in left_out}


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_STEPS:
        raise OptionError(
            f"{name} must be a whole number from {least} to {MOST_STEPS:,}, not {value!r}.",
            f"track(model, {name}={least + 5})",
        )


def _positive(name: str, value: object, most: float) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(f"{name} must be a number, not {value!r}.")
    if not (math.isfinite(value) and 0 < value <= most):
        limit = "a positive number" if math.isinf(most) else f"a positive number up to {most:g}"
        raise OptionError(f"{name} must be {limit}, not {value:g}.")


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if not any(value is word or (isinstance(value, str) and value == word) for word in allowed):
        words = ", ".join(repr(word) for word in allowed if word is not None)
        example = next(word for word in allowed if word is not None)
        raise OptionError(
            f"{name} must be one of {words}, not {value!r}.", f"track(model, {name}={example!r})"
        )
