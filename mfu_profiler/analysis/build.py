"""One timeline -> one ``Report``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
from mfu_profiler.analysis.host_device import names_an_accelerator
from mfu_profiler.analysis.host_idle import host_idle
from mfu_profiler.analysis.locations import Locations
from mfu_profiler.analysis.options import Options
from mfu_profiler.analysis.peak import DevicePeaks, device_peaks
from mfu_profiler.analysis.report import (
    SCHEMA_VERSION,
    FlopInfo,
    Report,
    StepsInfo,
    UncountedKernel,
)
from mfu_profiler.analysis.scale import scale_of
from mfu_profiler.analysis.tables import TableInputs, kernel_rows, op_rows
from mfu_profiler.analysis.times import Times, times_of, work_of
from mfu_profiler.analysis.utilization import Utilization, utilization
from mfu_profiler.analysis.waterfall import waterfall
from mfu_profiler.analysis.windows import Windows, host_steps
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


def timeline_report(timeline: Timeline, options: Options) -> Report:
    """Analyse one device of one process.

    Raises:
        UnknownDeviceError: the user's own device name is not in the catalog.

    """
    has_device = len(timeline.activities) > 0
    is_cpu = not has_device and not names_an_accelerator(timeline)
    peaks = device_peaks(timeline, options, is_cpu)
    steps = host_steps(timeline)
    if not has_device and timeline.facts.truncated_because is not None:
        because = "the part of the trace that could be read holds no device work."
        return _without_partition(timeline, peaks, because, "copy or record the trace again, whole")
    if not has_device and not is_cpu:
        return _without_partition(timeline, peaks, *_DEVICE_MISSING)
    if not has_device and steps is None:
        return _without_partition(timeline, peaks, *_NO_MARKS)
    times = times_of(timeline, steps, options.windows, is_cpu)
    if times is not None and is_cpu and not times.parts.spans["compute"].within(*times.averaged).any():
        return _without_partition(timeline, peaks, *_NO_OPS)
    if times is None:
        return _without_partition(timeline, peaks, "the trace spans no time.", "record at least one step")
    return _report(times, peaks, options)


def _report(times: Times, peaks: DevicePeaks, options: Options) -> Report:
    timeline, windows, partition = times.timeline, times.windows, times.partition
    edges = windows.edges()
    ran = executed(timeline, times.joined.nesting, work_of(times), edges, times.is_averaged)
    use = utilization(timeline, ran, peaks, options)
    directions = copy_by_direction(times)
    idle = host_idle(timeline, times.parts.spans["idle_host"], times.averaged, times.averaged_ns)
    step_time_s = times.averaged_ns / 1e9 / times.step_count
    rows = waterfall(
        partition, use.split, step_time_s, waterfall_details(times, ran.work, use, directions, idle)
    )
    locations = Locations(timeline)
    tables = TableInputs(
        timeline=timeline,
        ran=ran,
        peaks=use.peaks,
        memory_byte_per_s=peaks.memory_byte_per_s,
        locations=locations,
        rows=np.flatnonzero(times.inside(ran.work.start_ns)),
    )
    kernels = kernel_rows(tables)
    causes = FindingInputs(partition, rows, idle, kernels, Evidence(times, locations))
    kind_of_work, trains = workload(timeline, ran.work, ran.costs), is_training(timeline)
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
        windows=window_infos(times, ran.flop if use.flop else None),
        waterfall=rows,
        findings=findings(causes),
        kernels=kernels,
        ops=op_rows(tables),
        checks=trace_checks(timeline, windows, use),
        scale=scale_of(kind_of_work, use.precision, trains),
        conventions=conventions(use, kind_of_work, trains),
        notes=notes(timeline, use, windows, options.windows, kernels),
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
        checks=trace_checks(timeline, Windows((), "none"), None),
        scale=None,
        conventions=(),
        notes=(),
    )
