"""How long a step takes, from the lengths of several: pauses told from steps that are long by nature.

::

    ▂▂▂▂▂▂▂▂█▂▂▂▂▂▂    a pause (checkpoint, compilation): no step
    ▂█▂█▂█▂█▂█▂█▂█▂    the loader's workers do not keep up: every second step waits, and all of them count
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

__all__ = ["PAUSE_OVER_MEDIAN", "is_mean", "pause_limit", "typical", "without_pauses"]

PAUSE_OVER_MEDIAN = 3.0
"""A step longer than so many medians holds a pause (checkpoint, evaluation, compilation) ..."""
MOST_PAUSES_FRACTION = 0.1
"""... unless more steps than these are so long: pauses are rare (one is allowed among however few)."""
ALIKE_FRACTION = 0.1
"""Where mean and median are further apart, steps are of several kinds, and the mean is their step time."""


def pause_limit(lengths: Sequence[float]) -> float:
    """Length beyond which a step holds a pause; infinite where many do, or there are no steps."""
    if not len(lengths):
        return float("inf")
    limit = PAUSE_OVER_MEDIAN * median(lengths)
    long = sum(length > limit for length in lengths)
    return limit if long <= max(1, MOST_PAUSES_FRACTION * len(lengths)) else float("inf")


def without_pauses(lengths: Sequence[int]) -> list[int]:
    """The lengths of the steps that hold no pause."""
    limit = pause_limit(lengths)
    return [length for length in lengths if length <= limit]


def is_mean(lengths: Sequence[int]) -> bool:
    """Whether the typical length is the mean: where steps differ by nature."""
    kept = without_pauses(lengths)
    return abs(fmean(kept) - median(kept)) > ALIKE_FRACTION * median(kept)


def typical(lengths: Sequence[int]) -> float:
    """The median of at least one step, pauses left out; the mean where that is something else."""
    kept = without_pauses(lengths)
    return fmean(kept) if is_mean(lengths) else float(median(kept))
