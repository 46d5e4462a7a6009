"""What a report says: a frozen tree of plain values, without rendering and without I/O.

Its field names are the keys of the JSON form. Fractions are 0 to 1, ``None`` means unknown (a
``*_because`` field beside it says why).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from mfu_profiler.analysis.facts import (
    DeviceInfo,
    DeviceSamples,
    FlopInfo,
    ModuleFlop,
    ReplayInfo,
    StepsInfo,
    StepTimeline,
    TimelineLane,
    TraceInfo,
    UncountedKernel,
)

if TYPE_CHECKING:
    from mfu_profiler.render.charts import Figure

__all__ = [
    "PARTS",
    "SCHEMA_VERSION",
    "Check",
    "Confidence",
    "DeviceInfo",
    "DeviceSamples",
    "Finding",
    "FlopInfo",
    "HostIdle",
    "KernelRow",
    "LadderStep",
    "ModuleFlop",
    "NumericOption",
    "OpRow",
    "Partition",
    "ReplayInfo",
    "Report",
    "Scale",
    "StepTimeline",
    "StepsInfo",
    "TimelineLane",
    "TraceInfo",
    "UncountedKernel",
    "WaterfallRow",
    "WindowInfo",
]

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Partition:
    """Where the time of a step went; the fields sum to 1."""

    compute: float
    """At least one kernel that is not communication runs."""
    communication: float
    """A collective runs and no compute kernel does."""
    copy: float
    """Only memcpy or memset runs."""
    idle_data_loading: float
    """Device idle while the launching thread waits for the data loader."""
    idle_synchronization: float
    """Device drained because the host was blocked in a synchronization; its refill."""
    idle_host: float
    """Device idle because the next launch came late for any other reason."""
    idle_launch: float
    """From the return of a launch call to the start of what it launched."""
    idle_unexplained: float
    """The same where it is too long, inside a graph, or without a launch record."""


PARTS = tuple(field.name for field in fields(Partition))
"""The classes of time, in order of precedence."""


@dataclass(frozen=True, slots=True)
class WindowInfo:
    """One step window, its parts in ns. The parts sum to ``duration_ns`` exactly."""

    label: str
    """For example ``ProfilerStep#7``, or ``span``."""
    start_ns: int
    """Offset from the trace's first event."""
    duration_ns: int
    role: str
    """``averaged``, ``startup`` (shown, not averaged) or ``pause`` (named, not averaged)."""
    compute_ns: int
    communication_ns: int
    copy_ns: int
    idle_data_loading_ns: int
    idle_synchronization_ns: int
    idle_host_ns: int
    idle_launch_ns: int
    idle_unexplained_ns: int
    model_flop: int | None


@dataclass(frozen=True, slots=True)
class WaterfallRow:
    cause: str
    fraction: float
    """Of the step at the reference peak; losses positive, gains negative."""
    time_s: float | None
    """The same per step; None for ``peak``."""
    detail: str
    """What stands behind it, in a few words; may be empty."""


@dataclass(frozen=True, slots=True)
class HostIdle:
    """A share of host-bound idle time by phase and reason."""

    phase: str
    """``forward``, ``backward``, ``optimizer`` or ``outside the model``."""
    reason: str
    """``dispatch``, ``allocator``, ``compilation``, ``garbage collection``, ``host stall``, or ``no ops``."""
    fraction: float
    """Of the step; over all rows they sum to the waterfall's ``idle_host``."""


Confidence = Literal["high", "medium", "low"]
"""``high``: the fix removes a wait that was recorded. ``medium``: it makes work shorter or overlap, by an
estimate. ``low``: nobody can tell what the fix gives back; the finding ranks by its share."""


@dataclass(frozen=True, slots=True)
class Finding:
    code: str
    """Its cause: ``data_loading``, ``synchronization``, ``host_bound``, ..."""
    title: str
    share_fraction: float
    """Share of the step that this cause holds."""
    evidence: tuple[str, ...]
    advice: tuple[str, ...]
    recovered_s: float | None = None
    """Step time that the fix gives back, by a replay without this cause; None where none can tell."""
    step_time_after_s: float | None = None
    mfu_after: float | None = None
    confidence: Confidence = "low"


