"""Which report of one run belongs to which of another: that of the same rank and device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mfu_profiler.analysis.report import Report
from mfu_profiler.errors import SeveralReportsError

__all__ = ["Matching", "matched", "places_text"]

_MOST_PLACES = 4
_Place = tuple[int | None, int | None, int]
"""Rank, device, and a number that tells apart what has the same of both."""


@dataclass(frozen=True, slots=True)
class Matching:
    """The reports of two runs, two and two."""

    pairs: tuple[tuple[Report, Report], ...]
    """In the first run's order."""
    only_first: tuple[str, ...]
    """Ranks and devices that only the first run has, in words."""
    only_second: tuple[str, ...]

    def alone(self, first: str, second: str) -> list[str]:
        """A line for each run, called so, that has what the other has not."""
        return [
            f"{places_text(missing)} only in {run}, not compared"
            for run, missing in ((first, self.only_first), (second, self.only_second))
            if missing
        ]


def matched(
    first: Sequence[Report], second: Sequence[Report], names: tuple[str, str], command: str
) -> Matching:
    """The pairs of each rank and device that both runs have; the two reports where each has one.

    Args:
        first: the reports of a run.
        second: those of another.
        names: what the runs are called in an error.
        command: that compares them, for its hint.

    Raises:
        SeveralReportsError: no rank and device is in both.

    """
    if len(first) == len(second) == 1:
        return Matching(((first[0], second[0]),), (), ())
    ours, theirs = _by_place(first), _by_place(second)
    shared = [place for place in ours if place in theirs]
    only_first = tuple(_place(place) for place in ours if place not in theirs)
    only_second = tuple(_place(place) for place in theirs if place not in ours)
    if not shared:
        raise SeveralReportsError(
            "no rank and device is in both runs: "
            f"{names[0]} has {places_text(only_first)}; {names[1]} has {places_text(only_second)}",
            f"give the traces of one rank:  {command} before/rank0.json.gz after/rank0.json.gz",
        )
    return Matching(tuple((ours[place], theirs[place]) for place in shared), only_first, only_second)


def places_text(places: Sequence[str]) -> str:
    """``rank 0, rank 1 device 1``; no more than a line holds."""
    more = len(places) - _MOST_PLACES
    return ", ".join([*places[:_MOST_PLACES], *([f"{more} more"] if more > 0 else [])]) or "none"


def _by_place(reports: Sequence[Report]) -> dict[_Place, Report]:
    found: dict[_Place, Report] = {}
    for report in reports:
        rank, index = report.trace.rank, report.device.index
        number = sum(place[:2] == (rank, index) for place in found)
        found[rank, index, number] = report
    return found


def _place(place: _Place) -> str:
    rank, index, number = place
    known = [f"rank {rank}"] if rank is not None else []
    known += [f"device {index}"] if index is not None else []
    name = " ".join(known) or "one without rank and device"
    return f"{name} #{number + 1}" if number else name
