"""The report of a trace whose time cannot be partitioned: refused, or what a live run knows all the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.checks import trace_checks
from mfu_profiler.analysis.clocks import clock_reading
from mfu_profiler.analysis.describe import conventions, device_info, is_training, trace_info
from mfu_profiler.analysis.host_steps import host_steps
from mfu_profiler.analysis.live_flop import FlopChoice, chosen_flop, flop_info
from mfu_profiler.analysis.live_report import known_workload, live_notes, with_live_device
from mfu_profiler.analysis.options import Options
from mfu_profiler.analysis.peak import DevicePeaks
from mfu_profiler.analysis.report import SCHEMA_VERSION, Report, StepsInfo
from mfu_profiler.analysis.scale import scale_of
from mfu_profiler.analysis.unprofiled import Unprofiled, steps_info, unprofiled_steps
from mfu_profiler.analysis.utilization import bare_utilization
from mfu_profiler.analysis.windows import Windows
from mfu_profiler.trace.host_calls import step_number
from mfu_profiler.trace.live import LiveFacts
from mfu_profiler.trace.timeline import Timeline

__all__ = ["holds_marks_only", "short_block_reason", "without_partition"]

Int64 = npt.NDArray[np.int64]

_NO_WINDOWS = Windows((), "none")


def holds_marks_only(timeline: Timeline) -> bool:
    """Whether a live run ended before its profiled window: its trace then holds nothing but step marks."""
    return timeline.live is not None and not (
        len(timeline.ops) or len(timeline.calls) or len(timeline.activities)
    )


def short_block_reason(live: LiveFacts) -> str:
    """Why there is no breakdown of a block that was too short."""
    if live.run.lacks:
        return live.run.lacks[0]
    if live.run.ended:
        return f"the block ended by {live.run.ended}, before its steps were profiled"
    return "the block ended before its steps were profiled"


def without_partition(
    timeline: Timeline, peaks: DevicePeaks, options: Options, because: str, *hints: str
) -> Report:
    """What can be said without a partition.

    Args:
        timeline: the trace.
        peaks: of its device.
        options: what the user says.
        because: why there is no partition.
        hints: what to type to get one.

    """
    report = Report(
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
        flop=flop_info(FlopChoice(None), None, None),
        partition=None,
        partition_unknown_because=because,
        copy_by_direction={},
        host_idle=(),
        windows=(),
        waterfall=(),
        findings=(),
        kernels=(),
        ops=(),
        checks=trace_checks(timeline, _NO_WINDOWS, None),
        scale=None,
        conventions=(),
        notes=(),
    )
    return report if timeline.live is None else _with_live(report, timeline, timeline.live, peaks, options)


def _with_live(
    report: Report, timeline: Timeline, live: LiveFacts, peaks: DevicePeaks, options: Options
) -> Report:
    """Step time, FLOP and MFU of a run that was not profiled, or whose device was not recorded."""
    unprofiled = unprofiled_steps(timeline, None) or _marked(timeline, live)
    choice = chosen_flop(None, live.flop, options.flop_per_step)
    use = bare_utilization(timeline, peaks, options, choice, unprofiled)
    steps = report.steps if unprofiled is None else steps_info(_NO_WINDOWS, unprofiled)
    kind_of_work = known_workload(live)
    trains = is_training(timeline)
    # What was missing for the breakdown is no reason any more for what is known without it.
    lost = tuple(hint for hint in report.mfu_unknown_hints if use.mfu is not None)
    because = report.partition_unknown_because
    said = tuple(note for note in live_notes(live, steps) if note != because)
    clock = clock_reading(timeline, None)
    return replace(
        report,
        mfu=use.mfu,
        hfu=use.hfu,
        mfu_unknown_because=use.because,
        mfu_unknown_hints=use.hints,
        step_time_s=unprofiled.step_s if unprofiled is not None else None,
        steps=steps,
        device=with_live_device(device_info(timeline, peaks, use), live, use, clock),
        flop=flop_info(choice, None, live.flop),
        checks=trace_checks(timeline, _NO_WINDOWS, use),
        scale=scale_of(kind_of_work, use.precision, trains),
        conventions=conventions(use, kind_of_work, trains),
        notes=(*said, *lost),
    )


def _marked(timeline: Timeline, live: LiveFacts) -> Unprofiled | None:
    """The marked steps of a trace that holds nothing else, without the first and the one that was counted.

    Where nothing else is left these stand in; a step that did not finish never does.
    """
    steps = host_steps(timeline) if holds_marks_only(timeline) else None
    if steps is None:
        return None
    numbers = [step_number(label) for label in steps.label]
    counted = live.flop.step if live.flop is not None and live.flop.source == "counted" else None
    lengths = steps.end_ns - steps.start_ns
    for passed_over in ({1, counted}, {counted}, set[int | None]()):
        rows = [
            row
            for row, number in enumerate(numbers)
            if number not in passed_over and (number is None or number != live.run.unfinished_step)
        ]
        if rows:
            return Unprofiled(np.asarray(lengths[rows], np.int64), None)
    return None