@dataclass(frozen=True, slots=True)
class NumericOption:
    """A precision that the device has and the run does not use: it changes numerics, and so is no finding."""

    code: str
    """``tf32``, ``bf16``, ``fp16`` or ``fp8``."""
    step_time_after_s: float
    """At best. No MFU: the peak changes as well."""
    advice: str


@dataclass(frozen=True, slots=True)
class LadderStep:
    """One more fix, after those before it: what the step and the MFU then are."""

    code: str
    """Of the finding."""
    step_time_after_s: float
    mfu_after: float | None


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One kernel name over the averaged windows, per step."""

    name: str
    kind: str
    count: float
    """Calls per step."""
    time_s: float
    """Device time per step."""
    time_fraction: float
    """Of the step."""
    flop: float | None
    """Per step; None where unknown, 0 where the kernel has none."""
    achieved_flop_per_s: float | None
    precision: str | None
    """The precision it ran in, where it has FLOP."""
    peak_fraction: float | None
    """Achieved rate over the peak of its own precision."""
    ideal_time_s: float | None
    """FLOP over that peak."""
    byte: float | None
    """Least memory traffic that its shapes imply, per step; None where unknown."""
    bound: str | None
    """``compute`` or ``memory``: which roof is nearer by its shapes."""
    op: str | None
    """The op that launched most of it."""
    location: str | None
    """Source line or module that called the op, where the trace has stacks."""


@dataclass(frozen=True, slots=True)
class OpRow:
    """One op with its shapes over the averaged windows, per step."""

    name: str
    shapes: str
    count: float
    time_s: float
    """Time of the kernels that it launched."""
    time_fraction: float
    flop: float | None
    achieved_flop_per_s: float | None
    peak_fraction: float | None
    location: str | None


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool
    detail: str
    applies: bool = True
    """False where the trace does not hold what it asks; then it is ``ok``."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What published runs of that kind reach."""

    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is known about one device of one rank of one trace."""

    schema_version: int
    mfu: float | None
    hfu: float | None
    mfu_unknown_because: str | None
    """One line; None where MFU is known."""
    mfu_unknown_hints: tuple[str, ...]
    """What to type to get it."""
    step_time_s: float | None
    """Mean over the averaged windows; of a live run the median of its unprofiled steps."""
    step_times_s: tuple[float, ...]
    """Every window in order, start-up and pauses included (``windows`` says which is which)."""
    steps: StepsInfo
    trace: TraceInfo
    device: DeviceInfo
    flop: FlopInfo
    partition: Partition | None
    """Of the averaged windows, which are profiled; the waterfall of a live run is of the unprofiled step."""
    partition_unknown_because: str | None
    copy_by_direction: dict[str, float]
    """Exposed copy as fractions of the step: ``host to device``, ``device to host``, ..."""
    host_idle: tuple[HostIdle, ...]
    windows: tuple[WindowInfo, ...]
    waterfall: tuple[WaterfallRow, ...]
    findings: tuple[Finding, ...]
    kernels: tuple[KernelRow, ...]
    ops: tuple[OpRow, ...]
    checks: tuple[Check, ...]
    scale: Scale | None
    conventions: tuple[str, ...]
    """The same run as other tools would print it, and which conventions differ."""
    notes: tuple[str, ...]
    """What a reader must know to read the numbers right."""
    ladder: tuple[LadderStep, ...] = ()
    """The best fix first, then what the others still give back; findings whose fix can be replayed."""
    replay: ReplayInfo | None = None
    """None where nothing ran on a device."""
    options: tuple[NumericOption, ...] = ()
    """The quickest first."""
    step_timeline: StepTimeline | None = None
    """None where nothing tells when anything ran."""
    device_samples: DeviceSamples | None = None
    """Live runs on a device that can be asked."""

    def figures(self) -> dict[str, Figure]:
        """The charts by name; each shows itself in notebooks and has ``spec``, ``to_png()``, ``to_svg()``."""
        from mfu_profiler.render.charts import figures

        return figures(self)

    def to_html(self) -> str:
        """The report as one page that needs no other file and no network."""
        from mfu_profiler.render.html import render_html

        return render_html([self])

    def _repr_html_(self) -> str:
        """The page in a notebook."""
        from mfu_profiler.render.html import report_frame

        return report_frame(self)
