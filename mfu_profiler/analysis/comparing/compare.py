"""Two or more runs -> what differs: step time, its causes, ops, kernels and the setting.

::

    A   ├── useful work ──┤├ other kernels ┤├──── data loading ────┤      each row's change in ms; together
    B   ├── useful work ──┤├ other kernels ┤├┤├ host-bound ┤              they are the change of the step

What is compared is the step time of the reports: their waterfalls are of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mfu_profiler.analysis.comparing.causes import cause_changes, causes_unknown_because, largest_loss
from mfu_profiler.analysis.comparing.comparison import (
    SCHEMA_VERSION,
    ComparedRun,
    Comparison,
    NotCompared,
    PairComparison,
    Verdict,
)
from mfu_profiler.analysis.comparing.matching import matched
from mfu_profiler.analysis.comparing.sameness import differing_device, work_ratio
from mfu_profiler.analysis.comparing.settings import finding_fates, setting_changes
from mfu_profiler.analysis.comparing.significance import noise_s
from mfu_profiler.analysis.comparing.step_times import step_time
from mfu_profiler.analysis.comparing.tables import kernel_changes, op_changes
from mfu_profiler.analysis.report import Report
from mfu_profiler.analysis.tables import MOST_ROWS

__all__ = ["comparison", "pair_comparison", "run_label"]


def comparison(runs: Sequence[tuple[str, Sequence[Report]]]) -> Comparison:
    """Every run held against the first, rank by rank and device by device.

    Args:
        runs: two or more, each a name and the reports of its ranks and devices.

    Raises:
        SeveralReportsError: a run has no rank and device in common with the first.
        ValueError: fewer than two runs.

    """
    if len(runs) < 2:
        raise ValueError(f"at least two runs are compared, not {len(runs)}")
    pairs: list[PairComparison] = []
    alone: list[NotCompared] = []
    (name, first), *others = runs
    for number, (other_name, second) in enumerate(others, start=1):
        found = matched(first, second, ("A", run_label(number)), "compare")
        for ours, theirs in found.pairs:
            pairs.append(pair_comparison(_run(0, name, ours), ours, _run(number, other_name, theirs), theirs))
        alone += [NotCompared(place, 0, number) for place in found.only_first]
        alone += [NotCompared(place, number, 0) for place in found.only_second]
    return Comparison(
        schema_version=SCHEMA_VERSION,
        names=tuple(run_name for run_name, _ in runs),
        runs=tuple(
            _run(number, run_name, report)
            for number, (run_name, reports) in enumerate(runs)
            for report in reports
        ),
        pairs=tuple(pairs),
        not_compared=tuple(alone),
    )


def run_label(number: int) -> str:
    """``A`` for run 0, ``B`` for 1; after ``Z`` its number from 1."""
    return chr(ord("A") + number) if number < 26 else str(number + 1)


def _run(number: int, name: str, report: Report) -> ComparedRun:
    cause, fraction = largest_loss(report)
    return ComparedRun(
        run=number,
        name=name,
        rank=report.trace.rank,
        device_index=report.device.index,
        device=report.device.name,
        step=step_time(report),
        mfu=report.mfu,
        hfu=report.hfu,
        largest_loss=cause,
        largest_loss_fraction=fraction,
    )


def pair_comparison(
    run_a: ComparedRun, report_a: Report, run_b: ComparedRun, report_b: Report
) -> PairComparison:
    """Everything that differs between two reports."""
    before_s, after_s = report_a.step_time_s, report_b.step_time_s
    change_s = None if before_s is None or after_s is None else after_s - before_s
    noise = noise_s(report_a, report_b)
    causes = cause_changes(report_a, report_b)
    settings, findings = setting_changes(report_a, report_b), finding_fates(report_a, report_b)
    ops, kernels = op_changes(report_a, report_b), kernel_changes(report_a, report_b)
    is_same_time = change_s == 0 or (before_s is None and after_s is None)
    is_same_use = report_a.mfu == report_b.mfu and report_a.hfu == report_b.hfu
    return PairComparison(
        a=run_a,
        b=run_b,
        verdict=_verdict(change_s, noise),
        is_equal=is_same_time
        and is_same_use
        and not any(row.change_s for row in causes)
        and not (settings or findings or ops or kernels),
        change_s=change_s,
        change_fraction=None if change_s is None or not before_s else change_s / before_s,
        noise_s=noise,
        work_ratio=work_ratio(report_a, report_b),
        is_other_device=differing_device(report_a, report_b) is not None,
        causes=causes,
        causes_unknown_because=causes_unknown_because(report_a, report_b),
        settings=settings,
        findings=findings,
        ops=ops,
        kernels=kernels,
        most_rows=MOST_ROWS,
    )


def _verdict(change_s: float | None, noise: float | None) -> Verdict:
    if change_s is None:
        return "unknown"
    if change_s == 0:
        return "no difference"
    if noise is None:
        return "no spread"
    if abs(change_s) <= noise:
        return "within the noise"
    return "slower" if change_s > 0 else "faster"
