"""Changes to type, for the torch version that recorded the trace."""

from __future__ import annotations

import re

from mfu_profiler.analysis.findings.evidence import Evidence
from mfu_profiler.trace.timeline import Timeline

__all__ = ["dispatch_advice", "has_torch", "optimizer_change", "since"]

_FUSED = {"Adam": (2, 0), "AdamW": (2, 0), "SGD": (2, 3), "Adagrad": (2, 4)}
_FUSED_ON_CPU = {"Adam": (2, 4), "AdamW": (2, 4), "SGD": (2, 4), "Adagrad": (2, 4)}
"""Version from which ``fused=True`` works. Source: release notes of torch 2.0, 2.3 and 2.4."""
_FOREACH = frozenset({"ASGD", "Adadelta", "Adafactor", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop"})
"""Classes that only have ``foreach=True`` (torch.optim, "Algorithms"); since 1.12."""
COMPILE_SINCE = (2, 0)


def has_torch(timeline: Timeline, *least: int) -> bool | None:
    """Whether the trace is of a torch of at least this version; None where it does not say."""
    text = timeline.facts.torch_version
    match = re.match(r"(\d{1,4})\.(\d{1,4})", text) if text else None
    return None if match is None else (int(match[1]), int(match[2])) >= least


def since(timeline: Timeline, change: str, *least: int) -> list[str]:
    """A change, with its version where the trace does not say its own; nothing where that is too old."""
    has = has_torch(timeline, *least)
    if has is None:
        return [f"{change}  (since torch {'.'.join(map(str, least))})"]
    return [change] if has else []


def dispatch_advice(evidence: Evidence) -> list[str]:
    """What makes launches fewer."""
    timeline = evidence.timeline
    if evidence.uses_graphs():
        return ["capture more of the step in graphs, or use a larger batch"]
    if evidence.is_compiled():
        return ['torch.compile(model, mode="reduce-overhead") captures graphs; a larger batch helps too']
    compiled = since(timeline, "torch.compile(model)", *COMPILE_SINCE)
    return [*compiled, "a larger batch, or CUDA graphs: fewer and longer kernels"]


def optimizer_change(timeline: Timeline, name: str | None, *, is_cpu: bool) -> list[str]:
    """What makes an optimizer update all tensors at once."""
    least = (_FUSED_ON_CPU if is_cpu else _FUSED).get(name or "")
    if least is not None:
        return since(timeline, f"{name}(..., fused=True)", *least)
    if name in _FOREACH and not is_cpu:  # on a CPU it is slower than one tensor after the other
        return since(timeline, f"{name}(..., foreach=True)", 1, 12)
    return []
