"""What a fix takes away from the steps: host time, and device time of some work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.intervals import Spans

__all__ = ["CAUSES", "STAYS_WITH_A_FREE_HOST", "Cause", "Change", "Option", "Relief"]

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

Cause = Literal[
    "data",
    "sync",
    "host",
    "communication",
    "copy",
    "garbage_collection",
    "allocator",
    "compilation",
    "stall",
    "outside",
    "reading_back",
    "optimizer",
    "attention",
    "layout",
    "merging",
    "recomputation",
]
"""What a finding blames. The first five change what the host waits for or what the device runs by its kind;
each of the others is a ``Relief``."""
CAUSES: tuple[Cause, ...] = get_args(Cause)
Option = Literal["tf32", "bf16", "fp16", "fp8"]
"""A precision that the run does not use: other numerics, so never among the causes."""
Change = Cause | Option

STAYS_WITH_A_FREE_HOST: frozenset[Cause] = frozenset(
    {"data", "garbage_collection", "allocator", "compilation", "stall", "outside"}
)
"""What the host does beside launching: CUDA graphs and compilation do not take it away."""


def _no_rows() -> Int64:
    return np.zeros(0, np.int64)


def _no_factors() -> Float64:
    return np.zeros(0)


@dataclass(frozen=True, slots=True)
class Relief:
    """Nothing by default."""

    host: Spans = field(default_factory=Spans.nothing)
    """Host time that then takes none; calls that begin in it block nobody."""
    work: Int64 = field(default_factory=_no_rows)
    """Rows of ``Work`` that then take less time, each once."""
    left: Float64 = field(default_factory=_no_factors)
    """Of the time of each of them, 0 to 1."""
    is_unlaunched: bool = False
    """Whether what takes no time is not launched either."""

    @property
    def is_empty(self) -> bool:
        """Whether it changes nothing."""
        return not len(self.host) and not len(self.work)

    @classmethod
    def of_work(cls, rows: Int64, left: float | Float64 = 0.0, host: Spans | None = None) -> Relief:
        """Some work that takes a part of its time, and the host time that went with it."""
        factors = np.broadcast_to(np.asarray(left, np.float64), rows.shape).copy()
        return cls(Spans.nothing() if host is None else host, rows.astype(np.int64), factors)
