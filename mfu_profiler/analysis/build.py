"""One timeline -> one ``Report``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mfu_profiler.analysis.checks import trace_checks
from mfu_profiler.analysis.clocks import ClockReading, clock_reading, device_samples
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
from mfu_profiler.analysis.efficiency import Executed, executed
from mfu_profiler.analysis.findings import Evidence, FindingInputs, findings, options_of
from mfu_profiler.analysis.fixes import Fixes, InSeries, Steps, fixes_of
from mfu_profiler.analysis.host_idle import NO_OPS, host_idle, idle_reasons
from mfu_profiler.analysis.host_steps import host_steps
from mfu_profiler.analysis.live_flop import chosen_flop, flop_info
from mfu_profiler.analysis.live_report import clock_detail, known_workload, live_notes, with_live_device
from mfu_profiler.analysis.locations import Locations
from mfu_profiler.analysis.options import Options
from mfu_profiler.analysis.peak import DevicePeaks, device_peaks
from mfu_profiler.analysis.reading import is_cpu_run
from mfu_profiler.analysis.replay.fidelity import replay_info
from mfu_profiler.analysis.replay.graph import replay_graph
from mfu_profiler.analysis.replay.predictions import Predictions, left_by_replay
from mfu_profiler.analysis.replay.what_ifs import WhatIfs
from mfu_profiler.analysis.report import (
    SCHEMA_VERSION,
    HostIdle,
    KernelRow,
    ReplayInfo,
    Report,
    StepsInfo,
    WaterfallRow,
)
from mfu_profiler.analysis.scale import scale_of
from mfu_profiler.analysis.settings import with_settings
from mfu_profiler.analysis.step_timeline import step_timeline
from mfu_profiler.analysis.tables import TableInputs, kernel_rows, op_rows
from mfu_profiler.analysis.times import Times, times_of, work_of
from mfu_profiler.analysis.unpartitioned import holds_marks_only, short_block_reason, without_partition
from mfu_profiler.analysis.unprofiled import Unprofiled, host_idle_of, steps_info, unprofiled_steps
from mfu_profiler.analysis.utilization import Utilization, utilization
from mfu_profiler.analysis.waterfall import waterfall
from mfu_profiler.trace.live import LiveFlop
from mfu_profiler.trace.timeline import Timeline

__all__ = ["timeline_report"]

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
_CUT = (
    "the part of the trace that could be read holds no device work.",
    "copy or record the trace again, whole",
)
_NO_TIME = ("the trace spans no time.", "record at least one step")


def timeline_report(timeline: Timeline, options: Options) -> Report:
    """Analyse one device of one process.

    Raises:
        UnknownDeviceError: the user's own device name is not in the catalog.

    """
    options = with_settings(options, timeline.live)
    is_cpu = is_cpu_run(timeline)
    peaks = device_peaks(timeline, options, is_cpu)
    times, missing = _times(timeline, options, is_cpu)
    if times is None:
        return without_partition(timeline, peaks, options, *missing)
    return _report(times, peaks, options)


def _times(timeline: Timeline, options: Options, is_cpu: bool) -> tuple[Times | None, tuple[str, ...]]:
    """The classes of all time, or why there are none and what to type."""
    live, steps = timeline.live, host_steps(timeline)
    if live is not None and holds_marks_only(timeline):
        return None, (short_block_reason(live),)
    if not len(timeline.activities):
        if timeline.facts.truncated_because is not None:
            return None, _CUT
        if not is_cpu:
            # ``track`` asks for device activities itself, so only what hinders them is worth a hint.
            return None, _DEVICE_MISSING if live is None else _DEVICE_MISSING[::2]
        if steps is None:
            return None, _NO_MARKS
    times = times_of(timeline, steps, options.windows, is_cpu)
    if times is None:
        return None, _NO_TIME
    if is_cpu and not times.parts.spans["compute"].within(*times.averaged).any():
        return None, _NO_OPS
    return times, ()


@dataclass(frozen=True, slots=True)
class _Measured:
    """What was executed in which time, and what that makes of the device."""

    ran: Executed
    use: Utilization
    live_flop: LiveFlop | None
    unprofiled: Unprofiled | None
    clock: ClockReading | None
    step_time_s: float
    stretch: float
    """Turns shares of the averaged windows into those of the step that ``step_time_s`` is of."""


def _measured(times: Times, peaks: DevicePeaks, options: Options) -> _Measured:
    timeline, windows, live = times.timeline, times.windows, times.timeline.live
    unprofiled = unprofiled_steps(timeline, windows)
    if unprofiled is not None:
        unprofiled = replace(unprofiled, still_s=_still_s(times))
    clock = clock_reading(timeline, times.averaged)
    live_flop = live.flop if live is not None and not windows.is_span else None
    ran = executed(timeline, times.joined.nesting, work_of(times), windows.edges(), times.is_averaged)
    choice = chosen_flop(ran, live_flop, options.flop_per_step)
    use = utilization(timeline, ran, peaks, options, choice, unprofiled, clock)
    step_time_s, stretch = times.averaged_ns / 1e9 / times.step_count, 1.0
    if unprofiled is not None:
        step_time_s, stretch = unprofiled.step_s, unprofiled.stretch
    return _Measured(ran, use, live_flop, unprofiled, clock, step_time_s, stretch)


def _still_s(times: Times) -> float:
    """Host-bound time of a step in which no op runs for long."""
    still = idle_reasons(times.timeline)[NO_OPS] & times.parts.spans["idle_host"]
    return int(still.within(*times.averaged).sum()) / 1e9 / times.step_count


def _report(times: Times, peaks: DevicePeaks, options: Options) -> Report:
    timeline, windows, live = times.timeline, times.windows, times.timeline.live
    measured = _measured(times, peaks, options)
    ran, use = measured.ran, measured.use
    directions = copy_by_direction(times)
    rows, idle = _losses(times, measured, directions)
    locations, (starts, ends) = Locations(timeline), windows.edges()
    tables = _table_inputs(times, measured, peaks, locations)
    kernels = kernel_rows(tables)
    fixes = fixes_of(Steps(times, ran, peaks))
    replay, predictions = _replayed(fixes, measured)
    found = findings(
        FindingInputs(
            waterfall=rows,
            host_idle=idle,
            kernels=kernels,
            evidence=Evidence(times, locations),
            fixes=fixes,
            stretch=InSeries(fixes, measured.unprofiled).scale if times.is_cpu else measured.stretch,
            predictions=predictions,
            clock=measured.clock,
        )
    )
    kind_of_work = workload(timeline, ran.work, ran.costs) or known_workload(live)
    trains = is_training(timeline)
    steps, device = steps_info(windows, measured.unprofiled), device_info(timeline, peaks, use)
    if live is not None:
        device = with_live_device(device, live, use, measured.clock)
    return Report(
        schema_version=SCHEMA_VERSION,
        mfu=use.mfu,
        hfu=use.hfu,
        mfu_unknown_because=use.because,
        mfu_unknown_hints=use.hints,
        step_time_s=measured.step_time_s,
        step_times_s=tuple(((ends - starts) / 1e9).tolist()),
        steps=steps,
        trace=trace_info(timeline),
        device=device,
        flop=flop_info(use.choice, ran, measured.live_flop),
        partition=times.partition,
        partition_unknown_because=None,
        copy_by_direction={direction: share * measured.stretch for direction, share in directions.items()},
        host_idle=idle,
        windows=window_infos(times, ran.flop if use.flop else None),
        waterfall=rows,
        findings=found,
        ladder=predictions.ladder(found) if predictions is not None else (),
        kernels=kernels,
        ops=op_rows(tables),
        checks=trace_checks(timeline, windows, use),
        scale=None if times.is_cpu else scale_of(kind_of_work, use.precision, trains),
        conventions=conventions(use, kind_of_work, trains),
        notes=_notes(times, use, options, kernels, steps),
        replay=replay,
        options=options_of(fixes, predictions, trains=trains),
        step_timeline=step_timeline(times),
        device_samples=device_samples(live.clocks if live is not None else None),
    )


def _losses(
    times: Times, measured: _Measured, directions: dict[str, float]
) -> tuple[tuple[WaterfallRow, ...], tuple[HostIdle, ...]]:
    """The waterfall, and host-bound time by phase and reason, both of the step that the report is of."""
    use, unprofiled = measured.use, measured.unprofiled
    idle = host_idle(times.timeline, times.parts.spans["idle_host"], times.averaged, times.averaged_ns)
    if unprofiled is not None:
        idle = host_idle_of(unprofiled, idle)
    details = waterfall_details(times, measured.ran.work, use, directions, idle)
    details |= clock_detail(use, measured.clock)
    if unprofiled is not None:
        details["profiler"] = unprofiled.profiler_detail(times.partition.idle_host)
    return waterfall(times.partition, use.split, measured.step_time_s, details, unprofiled), idle


def _table_inputs(times: Times, measured: _Measured, peaks: DevicePeaks, locations: Locations) -> TableInputs:
    return TableInputs(
        timeline=times.timeline,
        ran=measured.ran,
        peaks=measured.use.peaks,
        memory_byte_per_s=peaks.memory_byte_per_s,
        locations=locations,
        rows=np.flatnonzero(times.inside(measured.ran.work.start_ns)),
        stretch=measured.stretch,
    )


def _notes(
    times: Times, use: Utilization, options: Options, kernels: tuple[KernelRow, ...], steps: StepsInfo
) -> tuple[str, ...]:
    """What a reader must know to read the numbers right, what only a live run tells first."""
    live = times.timeline.live
    lines = [*live_notes(live, steps)] if live is not None else []
    if times.is_cpu and options.device is not None:
        lines.append(f"the device {options.device} is not used: nothing ran on an accelerator")
    return (*lines, *notes(times.timeline, use, times.windows, options.windows, kernels))


def _replayed(fixes: Fixes, measured: _Measured) -> tuple[ReplayInfo | None, Predictions | None]:
    """How well the replay reproduces the steps, and, where well enough, what fixes give back."""
    times = fixes.steps.times
    timeline, kinds = times.timeline, times.kinds
    step_time_s, mfu = measured.step_time_s, measured.use.mfu
    if times.is_cpu:
        return None, Predictions(InSeries(fixes, measured.unprofiled).left, step_time_s, mfu)
    if not len(timeline.activities):
        return None, None
    graph = replay_graph(timeline, kinds)
    info = replay_info(timeline, kinds, graph, times.averaged)
    if not info.usable or not graph.is_launched.any():
        return info, None
    what_ifs = WhatIfs.of(timeline, kinds, graph, times.windows, fixes.changes)
    more_s = measured.unprofiled.more_waiting_s if measured.unprofiled is not None else 0.0
    return info, Predictions(left_by_replay(what_ifs, more_s), step_time_s, mfu)
