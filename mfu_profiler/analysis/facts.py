"""What a report says of its steps, its trace, its device and its FLOP; parts of ``report.py``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "DeviceInfo",
    "DeviceSamples",
    "FlopInfo",
    "ModuleFlop",
    "ReplayInfo",
    "StepTimeline",
    "StepsInfo",
    "TimelineLane",
    "TraceInfo",
    "UncountedKernel",
]


@dataclass(frozen=True, slots=True)
class StepsInfo:
    count: int
    """Windows that are averaged."""
    source: str
    """What marked the steps, e.g. ``device windows of ProfilerStep``."""
    spread_fraction: float | None
    """Standard deviation over mean of the steps that ``step_time_s`` rests on; None for a single one."""
    fastest_s: float | None
    slowest_s: float | None
    pause_fraction: float
    """Share of the recorded wall time that went into pauses."""
    unprofiled_count: int | None = None
    """Live runs: steps timed without the profiler, on which step time, MFU and HFU rest."""
    profiled_step_time_s: float | None = None
    """Live runs: mean over the averaged windows, on which the breakdown rests."""
    profiler_overhead_fraction: float | None = None
    """How much longer a profiled step takes; negative where it happened to be faster."""


@dataclass(frozen=True, slots=True)
class ReplayInfo:
    """How well a replay of the trace as a graph of waits reproduces its steps."""

    fidelity_fraction: float
    """Step time replayed without the delays that nothing explains, over the recorded one."""
    unexplained_fraction: float
    """Share of the averaged windows by which the main stream's activities start later than edges and typical
    delays allow; those of CUDA graphs left out."""
    usable: bool
    """Whether a replay with something changed would predict anything."""


@dataclass(frozen=True, slots=True)
class TraceInfo:
    path: str
    rank: int | None
    world_size: int | None
    process: str | None
    """Id of the host process; tells ranks apart in a merged trace."""
    events: int
    truncated: bool
    truncated_because: str | None
    torch_version: str | None


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    name: str | None
    """As the driver says it."""
    index: int | None
    backend: str | None
    """``cuda``, ``rocm``, ``xpu`` or ``cpu``."""
    precision: str | None
    """The precision in which most matmul FLOP ran; the reference of MFU."""
    peak_flop_per_s: float | None
    """Dense peak at that precision."""
    peak_source: str | None
    """``datasheet``, ``given``, ``estimate``, or ``measured`` (a CPU's)."""
    peak_detail: str | None
    """What else is to know of it, e.g. ``42 of 108 SMs (MIG)`` or ``low confidence``; None for nothing."""
    memory_byte_per_s: float | None
    sm_count: int | None
    datasheet_clock_hz: float | None = None
    """Live runs: the clock at which the peak holds."""
    sampled_clock_hz: float | None = None
    """Live runs: the clock at which the steps ran."""
    peak_at_clock_flop_per_s: float | None = None
    """The peak at that clock."""
    clock_because: str | None = None
    """What held the clock down, e.g. ``power cap``."""
    power_limit_w: float | None = None
    default_power_limit_w: float | None = None
    mean_power_w: float | None = None
    nvml_because: str | None = None
    """Why clocks and power are not known, or not all of them."""


@dataclass(frozen=True, slots=True)
class UncountedKernel:
    name: str
    fraction: float
    """Of the compute-kernel time."""


@dataclass(frozen=True, slots=True)
class ModuleFlop:
    """Own FLOP of one module per step."""

    name: str
    """Its path in the model; empty for the model itself."""
    forward: float
    backward: float
    recomputed: float


@dataclass(frozen=True, slots=True)
class FlopInfo:
    model_per_step: float | None
    hardware_per_step: float | None
    recomputed_per_step: float | None
    optimizer_per_step: float | None
    causal_model_per_step: float | None
    """Model FLOP if causal attention is counted by half; None where no kernel says causal."""
    source: str | None
    """``shapes in the trace``, ``given``, or how a live run counted them, e.g. ``counted on step 2``."""
    coverage_fraction: float | None
    """Share of compute-kernel time whose FLOP are known."""
    uncounted: tuple[UncountedKernel, ...]
    """The largest kernels whose FLOP are unknown."""
    basis: str | None = None
    """``shapes``, ``given`` or ``counted``; the same in one word."""
    counted_per_step: float | None = None
    """Live runs: model FLOP as counted in the process."""
    shapes_per_step: float | None = None
    """Live runs: model FLOP from the shapes of the profiled steps."""
    by_module: tuple[ModuleFlop, ...] = ()
    """Live runs: own FLOP of each module, largest first."""
    analytic_per_step: float | None = None
    """Live runs: model FLOP by the transformer formula of PaLM and nanoGPT, where it applies."""


@dataclass(frozen=True, slots=True)
class TimelineLane:
    """One row of a drawn step: its time by cause, a stream, or a host thread."""

    kind: str
    """``cause``, ``stream`` or ``host``."""
    label: str
    events: tuple[tuple[int, int, int, int, int], ...]
    """Start in ns from the step's start, length in ns, index into ``names``, index into ``kinds``, and how
    many others of the lane enclose it. Clipped to the step, by start."""
    left_out_count: int
    """Shorter events that are not listed; of host threads without those that four others enclose."""
    left_out_ns: int
    """How long the longest of them is; 0 for none."""


@dataclass(frozen=True, slots=True)
class StepTimeline:
    """What happened in one representative step: the averaged window nearest to the median length.

    Of a trace without steps the whole of it, labelled ``span``.
    """

    label: str
    """Of the window."""
    duration_ns: int
    lanes: tuple[TimelineLane, ...]
    lanes_left_out: int
    """Streams and threads that did something and have no lane."""
    names: tuple[str, ...]
    """Cut to 200 characters."""
    kinds: tuple[str, ...]
    """Of ``cause`` lanes the classes of the partition; of streams ``compute``, ``communication``, ``copy``;
    of host threads ``op``, ``mark``, ``launch``, ``data loading`` and ``blocked``."""


@dataclass(frozen=True, slots=True)
class DeviceSamples:
    """What a live run sampled of its device over the timed and profiled steps; equally long columns."""

    time_s: tuple[float, ...]
    """Since the first sample."""
    clock_hz: tuple[float | None, ...]
    power_w: tuple[float | None, ...]
    throttle: tuple[str, ...]
    """Reasons that held the clock down, joined by commas; empty for none."""
