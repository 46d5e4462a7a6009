"""All fixes that a trace shows room for, and what each would take away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from mfu_profiler.analysis.fixes.attention import spelled_out_attention
from mfu_profiler.analysis.fixes.kernels import layout_conversions, recomputation, unfused_chains
from mfu_profiler.analysis.fixes.numerics import numeric_options
from mfu_profiler.analysis.fixes.optimizer import OptimizerWork, optimizer_work
from mfu_profiler.analysis.fixes.reading_back import reading_back
from mfu_profiler.analysis.fixes.steps import Steps
from mfu_profiler.analysis.host_idle import idle_reasons
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.replay.relief import Cause, Change, Option, Relief

__all__ = ["Fixes", "fixes_of"]

_OF_REASON: Mapping[str, Cause] = MappingProxyType(
    {
        "compilation": "compilation",
        "allocator": "allocator",
        "garbage collection": "garbage_collection",
        "host stall": "stall",
        "no ops": "outside",
    }
)
"""Reason of host-bound time -> cause."""


@dataclass(frozen=True, slots=True)
class Fixes:
    """Of one timeline."""

    steps: Steps
    reliefs: Mapping[Cause, Relief]
    options: Mapping[Option, Relief]
    optimizer: OptimizerWork
    softmaxes: float
    """Of attention that is spelled out, per step."""

    @property
    def changes(self) -> dict[Change, Relief]:
        """Fixes and options."""
        changes: dict[Change, Relief] = {}
        changes.update(self.reliefs.items())
        changes.update(self.options.items())
        return changes

    def held(self, cause: Cause) -> float:
        """Share of the averaged steps that a fix is about; 0 for none."""
        relief = self.reliefs.get(cause)
        return 0.0 if relief is None or relief.is_empty else self.steps.held(relief)


def fixes_of(steps: Steps) -> Fixes:
    """Look for all of them."""
    reliefs: dict[Cause, Relief] = {"data": Relief(_loading(steps))}
    idle_host = steps.times.parts.spans["idle_host"]
    claimed = Spans.nothing()
    for reason, spans in idle_reasons(steps.timeline).items():
        if reason in _OF_REASON:
            part = (spans & idle_host) - claimed
            claimed = claimed | part
            reliefs[_OF_REASON[reason]] = Relief(part)
    optimizer = optimizer_work(steps)
    attention, softmaxes = spelled_out_attention(steps)
    reliefs |= {
        "reading_back": reading_back(steps),
        "optimizer": optimizer.relief,
        "attention": attention,
        "layout": layout_conversions(steps),
        "recomputation": recomputation(steps),
    }
    apart = [reliefs[cause].work for cause in ("reading_back", "optimizer", "attention", "layout")]
    reliefs["merging"] = unfused_chains(steps, np.unique(np.concatenate(apart)))
    return Fixes(
        steps=steps,
        reliefs=reliefs,
        options=numeric_options(steps),
        optimizer=optimizer,
        softmaxes=softmaxes / steps.times.step_count,
    )


def _loading(steps: Steps) -> Spans:
    whole = Spans.nothing()
    for spans in steps.times.host.loading.values():
        whole = whole | spans
    return whole
