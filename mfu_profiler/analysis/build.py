"""One timeline -> one ``Report``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.activity_kinds import ActivityKinds, activity_kinds
from mfu_profiler.analysis.attribution import Attribution, attribution
from mfu_profiler.analysis.checks import trace_checks
from mfu_profiler.analysis.describe import (
    conventions,
    copy_by_direction,
    device_info,
    is_training,
    notes,
    trace_info,
    waterfall_details,
    window_infos,
    workload,
)
from mfu_profiler.analysis.efficiency import Coverage, executed
from mfu_profiler.analysis.evidence import Evidence
from mfu_profiler.analysis.findings import FindingInputs, findings
from mfu_profiler.analysis.host_device import host_device, names_an_accelerator
from mfu_profiler.analysis.host_idle import host_idle
from mfu_profiler.analysis.host_states import HostStates, host_states
from mfu_profiler.analysis.locations import Locations
from mfu_profiler.analysis.options import Options
from mfu_profiler.analysis.partition import TimeParts, device_parts
from mfu_profiler.analysis.peak import DevicePeaks, device_peaks
from mfu_profiler.analysis.report import (
    PARTS,
    SCHEMA_VERSION,
    FlopInfo,
    Partition,
    Report,
    StepsInfo,
    UncountedKernel,
)
from mfu_profiler.analysis.scale import scale_of
from mfu_profiler.analysis.tables import TableInputs, kernel_rows, op_rows
from mfu_profiler.analysis.utilization import Utilization, utilization
from mfu_profiler.analysis.waterfall import waterfall
from mfu_profiler.analysis.windows import HostSteps, Windows, host_steps, step_windows
from mfu_profiler.analysis.work import Work, device_work, host_work
from mfu_profiler.flops import has_formula
from mfu_profiler.trace.timeline import Timeline

__all__ = ["timeline_report"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_NO_FLOP = FlopInfo(None, None, None, None, None, None, None, ())
_DEVICE_MISSING = (
    "device activities are missing: the trace names an accelerator but holds no kernel.",
    "record them:  torch.profiler.profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])",
    "CUPTI serves one profiler at a time and may need permission: look for warnings when profiling starts",
)
_NO_MARKS = (
    "the trace holds no device work, and nothing in it marks steps.",
    "mark steps:  call profiler.step() after each one",
)
_NO_OPS = (
    "the trace holds no device work, and no op inside its marked steps: nothing tells what they did.",
    "record the steps' ops:  torch.profiler.profile(activities=[ProfilerActivity.CPU, ...])",
)


@dataclass(frozen=True, slots=True)
class _Times:
    """When things happened: windows, and the class of every instant."""

    timeline: Timeline
    is_cpu: bool
    joined: Attribution
    kinds: ActivityKinds
    host: HostStates
    windows: Windows
    parts: TimeParts
    threads: tuple[int, ...]
    """Host threads that compute; of a CPU only."""

    @property
    def is_averaged(self) -> Bool:
        """Which windows are steps."""
        return np.array([window.role == "averaged" for window in self.windows.windows], np.bool_)

    @property
    def averaged(self) -> tuple[Int64, Int64]:
        """Starts and ends of the averaged windows."""
        starts, ends = self.windows.edges()
        return starts[self.is_averaged], ends[self.is_averaged]

    @property
    def averaged_ns(self) -> int:
        """Length of the averaged windows together."""
        starts, ends = self.averaged
        return int((ends - starts).sum())


def timeline_report(timeline: Timeline, options: Options) -> Report:
    """Analyse one device of one process.

    Raises:
        UnknownDeviceError: the user's own device name is not in the catalog.

    """
    has_device = len(timeline.activities) > 0
    is_cpu = not has_device and not names_an_accelerator(timeline)
    peaks = device_peaks(timeline, options, is_cpu)
    steps = host_steps(timeline)
    if not has_device and not is_cpu:
        return _without_partition(timeline, peaks, *_DEVICE_MISSING)
    if not has_device and steps is None:
        return _without_partition(timeline, peaks, *_NO_MARKS)
    times = _times(timeline, steps, options, is_cpu)
    if times is not None and is_cpu and not times.parts.spans["compute"].within(*times.averaged).any():
        return _without_partition(timeline, peaks, *_NO_OPS)
    if times is None:
        return _without_partition(timeline, peaks, "the trace spans no time.", "record at least one step")
    return _report(times, peaks, options)


def _times(timeline: Timeline, steps: HostSteps | None, options: Options, is_cpu: bool) -> _Times | None:
    joined = attribution(timeline, has_formula)
    kinds = activity_kinds(timeline, joined)
    windows = step_windows(timeline, kinds, options.windows, not is_cpu)
    if not windows.windows:
        return None
    host = host_states(timeline, steps.thread if steps is not None else None)
    starts, ends = windows.edges()
    bounds = min(timeline.start_ns, int(starts.min())), max(timeline.end_ns, int(ends.max()))
    if is_cpu:
        device = host_device(timeline, host, bounds)
        return _Times(timeline, is_cpu, joined, kinds, host, windows, device.parts, device.threads)
    parts = device_parts(timeline, kinds, host, bounds)
    return _Times(timeline, is_cpu, joined, kinds, host, windows, parts, ())


def _work(times: _Times) -> Work:
    if not times.is_cpu:
        return device_work(times.timeline, times.kinds, times.joined, times.averaged)
    ops = times.timeline.ops
    computes = np.isin(ops.thread, times.threads) & times.parts.spans["compute"].holds(ops.start_ns)
    return host_work(
        times.timeline,
        times.joined.nesting,
        times.joined.is_leaf_formula,
        computes & _inside(times, ops.start_ns),
    )


def _inside(times: _Times, time_ns: Int64) -> Bool:
    """Which times lie in an averaged window."""
    starts, ends = times.averaged
    index = np.searchsorted(starts, time_ns, side="right") - 1
    return np.asarray((index >= 0) & (time_ns < ends[np.maximum(index, 0)]), np.bool_)


def _report(times: _Times, peaks: DevicePeaks, options: Options) -> Report:
    timeline, windows = times.timeline, times.windows
    edges, averaged, averaged_ns = windows.edges(), times.averaged, times.averaged_ns
    step_count = len(windows.averaged)
    step_time_s = averaged_ns / 1e9 / step_count
    by_window = times.parts.within(*edges)
    partition = Partition(
        **{name: int(by_window[name][times.is_averaged].sum()) / averaged_ns for name in PARTS}
    )
    ran = executed(timeline, times.joined.nesting, _work(times), edges, times.is_averaged)
    use = utilization(timeline, ran, peaks, options)
    directions = copy_by_direction(timeline, times.parts, averaged, averaged_ns)
    idle = host_idle(timeline, times.host, times.parts.spans["idle_host"], averaged, averaged_ns)
    details = waterfall_details(
        timeline, None if times.is_cpu else times.kinds, ran.work, use, directions, idle
    )
    rows = waterfall(partition, use.split, step_time_s, details)
    locations = Locations(timeline)
    evidence = Evidence(
        timeline, times.kinds, times.joined, times.host, locations, averaged[0], averaged[1], step_count
    )
    tables = TableInputs(
        timeline=timeline,
        ran=ran,
        peaks=use.peaks,
        memory_byte_per_s=peaks.memory_byte_per_s,
        locations=locations,
        rows=np.flatnonzero(_inside(times, ran.work.start_ns)),
    )
    kernels = kernel_rows(tables)
    kind_of_work = workload(timeline, ran.work, ran.costs)
    return Report(
        schema_version=SCHEMA_VERSION,
        mfu=use.mfu,
        hfu=use.hfu,
        mfu_unknown_because=use.because,
        mfu_unknown_hints=use.hints,
        step_time_s=step_time_s,
        step_times_s=tuple(((edges[1] - edges[0]) / 1e9).tolist()),
        steps=_steps_info(windows),
        trace=trace_info(timeline),
        device=device_info(timeline, peaks, use),
        flop=_flop_info(use, ran.covered),
        partition=partition,
        partition_unknown_because=None,
        copy_by_direction=directions,
        host_idle=idle,
        windows=window_infos(windows, by_window, ran.flop if use.flop else None, timeline.start_ns),
        waterfall=rows,
        findings=findings(FindingInputs(partition, rows, idle, kernels, evidence)),
        kernels=kernels,
        ops=op_rows(tables),
        checks=trace_checks(timeline, windows, use.flop, use.because if use.is_impossible else None),
        scale=scale_of(kind_of_work, use.precision, is_training(timeline)),
        conventions=conventions(use, kind_of_work, is_training(timeline)),
        notes=notes(timeline, use, windows, options.windows),
    )


def _steps_info(windows: Windows) -> StepsInfo:
    lengths = np.array([window.end_ns - window.start_ns for window in windows.averaged], np.float64) / 1e9
    pauses = sum(window.end_ns - window.start_ns for window in windows.windows if window.role == "pause")
    whole = sum(window.end_ns - window.start_ns for window in windows.windows)
    return StepsInfo(
        count=len(lengths),
        source=windows.source,
        spread_fraction=float(lengths.std() / lengths.mean()) if len(lengths) > 1 else None,
        fastest_s=float(lengths.min()) if len(lengths) else None,
        slowest_s=float(lengths.max()) if len(lengths) else None,
        pause_fraction=pauses / whole if whole else 0.0,
    )


def _flop_info(use: Utilization, covered: Coverage) -> FlopInfo:
    flop = use.flop
    return FlopInfo(
        model_per_step=flop.model if flop else None,
        hardware_per_step=flop.hardware if flop else None,
        recomputed_per_step=flop.recomputed if flop else None,
        optimizer_per_step=flop.optimizer if flop else None,
        causal_model_per_step=flop.causal_model if flop else None,
        source=use.flop_source,
        coverage_fraction=covered.fraction,
        uncounted=tuple(UncountedKernel(name, share) for name, share in covered.uncounted),
    )


def _without_partition(timeline: Timeline, peaks: DevicePeaks, because: str, *hints: str) -> Report:
    """What can be said of a trace whose time cannot be partitioned."""
    return Report(
        schema_version=SCHEMA_VERSION,
        mfu=None,
        hfu=None,
        mfu_unknown_because=because,
        mfu_unknown_hints=hints,
        step_time_s=None,
        step_times_s=(),
        steps=StepsInfo(0, "none", None, None, None, 0.0),
        trace=trace_info(timeline),
        device=device_info(timeline, peaks, None),
        flop=_NO_FLOP,
        partition=None,
        partition_unknown_because=because,
        copy_by_direction={},
        host_idle=(),
        windows=(),
        waterfall=(),
        findings=(),
        kernels=(),
        ops=(),
        checks=trace_checks(timeline, Windows((), "none"), None, None),
        scale=None,
        conventions=(),
        notes=(),
    )
