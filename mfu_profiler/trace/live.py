"""What only the process that trained knew; ``track`` writes it into the trace as the member ``mfu_profiler``.

Everything may be absent. Times are int64 ns on the timeline's own clock; ``read_live.py`` converts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = [
    "LiveCeiling",
    "LiveClocks",
    "LiveDevice",
    "LiveFacts",
    "LiveFlop",
    "LiveModule",
    "LiveRun",
    "LiveSettings",
    "LiveStacks",
    "Sampled",
]

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What the user gave to ``track``."""

    device: str | None
    peak_flop_per_s: float | None
    precision: str | None
    flop_per_step: float | None


@dataclass(frozen=True, slots=True)
class LiveRun:
    """The block of training that was recorded."""

    model: str | None
    """Class of the model."""
    parameters: int | None
    trainable_parameters: int | None
    mode: str | None
    """``training`` or ``inference``."""
    boundary: str | None
    """What ends a step, e.g. ``optimizer steps of AdamW``."""
    steps_done: int | None
    step_times_ns: Int64
    """Steps that were timed without the profiler; pauses and warm-up are left out."""
    step_clock: str | None
    """``host`` or ``device events``."""
    cores: int | None
    """That the process might use."""
    data_wait_ns: int | None
    """Wait for the data loader in a step without the profiler; None where none was seen."""
    pauses_ns: Mapping[str, int]
    """Time between steps by what it was for, e.g. ``evaluation``."""
    wall_ns: int | None
    unfinished_step: int | None
    """Number of a marked step that the run did not finish."""
    ended: str | None
    """``KeyboardInterrupt in step 12``; None where the block ended by itself."""
    lacks: tuple[str, ...]
    """Sentences: what was not recorded, and why."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LiveModule:
    """Own FLOP of one module per step."""

    name: str
    """Path as in ``named_modules``; empty for the model itself."""
    forward: float
    backward: float
    recomputed: float


@dataclass(frozen=True, slots=True)
class LiveFlop:
    """FLOP of one step, counted in the process."""

    source: str | None
    """``counted`` on a real step, ``shadow`` on a meta copy of the model; None where nothing was counted."""
    because: str | None
    """Why the real step was not counted, or nothing was."""
    step: int | None
    """Number of the step that was counted."""
    forward: float
    backward: float
    recomputed: float
    optimizer: float
    causal_model: float | None
    by_precision: Mapping[str, float]
    """Executed FLOP by precision of the operands."""
    by_module: tuple[LiveModule, ...]
    uncounted: Mapping[str, int]
    """Calls of ops without a formula."""
    varies: bool
    """The shapes of the input differ between steps."""
    analytic: float | None
    """Model FLOP of a step by the transformer formula of PaLM and nanoGPT, where it applies."""

    @property
    def model(self) -> float:
        """Forward and backward."""
        return self.forward + self.backward

    @property
    def hardware(self) -> float:
        """Everything that was executed."""
        return self.model + self.recomputed + self.optimizer


@dataclass(frozen=True, slots=True)
class LiveDevice:
    """The device in use, as the process read it."""

    name: str | None
    index: int | None
    backend: str | None
    """``cuda``, ``rocm``, ``xpu`` or ``cpu``."""
    sm_count: int | None
    memory_byte: int | None
    compute_capability: tuple[int, int] | None
    gfx: str | None
    power_limit_w: float | None
    default_power_limit_w: float | None
    driver: str | None
    nvml_because: str | None
    """Why NVML could not be read."""


@dataclass(frozen=True, slots=True)
class LiveCeiling:
    """Matmul rates measured in the process; the peak of a CPU."""

    flop_per_s: Mapping[str, float]
    """By precision."""
    detail: str | None
    """How they were measured, e.g. ``2 threads, matmul 2048``."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sampled:
    """One quantity over the samples, shape ``(samples,)`` each."""

    value: Float64
    has: Bool

    def mean(self, mask: Bool) -> float | None:
        """Mean over a part of the samples; None where none of them has a value."""
        chosen = self.value[mask & self.has]
        return float(chosen.mean()) if len(chosen) else None


@dataclass(frozen=True, slots=True)
class LiveClocks:
    """Samples of the device over the timed and the profiled steps."""

    time_ns: Int64
    sm_clock_hz: Sampled
    power_w: Sampled
    throttle: tuple[frozenset[str], ...]
    """Reasons at each sample, e.g. ``power cap``; empty where nothing held the clock down."""
    because: str | None
    """Why there are none, or not all."""

    def __len__(self) -> int:
        return len(self.time_ns)


@dataclass(frozen=True, slots=True)
class LiveStacks:
    """Samples of the Python stack of the thread that launches."""

    thread: str | None
    """The thread's id in the trace."""
    frames: tuple[str, ...]
    """``/home/me/train.py(42): step``."""
    stacks: tuple[tuple[int, ...], ...]
    """Rows of ``frames``, innermost first."""
    time_ns: Int64
    """Ascending."""
    stack: Int64
    """Row of ``stacks`` of each sample."""

    def __len__(self) -> int:
        return len(self.time_ns)


@dataclass(frozen=True, slots=True)
class LiveFacts:
    """All of it; a part is None where the file does not have it."""

    library_version: str | None
    settings: LiveSettings
    run: LiveRun
    flop: LiveFlop | None
    device: LiveDevice | None
    ceiling: LiveCeiling | None
    clocks: LiveClocks | None
    stacks: LiveStacks | None

    def of_device(self, index: int | None, *, is_only: bool) -> LiveFacts:
        """What of it holds for one device of the process.

        Args:
            index: of the device; None where nothing ran on one.
            is_only: whether the process has no other: FLOP are those of all of them together.

        """
        said = self.device.index if self.device is not None else None
        result = self if is_only else replace(self, flop=None)
        if index is None or said is None or said == index:
            return result
        return replace(result, device=None, ceiling=None, clocks=None)
