"""What differs between two runs beside their times: device, peak, work, versions, steps, findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from mfu_profiler.analysis.comparing.comparison import FindingFate, SettingChange
from mfu_profiler.analysis.comparing.sameness import work_ratio
from mfu_profiler.analysis.report import Report
from mfu_profiler.units import clock_text, count_text, flop_rate_text, flop_text, power_text

__all__ = ["finding_fates", "setting_changes"]

NOTABLE_CLOCK_FRACTION = 0.02
"""Clocks this close are the same."""


def setting_changes(report_a: Report, report_b: Report) -> tuple[SettingChange, ...]:
    """What differs, in words; what both leave unknown does not."""
    found = []
    for what, text in _SETTINGS.items():
        a, b = text(report_a), text(report_b)
        if a != b and not _NEAR.get(what, _never)(report_a, report_b):
            found.append(SettingChange(what, a, b))
    return tuple(found)


def finding_fates(report_a: Report, report_b: Report) -> tuple[FindingFate, ...]:
    """Findings that only B has, then those that only A has, in the reports' order."""
    if report_a.partition is None or report_b.partition is None:
        return ()  # a run whose time is unknown has no findings, and nothing was fixed by that
    codes_a = {finding.code for finding in report_a.findings}
    codes_b = {finding.code for finding in report_b.findings}
    new = [finding for finding in report_b.findings if finding.code not in codes_a]
    gone = [finding for finding in report_a.findings if finding.code not in codes_b]
    return tuple(
        FindingFate(one.code, one.title, is_new, one.share_fraction)
        for is_new, findings in ((True, new), (False, gone))
        for one in findings
    )


def _peak(report: Report) -> str | None:
    device = report.device
    if device.peak_flop_per_s is None:
        return None
    about = [flop_rate_text(device.peak_flop_per_s), device.peak_source, device.peak_detail]
    return ", ".join(part for part in about if part)


def _flop(report: Report) -> str | None:
    flop = report.flop.model_per_step
    return None if flop is None else flop_text(flop)


def _clock(report: Report) -> str | None:
    clock = report.device.sampled_clock_hz
    return None if clock is None else clock_text(clock)


def _power_limit(report: Report) -> str | None:
    limit = report.device.power_limit_w
    return None if limit is None else power_text(limit)


def _multiprocessors(report: Report) -> str | None:
    return None if report.device.sm_count is None else count_text(report.device.sm_count)


def _ranks(report: Report) -> str | None:
    return None if report.trace.world_size is None else count_text(report.trace.world_size)


def _step_time_of(report: Report) -> str:
    return "profiled steps" if report.steps.unprofiled_count is None else "unprofiled steps"


def _marks(report: Report) -> str:
    """What cut the steps, without their number."""
    is_live = report.steps.unprofiled_count is not None
    return "the run itself" if is_live else report.steps.source.partition("#")[0]


def _failed_checks(report: Report) -> str:
    return ", ".join(check.name for check in report.checks if not check.ok) or "none"


def _extent(report: Report) -> str:
    return "cut off" if report.trace.truncated else "whole"


_SETTINGS: Mapping[str, Callable[[Report], str | None]] = MappingProxyType(
    {
        "device": lambda report: report.device.name,
        "kind of device": lambda report: report.device.backend,
        "multiprocessors": _multiprocessors,
        "precision": lambda report: report.device.precision,
        "peak": _peak,
        "clock": _clock,
        "power limit": _power_limit,
        "FLOP per step": _flop,
        "FLOP from": lambda report: report.flop.basis,
        "ranks": _ranks,
        "torch": lambda report: report.trace.torch_version,
        "step time of": _step_time_of,
        "steps cut by": _marks,
        "trace": _extent,
        "failed checks": _failed_checks,
    }
)
"""What may differ -> how a report says it; None where it does not."""


def _same_clock(report_a: Report, report_b: Report) -> bool:
    ours, theirs = report_a.device.sampled_clock_hz, report_b.device.sampled_clock_hz
    return bool(ours and theirs) and abs((theirs or 0.0) / (ours or 1.0) - 1) <= NOTABLE_CLOCK_FRACTION


def _same_work(report_a: Report, report_b: Report) -> bool:
    return work_ratio(report_a, report_b) == 1


def _never(report_a: Report, report_b: Report) -> bool:
    return False


_NEAR: Mapping[str, Callable[[Report, Report], bool]] = MappingProxyType(
    {"clock": _same_clock, "FLOP per step": _same_work}
)
"""What is the same also where it is said in other digits."""
