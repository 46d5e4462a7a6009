"""How much of a step the cause of a finding holds, in a report that need not have the finding."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mfu_profiler.analysis.findings.thresholds import LEAST_SHARE
from mfu_profiler.analysis.report import Report
from mfu_profiler.analysis.verifying.verification import GrownCause

__all__ = ["NOTABLE_STEP_FRACTION", "grown_causes", "most_time", "share_of", "time_of"]

NOTABLE_STEP_FRACTION = 0.03
"""Of BEFORE's step, as of findings: a smaller change is none."""

_NO_CAUSES = frozenset({"peak", "mfu", "profiler"})
_ROWS: Mapping[str, str] = MappingProxyType(
    {
        "data_loading": "idle_data_loading",
        "synchronization": "idle_synchronization",
        "launch": "idle_launch",
        "communication": "communication",
        "copy": "copy",
        "matmul": "matmul_inefficiency",
        "clocks": "clocks",
    }
)
"""Code of a finding -> the row of the waterfall that is its share, whether or not it is a finding."""
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "host_bound": "dispatch",
        "garbage_collection": "garbage collection",
        "allocator": "allocator",
        "compilation": "compilation",
        "host_stall": "host stall",
        "outside_the_model": "no ops",
    }
)
"""The same for reasons of host-bound time. What other codes hold only a finding tells."""


def most_time(report: Report, code: str) -> float | None:
    """Time of a step that a cause holds; what it would need to be a finding, where only that tells."""
    share = share_of(report, code)
    if share is None and report.partition is not None and code not in _ROWS:
        share = LEAST_SHARE.get(code)
    return time_of(share, report)


def share_of(report: Report, code: str) -> float | None:
    """Share of the step that a finding's cause holds; None where the report does not tell."""
    if code in _REASONS and report.partition is not None:
        return sum(row.fraction for row in report.host_idle if row.reason == _REASONS[code])
    shares = {row.cause: row.fraction for row in report.waterfall}
    named = (finding.share_fraction for finding in report.findings if finding.code == code)
    return shares[_ROWS[code]] if _ROWS.get(code) in shares else next(named, None)


def time_of(share: float | None, report: Report) -> float | None:
    """A share of the report's step, in seconds."""
    return None if share is None or report.step_time_s is None else share * report.step_time_s


def grown_causes(before: Report, after: Report, work: float) -> tuple[GrownCause, ...]:
    """Causes that hold notably more time than before, of those that both reports tell apart.

    Args:
        before: a report.
        after: another.
        work: how many times the work of BEFORE's step a step of AFTER does.

    """
    if before.step_time_s is None or after.step_time_s is None:
        return ()
    ours = {row.cause: row.fraction * before.step_time_s for row in before.waterfall}
    theirs = {row.cause: row.fraction * after.step_time_s / work for row in after.waterfall}
    more_s = {
        cause: theirs[cause] - ours[cause] for cause in ours if cause in theirs and cause not in _NO_CAUSES
    }
    least_s = NOTABLE_STEP_FRACTION * before.step_time_s
    grown = (GrownCause(cause, time_s) for cause, time_s in more_s.items() if time_s >= least_s)
    return tuple(sorted(grown, key=lambda one: -one.more_s))
