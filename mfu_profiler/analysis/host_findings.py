"""The finding of host-bound time: where the host was, for what reason, and what makes it faster."""

from __future__ import annotations

from mfu_profiler.analysis.evidence import Evidence
from mfu_profiler.analysis.report import Finding, HostIdle
from mfu_profiler.units import count_text, percent_text, time_text

__all__ = ["dispatch_advice", "host_bound"]

SHORT_KERNEL_S = 20e-6
"""Kernels about as short as their launches take: the host can hardly keep ahead."""
NOTABLE_REASON = 0.02
"""Smaller shares of the step get no advice of their own."""
MANY_OPTIMIZER_LAUNCHES = 100
"""More launches than any fused or foreach optimizer needs."""
FUSED_OPTIMIZERS = frozenset({"Adam", "AdamW", "SGD", "Adagrad"})
"""``fused=True`` since torch 2.0 (Adam, AdamW), 2.3 (SGD) and 2.4 (Adagrad)."""
FOREACH_OPTIMIZERS = frozenset(
    {"ASGD", "Adadelta", "Adafactor", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop"}
)
"""``foreach=True`` (torch.optim, "Algorithms")."""

_HOST_ADVICE = {
    "allocator": "stop cudaMalloc/cudaFree:  PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
    "compilation": "torch.compile is still compiling: profile later steps, or mark dynamic shapes",
    "garbage collection": "gc.disable() in the loop and gc.collect() every N steps",
    "host stall": "the host process was held up: check cores, CPU affinity and other processes",
    "no ops": "look at what the loop does between steps: no op and no data loader runs there",
}


def host_bound(evidence: Evidence, host_idle: tuple[HostIdle, ...], share: float) -> Finding:
    """The device waits for the host to launch, or on a CPU for the next op.

    Args:
        evidence: of the trace.
        host_idle: host-bound time by phase and reason, largest first.
        share: of the step.

    """
    if evidence.is_cpu:
        return _between_ops(evidence, host_idle, share)
    launches, between_s = evidence.launches()
    texts = [f"{count_text(launches)} launches a step, {time_text(between_s)} apart (median)"]
    texts += [f"{row.phase}: {row.reason}, {percent_text(row.fraction)} of the step" for row in host_idle[:2]]
    texts += evidence.sampled_at("idle_host")
    by_reason: dict[str, float] = {}
    for row in host_idle:
        by_reason[row.reason] = by_reason.get(row.reason, 0.0) + row.fraction
    advice = [text for reason, text in _HOST_ADVICE.items() if by_reason.get(reason, 0.0) >= NOTABLE_REASON]
    dispatch = by_reason.get("dispatch", 0.0)
    if dispatch >= 0.03 and evidence.median_kernel_s() < SHORT_KERNEL_S:
        texts.append(f"half of the kernels take under {time_text(max(evidence.median_kernel_s(), 1e-6))}")
        advice += dispatch_advice(evidence)
    in_optimizer = sum(row.fraction for row in host_idle if row.phase == "optimizer")
    if in_optimizer >= NOTABLE_REASON and evidence.optimizer_launches() > MANY_OPTIMIZER_LAUNCHES:
        advice += _optimizer_advice(evidence)
    return Finding("host_bound", "the device waits for launches", share, tuple(texts), tuple(advice))


def _between_ops(evidence: Evidence, host_idle: tuple[HostIdle, ...], share: float) -> Finding:
    """Host-bound time of a run on a CPU, which launches nothing: Python between the ops."""
    texts = [f"{row.phase}: {row.reason}, {percent_text(row.fraction)} of the step" for row in host_idle[:2]]
    reasons = {row.reason for row in host_idle if row.fraction >= NOTABLE_REASON}
    advice = [text for reason, text in _HOST_ADVICE.items() if reason in reasons]
    if "dispatch" in reasons:
        advice.append("torch.compile(model), or a larger batch: fewer and longer ops")
    places = evidence.sampled_at("idle_host")
    return Finding("host_bound", "no op runs: Python between them", share, (*texts, *places), tuple(advice))


def dispatch_advice(evidence: Evidence) -> list[str]:
    """What makes launches fewer."""
    if evidence.uses_graphs():
        return ["capture more of the step in graphs, or use a larger batch"]
    if evidence.is_compiled():
        return ['torch.compile(model, mode="reduce-overhead") captures graphs; a larger batch helps too']
    return ["torch.compile(model), CUDA graphs, or a larger batch: fewer and longer kernels"]


def _optimizer_advice(evidence: Evidence) -> list[str]:
    """Torch's own optimizers take ``fused`` or ``foreach``; of others nothing is known but the count."""
    name = evidence.optimizer_name()
    option = "fused" if name in FUSED_OPTIMIZERS else "foreach" if name in FOREACH_OPTIMIZERS else None
    change = (
        f"{name}(..., {option}=True)"
        if option
        else "update all parameters at once (torch._foreach_*, torch.compile)"
    )
    return [f"{count_text(evidence.optimizer_launches())} launches in the optimizer:  {change}"]
