"""A gate: limits that reports must keep, and whether each report keeps them.

What cannot be judged does not pass: an unknown MFU, step time or loss fails its limit and says why.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from types import MappingProxyType

from mfu_profiler.analysis.report import Report
from mfu_profiler.errors import OptionError
from mfu_profiler.units import percent_beside, time_beside

__all__ = ["CAUSES", "GateResult", "Limits", "cause_name", "gate_results", "loss_fraction"]

CAUSES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "data-loading": ("idle_data_loading",),
        "synchronization": ("idle_synchronization",),
        "host-bound": ("idle_host",),
        "launch-latency": ("idle_launch",),
        "unexplained": ("idle_unexplained",),
        "exposed-communication": ("communication",),
        "exposed-copy": ("copy",),
        "recomputation": ("recomputation",),
        "optimizer-matmuls": ("optimizer_matmul",),
        "precision": ("precision",),
        "clocks": ("clocks",),
        "matmul-inefficiency": ("matmul_inefficiency",),
        "uncounted-kernels": ("uncounted_kernels",),
        "other-kernels": ("other_kernels",),
        "profiler": ("profiler",),
        "idle": ("idle_data_loading", "idle_synchronization", "idle_host", "idle_launch", "idle_unexplained"),
    }
)
"""What a limit may be set on -> rows of the waterfall that are summed. The names are the report's labels."""

