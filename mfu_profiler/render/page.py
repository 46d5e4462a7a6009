"""What a page says, before anyone decides how it looks: numbers are text, names are inert.

The terminal and the Markdown renderer lay out the same ``Page``, so they cannot disagree. The order of
the fields is the order of a reader's questions: how much, where did the rest go, what first, why
believe it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Fact", "Fix", "KernelLine", "Loss", "Overview", "Page"]


@dataclass(frozen=True, slots=True)
class Fact:
    """A label and what is to be said about it, one or more lines."""

    label: str
    lines: tuple[str, ...]
    alarm: bool = False
    """Something a reader must not overlook."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One bar: a part of the step and its cause."""

    label: str
    fraction: float
    """For the length of the bar; negative for a gain."""
    percent: str
    time: str
    detail: str


@dataclass(frozen=True, slots=True)
class Fix:
    """One finding."""

    title: str
    share: str
    gain: str
    """What the fix gives back, or nothing."""
    evidence: tuple[str, ...]
    advice: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KernelLine:
    """One row of the kernel table."""

    name: str
    """Shortened, but not yet to the width of a column."""
    origin: str
    """The op and source line that call it; empty where the trace does not say the line."""
    kind: str
    calls: str
    time: str
    rate: str
    """In the unit of ``Page.rate_unit``, ``unknown``, or ``-`` where a kernel does no FLOP."""
    of_peak: str


@dataclass(frozen=True, slots=True)
class Page:
    """One report, in words."""

    heading: str
    """Rank and device, for a page among several."""
    headline: tuple[Fact, ...]
    losses_heading: str
    losses: tuple[Loss, ...]
    losses_note: str
    """Causes that took nothing worth a bar, or why there are no bars; may be empty."""
    losses_details: tuple[Fact, ...]
    """The same losses by phase or direction."""
    fixes_heading: str
    fixes_aside: str
    """How to read the shares."""
    fixes: tuple[Fix, ...]
    fixes_ladder: str
    """What several fixes give one after the other, or nothing."""
    fixes_note: str
    """Why there are no fixes; empty where there are, and where nothing is known."""
    options_heading: str
    options: tuple[Fact, ...]
    """What would change numerics."""
    kernels_heading: str
    rate_unit: str
    kernels: tuple[KernelLine, ...]
    provenance_heading: str
    provenance: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """One table over several reports."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
