"""The describing parts of a report: trace, device, windows, details, conventions and notes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.costs import OpCosts
from mfu_profiler.analysis.efficiency import StepFlop
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.op_roles import EVALUATE_FUNCTION
from mfu_profiler.analysis.peak import DevicePeaks
from mfu_profiler.analysis.report import PARTS, DeviceInfo, HostIdle, KernelRow, TraceInfo, WindowInfo
from mfu_profiler.analysis.times import Times
from mfu_profiler.analysis.unprofiled import unprofiled_steps
from mfu_profiler.analysis.utilization import Utilization
from mfu_profiler.analysis.windows import Windows
from mfu_profiler.analysis.work import Work
from mfu_profiler.trace.host_calls import is_optimizer_step
from mfu_profiler.trace.kernel_kinds import KERNEL_KINDS
from mfu_profiler.trace.timeline import MEMSET, Timeline
from mfu_profiler.units import percent_text

__all__ = [
    "conventions",
    "copy_by_direction",
    "device_info",
    "is_training",
    "notes",
    "trace_info",
    "waterfall_details",
    "window_infos",
    "workload",
]

Int64 = npt.NDArray[np.int64]

_DIRECTIONS = {
    "HtoD": "host to device",
    "DtoH": "device to host",
    "DtoD": "device to device",
    "PtoP": "peer to peer",
}
QUEUED_GAP_NS = 10_000
"""Kernels that wait in a queue follow one another within a few µs."""
NANOGPT_PEAK = 312e12
"""nanoGPT's ``estimate_mfu`` divides by an A100's bf16 peak, whatever the device (model.py)."""


def trace_info(timeline: Timeline) -> TraceInfo:
    """What holds for the trace."""
    facts = timeline.facts
    table = timeline.ops if len(timeline.ops) else timeline.calls
    process = timeline.threads[int(table.thread[0])].split("/")[0] if len(table) else None
    return TraceInfo(
        path=facts.path,
        rank=timeline.rank,
        world_size=timeline.world_size,
        process=process,
        events=facts.event_count,
        truncated=facts.truncated_because is not None,
        truncated_because=facts.truncated_because,
        torch_version=facts.torch_version,
    )


def device_info(timeline: Timeline, peaks: DevicePeaks, use: Utilization | None) -> DeviceInfo:
    """The device and the peak that MFU refers to."""
    return DeviceInfo(
        name=peaks.name,
        index=timeline.device_index,
        backend=peaks.backend,
        precision=use.precision if use else None,
        peak_flop_per_s=use.peak_flop_per_s if use else None,
        peak_source=use.peak_source if use else None,
        peak_detail=use.peak_detail if use else None,
        memory_byte_per_s=peaks.memory_byte_per_s,
        sm_count=peaks.sm_count,
    )


def window_infos(times: Times, flop: StepFlop | None) -> tuple[WindowInfo, ...]:
    """Every window with its parts in ns."""
    parts = times.parts.within(*times.windows.edges())
    origin_ns = times.timeline.start_ns  # looks through all events
    return tuple(
        WindowInfo(
            label=window.label,
            start_ns=window.start_ns - origin_ns,
            duration_ns=window.end_ns - window.start_ns,
            role=window.role,
            model_flop=flop.model_by_window[index] if flop else None,
            **{f"{name}_ns": int(parts[name][index]) for name in PARTS},
        )
        for index, window in enumerate(times.windows.windows)
    )


def copy_by_direction(times: Times) -> dict[str, float]:
    """Exposed copy time by direction, as fractions of the step; concurrent ones count for the first."""
    timeline, activities = times.timeline, times.timeline.activities
    left = times.parts.spans["copy"]
    result = {}
    for token, direction in (*_DIRECTIONS.items(), ("", "memset and other")):
        mask = timeline.by_name(activities.name, _holds(token), np.bool_)
        if token:
            mask = mask & (activities.kind != MEMSET)
        part = left & Spans.of(activities.start_ns[mask], activities.end_ns[mask])
        left = left - part
        if length := int(part.within(*times.averaged).sum()):
            result[direction] = length / times.averaged_ns
    return result


def _holds(token: str) -> Callable[[str], bool]:
    return lambda name: token in name


def is_training(timeline: Timeline) -> bool:
    """Whether a backward pass or an optimizer step was recorded, or the live process says so."""
    if timeline.live is not None and timeline.live.run.mode in ("training", "inference"):
        return timeline.live.run.mode == "training"
    ops, marks = timeline.ops, timeline.marks
    backward = timeline.by_name(ops.name, lambda name: name.startswith(EVALUATE_FUNCTION), np.bool_)
    return bool(backward.any()) or bool(timeline.by_name(marks.name, is_optimizer_step, np.bool_).any())


def workload(timeline: Timeline, work: Work, costs: OpCosts) -> str | None:
    """``transformer`` or ``convolution`` by what executes the FLOP; None where it is neither."""
    flop: dict[str, int] = {}
    for name, count in zip(timeline.ops.name[costs.op].tolist(), costs.model_flop.tolist(), strict=True):
        text = timeline.names[name]
        kind = "convolution" if "conv" in text else "attention" if "attention" in text else "matmul"
        flop[kind] = flop.get(kind, 0) + count
    total = sum(flop.values())
    if not total:
        return None
    if flop.get("convolution", 0) > total / 2:
        return "convolution"
    softmax = [KERNEL_KINDS.index("attention"), KERNEL_KINDS.index("softmax")]
    return "transformer" if "attention" in flop or bool(np.isin(work.kind, softmax).any()) else None


def waterfall_details(
    times: Times, work: Work, use: Utilization, directions: dict[str, float], idle: tuple[HostIdle, ...]
) -> dict[str, str]:
    """A few words for rows of the waterfall."""
    details = {}
    if use.split is not None and use.split.busy > 0:
        reached = percent_text(use.split.useful / use.split.busy, 0)
        details["matmul_inefficiency"] = f"matmuls reach {reached} of peak"
    if directions:
        details["copy"] = max(directions, key=lambda name: directions[name])
    if idle:
        details["idle_host"] = f"mostly {idle[0].phase}: {idle[0].reason}"
    if not times.is_cpu:
        details["idle_unexplained"] = _unexplained(times)
        total = np.bincount(work.kind, weights=work.share_ns, minlength=len(KERNEL_KINDS))
        for kind in ("matmul", "attention", "convolution", "communication"):
            total[KERNEL_KINDS.index(kind)] = 0
        largest = [KERNEL_KINDS[index] for index in np.argsort(-total)[:2] if total[index] > 0]
        details["other_kernels"] = ", ".join(largest)
    return details


def _unexplained(times: Times) -> str:
    """What most of the unexplained idle time looks like."""
    spans = times.parts.spans["idle_unexplained"]
    lengths = (spans.end_ns - spans.start_ns)[times.inside(spans.start_ns)]
    short = int(lengths[lengths < QUEUED_GAP_NS].sum())
    return "gaps between queued kernels" if short > lengths.sum() / 2 else "waits on a stream, or no launch"


def conventions(use: Utilization, workload_name: str | None, trains: bool) -> tuple[str, ...]:
    """The same run as others would print it, where they differ."""
    if use.mfu is None or use.flop is None or use.peak_flop_per_s is None:
        return ()
    lines = ["one multiply-add is 2 FLOP"]
    if workload_name == "transformer":
        lines = ["one multiply-add is 2 FLOP; attention counts the full square, as in PaLM and torch"]
    if use.flop.causal_model is not None:
        halved = use.mfu * use.flop.causal_model / use.flop.model
        lines.append(f"Megatron and TraceLens halve causal attention: MFU {percent_text(halved)}")
    is_like_nanogpt = trains and workload_name == "transformer" and use.precision in ("bf16", "fp16")
    if is_like_nanogpt and use.peak_flop_per_s != NANOGPT_PEAK:
        fixed = use.mfu * use.peak_flop_per_s / NANOGPT_PEAK
        lines.append(f"nanoGPT divides by 312 TFLOP/s on any device: MFU {percent_text(fixed)}")
    return tuple(lines)


def notes(
    timeline: Timeline, use: Utilization, windows: Windows, mode: str, kernels: tuple[KernelRow, ...]
) -> tuple[str, ...]:
    """What a reader must know to read the numbers right."""
    lines = []
    if any(row.peak_fraction is not None and row.peak_fraction > 1 for row in kernels):
        lines.append(
            "kernels over 100 % of peak: the measured peak is the rate of one matrix product, not a limit"
            if use.peak_source == "measured"
            else "kernels over 100 % of peak:"
            " Winograd and FFT execute fewer FLOP than their convolution counts"
        )
    is_timed_without = unprofiled_steps(timeline, windows) is not None
    if len(windows.averaged) == 1 and not is_timed_without:
        lines.append("one step only: its spread is unknown, and the first step after warm-up is often slower")
    if mode == "span":
        lines.append("the whole trace is one window: FLOP and times are of all of it, not of a step")
    if use.flop_source == "given":
        lines.append("FLOP per step are as given; coverage tells of the shapes in the trace")
    if not is_timed_without:
        with_stacks = " (with stacks, which costs most)" if timeline.facts.recorded_stacks else ""
        lines.append(
            f"the steps were profiled{with_stacks}: the host is faster without, and so may the step be"
        )
    if not is_training(timeline):
        lines.append("no backward pass or optimizer step in the trace: this is inference, or forward only")
    return tuple(lines)