_OF_COMPUTE = frozenset(
    {
        "recomputation",
        "optimizer-matmuls",
        "precision",
        "clocks",
        "matmul-inefficiency",
        "uncounted-kernels",
        "other-kernels",
    }
)
"""Known only where the MFU is: the waterfall then splits the compute time, otherwise it stands whole."""
_NAME_OF = {codes[0].replace("_", "-"): name for name, codes in CAUSES.items() if len(codes) == 1}
"""The JSON form's ``idle_host`` is ``host-bound`` too."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """One limit held against one report."""

    name: str
    """``mfu``, ``step-time`` or a cause; with rank and device where there are several reports."""
    ok: bool
    message: str
    """What was measured and what the limit is, or why the limit cannot be judged. It may quote a trace."""
    is_doubtful: bool = False
    """Kept only since nobody can tell: to be said as well."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a report must keep; None where there is no limit.

    Raises:
        OptionError: a limit that every run or no run can keep, or an unknown cause.

    """

    least_mfu: float | None = None
    """Fraction between 0 and 1."""
    most_step_time_s: float | None = None
    most_loss: Mapping[str, float] = field(default_factory=dict)
    """Cause (``CAUSES``, or as in the JSON form) -> fraction of the step, from 0 to below 1."""

    def __post_init__(self) -> None:
        if self.least_mfu is not None and not 0 < self.least_mfu < 1:
            raise OptionError(
                f"the least MFU must be between 0 and 1, not {self.least_mfu:g}", "0.35 means 35 %"
            )
        if self.most_step_time_s is not None and not 0 < self.most_step_time_s < math.inf:
            raise OptionError(
                f"the longest step time must be positive, not {self.most_step_time_s:g}", "unit: seconds"
            )
        losses: dict[str, float] = {}
        for cause, most in self.most_loss.items():
            name = cause_name(cause)
            if not 0 <= most < 1:
                raise OptionError(
                    f"the largest loss to {name} must be from 0 to below 1, not {most:g}", "0.05 means 5 %"
                )
            if name in losses:
                raise OptionError(f"two limits for {name}", "give one of them")
            losses[name] = most
        object.__setattr__(self, "most_loss", MappingProxyType(losses))

    def __bool__(self) -> bool:
        return self.least_mfu is not None or self.most_step_time_s is not None or bool(self.most_loss)


def cause_name(cause: str) -> str:
    """The name in ``CAUSES`` of a cause written so, with underscores, or as in the JSON form.

    Raises:
        OptionError: there is no such cause.

    """
    name = "-".join(cause.strip().lower().replace("_", " ").split())
    name = _NAME_OF.get(name, name)
    if name not in CAUSES:
        near = get_close_matches(name, CAUSES, n=2, cutoff=0.5)
        hints = [f"did you mean: {' or '.join(near)}"] if near else []
        raise OptionError(f"no cause is called {cause!r}", *hints, f"causes: {', '.join(CAUSES)}")
    return name


def loss_fraction(report: Report, cause: str) -> float | str:
    """What a cause takes of the step, 0 where it took nothing; or why that is unknown.

    Args:
        report: its waterfall is asked, else its partition.
        cause: a key of ``CAUSES``.

    """
    rows = {row.cause: row.fraction for row in report.waterfall}
    part = report.partition
    if part is None:
        return report.partition_unknown_because or "the time of a step was not split"
    if cause in _OF_COMPUTE and "mfu" not in rows:
        return report.mfu_unknown_because or "the MFU is unknown"
    if cause == "clocks" and report.device.sampled_clock_hz is None:
        return report.device.nvml_because or "no clock was sampled"
    return sum(rows.get(code, 0.0 if rows else getattr(part, code, 0.0)) for code in CAUSES[cause])


def gate_results(reports: Sequence[Report], limits: Limits) -> tuple[GateResult, ...]:
    """Every limit held against every report; the gate is passed where all are ``ok``.

    Args:
        reports: of one run. Where there are none, each limit fails.
        limits: at least one, or there is nothing to hold.

    """
    if not reports:
        names = [name for name, _ in _judges(limits)]
        return tuple(GateResult(name, ok=False, message=f"{name}: there is no report") for name in names)
    results = []
    for place, report in zip(_places(reports), reports, strict=True):
        for name, judge in _judges(limits):
            ok, message = judge(report)
            full = f"{name} ({place})" if place else name
            results.append(GateResult(full, ok, f"{place}: {message}" if place else message))
    return tuple(results)


_Verdict = tuple[bool, str]
_Judge = Callable[[Report], _Verdict]


def _judges(limits: Limits) -> list[tuple[str, _Judge]]:
    """Name of each limit and the function that holds a report against it."""
    judges: list[tuple[str, _Judge]] = []
    if limits.least_mfu is not None:
        judges.append(("mfu", partial(_mfu_verdict, limits.least_mfu)))
    if limits.most_step_time_s is not None:
        judges.append(("step-time", partial(_step_time_verdict, limits.most_step_time_s)))
    for cause, most in limits.most_loss.items():
        judges.append((cause, partial(_loss_verdict, cause, most)))
    return judges


def _mfu_verdict(least: float, report: Report) -> _Verdict:
    if report.mfu is None:
        because = report.mfu_unknown_because or "no reason is given"
        return False, f"MFU is unknown (limit {percent_beside(least)}): {because}"
    ok = report.mfu >= least
    value = percent_beside(report.mfu, least)
    return ok, f"MFU {value} is {'not ' * ok}under the limit of {percent_beside(least)}"


def _step_time_verdict(longest_s: float, report: Report) -> _Verdict:
    if report.step_time_s is None:
        because = report.partition_unknown_because or report.mfu_unknown_because or "no reason is given"
        return False, f"the step time is unknown (limit {time_beside(longest_s)}): {because}"
    ok = report.step_time_s <= longest_s
    value = time_beside(report.step_time_s, longest_s)
    return ok, f"step time {value} is {'not ' * ok}over the limit of {time_beside(longest_s)}"


def _loss_verdict(cause: str, most: float, report: Report) -> _Verdict:
    fraction = loss_fraction(report, cause)
    if isinstance(fraction, str):
        return False, f"{cause} is unknown (limit {percent_beside(most)}): {fraction}"
    ok = fraction <= most
    return (
        ok,
        f"{cause} {percent_beside(fraction, most)} is {'not ' * ok}over the limit of {percent_beside(most)}",
    )


def _places(reports: Sequence[Report]) -> list[str]:
    """Rank and device of each report, different from each other; nothing for a report alone."""
    if len(reports) == 1:
        return [""]
    places: list[str] = []
    seen: Counter[str] = Counter()
    for report in reports:
        rank = None if report.trace.rank is None else f"rank {report.trace.rank}"
        device = None if report.device.index is None else f"device {report.device.index}"
        place = ", ".join(filter(None, (rank, device))) or "report"
        seen[place] += 1
        places.append(place if seen[place] == 1 else f"{place} #{seen[place]}")
    return places
