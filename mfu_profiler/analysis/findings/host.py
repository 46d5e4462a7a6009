"""Findings of a host that is late: dispatch, and what holds it up beside launching."""

from __future__ import annotations

from mfu_profiler.analysis.findings.advice import (
    COMPILE_SINCE,
    dispatch_advice,
    has_torch,
    optimizer_change,
    since,
)
from mfu_profiler.analysis.findings.evidence import Evidence
from mfu_profiler.analysis.findings.inputs import FindingInputs
from mfu_profiler.analysis.report import Finding, HostIdle
from mfu_profiler.units import count_text, percent_text, time_text

__all__ = [
    "allocator",
    "compilation",
    "garbage_collection",
    "host_bound",
    "host_stall",
    "launch",
    "optimizer",
    "outside_the_model",
]

SHORT_KERNEL_S = 20e-6
"""Kernels about as short as their launches take: the host can hardly keep ahead."""
NOTABLE_PHASE = 0.02
"""Smaller shares of the step are not named."""
MANY_OPTIMIZER_OPS = 100
"""More ops or launches than any fused optimizer needs."""


def host_bound(inputs: FindingInputs, share: float) -> Finding:
    """The device waits for the host to launch, or on a CPU for the next op."""
    evidence = inputs.evidence
    rows = [row for row in inputs.host_idle if row.reason == "dispatch"]
    if evidence.is_cpu:
        return _between_ops(evidence, rows, share)
    launches, between_s = evidence.launches()
    texts = [f"{count_text(launches)} launches a step, {time_text(between_s)} apart (median)"]
    texts += _phases(rows)
    texts += evidence.late_launches()
    texts += evidence.sampled_at("idle_host")
    if evidence.has_python_stacks():
        texts.append("recorded with Python stacks, which slow the host: a part of this is the profiler's")
    advice: list[str] = []
    if evidence.median_kernel_s() < SHORT_KERNEL_S:
        texts.append(f"half of the kernels take under {time_text(max(evidence.median_kernel_s(), 1e-6))}")
        advice += dispatch_advice(evidence)
    return Finding("host_bound", "the device waits for launches", share, tuple(texts), tuple(advice))


def _between_ops(evidence: Evidence, rows: list[HostIdle], share: float) -> Finding:
    """Host-bound time of a run on a CPU, which launches nothing: Python between the ops."""
    compiled = (
        [] if evidence.is_compiled() else since(evidence.timeline, "torch.compile(model)", *COMPILE_SINCE)
    )
    return Finding(
        "host_bound",
        "no op runs: Python between them",
        share,
        (*_phases(rows), *evidence.sampled_at("idle_host")),
        (*compiled, "a larger batch: fewer and longer ops for the same samples"),
    )


def _phases(rows: list[HostIdle]) -> list[str]:
    notable = [row for row in rows if row.fraction >= NOTABLE_PHASE]
    return [f"{row.phase}: {row.reason}, {percent_text(row.fraction)} of the step" for row in notable[:3]]


def launch(inputs: FindingInputs, share: float) -> Finding:
    """Launch latency on an idle device."""
    launches, _ = inputs.evidence.launches()
    return Finding(
        "launch",
        "each launch takes its time to reach an idle device",
        share,
        (f"{count_text(launches)} launches a step",),
        tuple(dispatch_advice(inputs.evidence)),
    )


def garbage_collection(inputs: FindingInputs, share: float) -> Finding:
    """Collections of garbage, which only Python stacks show."""
    where = _held_up(inputs, "garbage collection")
    return Finding(
        "garbage_collection",
        "the device waits while Python collects garbage",
        share,
        where,
        ("gc.disable() before the loop, and gc.collect() every N steps on all ranks together",),
    )


def allocator(inputs: FindingInputs, share: float) -> Finding:
    """Memory is allocated from the driver, or given back to it, inside of steps."""
    timeline = inputs.evidence.timeline
    renamed = has_torch(timeline, 2, 9)
    variable = "PYTORCH_ALLOC_CONF" if renamed else "PYTORCH_CUDA_ALLOC_CONF"
    calls = inputs.evidence.allocations()
    advice = ["no torch.cuda.empty_cache() in the loop, and batches of one size"]
    advice += since(timeline, f"{variable}=expandable_segments:True", 2, 1)
    return Finding(
        "allocator",
        "the device waits while memory is allocated from the driver",
        share,
        (*calls, *_held_up(inputs, "allocator")),
        tuple(advice),
    )


def compilation(inputs: FindingInputs, share: float) -> Finding:
    """torch.compile compiles inside of steps."""
    return Finding(
        "compilation",
        "torch.compile compiles inside of the steps",
        share,
        (*inputs.evidence.compilations(), *_held_up(inputs, "compilation")),
        (
            "if it goes on after the first steps:  TORCH_LOGS=recompiles names what changes",
            "sizes that vary:  torch.compile(model, dynamic=True), or torch._dynamo.mark_dynamic(x, 0)",
        ),
    )


def host_stall(inputs: FindingInputs, share: float) -> Finding:
    """One op took many times what it usually takes, and no other ran in it."""
    return Finding(
        "host_stall",
        "the host process was held up",
        share,
        _held_up(inputs, "host stall"),
        ("check cores, CPU affinity (taskset, numactl) and other processes on the machine",),
    )


def outside_the_model(inputs: FindingInputs, share: float) -> Finding:
    """Long stretches without any op: nothing that torch does."""
    return Finding(
        "outside_the_model",
        "the device waits while the loop runs no torch op",
        share,
        (*_held_up(inputs, "no ops"), *inputs.evidence.sampled_at("idle_host")),
        (
            "look at what the loop does there: logging, checkpoints, a loader of your own",
            "if it fetches data, say so:  with run.data(): batch = next(source)",
        ),
    )


def _held_up(inputs: FindingInputs, reason: str) -> tuple[str, ...]:
    rows = [row for row in inputs.host_idle if row.reason == reason and row.fraction >= 0.0005]
    return tuple(f"{row.phase}: {percent_text(row.fraction)} of the step" for row in rows[:3])


def optimizer(inputs: FindingInputs, share: float) -> Finding | None:
    """An optimizer that is not fused, if its class can be."""
    work, evidence = inputs.fixes.optimizer, inputs.evidence
    if work.is_fused or work.count < MANY_OPTIMIZER_OPS:
        return None
    change = optimizer_change(evidence.timeline, work.name, is_cpu=evidence.is_cpu)
    if not change:
        return None
    what = "ops" if evidence.is_cpu else "launches"
    how = "a list of tensors at a time (foreach)" if work.is_foreach else "one tensor after the other"
    return Finding(
        "optimizer",
        f"the optimizer updates {how}",
        share,
        (f"{count_text(work.count)} {what} a step in {work.name}.step",),
        tuple(change),
    )
