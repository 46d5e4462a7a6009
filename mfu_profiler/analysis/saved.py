"""A report that was saved as JSON, back as a ``Report``."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import msgspec

from mfu_profiler.analysis.report import SCHEMA_VERSION, Report, StepTimeline
from mfu_profiler.errors import TraceFormatError

__all__ = ["is_saved_report", "saved_reports"]

_BOM = b"\xef\xbb\xbf"
_FIRST_KEY = re.compile(rb'\s*\{\s*"([a-z_]+)"\s*:')
_KEYS = frozenset({"reports", *(field.name for field in fields(Report))})
"""None of them is a key of a trace, whose version is ``schemaVersion``."""
_LONGEST_VERSION = 20
_LONGEST_KEY = 60
_BEYOND = 1e60
"""No time, count, rate or size of this world reaches it, or is so many times smaller than 1."""
_POSITIVE = frozenset({"step_time_s", "peak_flop_per_s", "memory_byte_per_s"})
"""Known, they are divided by."""
_NEVER_NEGATIVE = _POSITIVE | {
    "achieved_flop_per_s",
    "backward",
    "byte",
    "count",
    "datasheet_clock_hz",
    "duration_ns",
    "flop",
    "forward",
    "hardware_per_step",
    "hfu",
    "ideal_time_s",
    "mfu",
    "model_per_step",
    "peak_fraction",
    "power_limit_w",
    "recomputed",
    "sampled_clock_hz",
    "step_time_after_s",
    "step_times_s",
}
_MOST_EVENTS = 20_000
"""Of a drawn step; ours have a seventh of it."""
_MOST_LANES = 100
_MOST_ROWS = 1_000
"""Of a table; ours have a tenth of it."""
_MOST_DEPTH = 16
_AGAIN = "make it from the trace:  report TRACE --json FILE"


def is_saved_report(head: bytes) -> bool:
    """Whether a file that begins so is a report as JSON rather than a trace; its first key tells."""
    found = _FIRST_KEY.match(head.removeprefix(_BOM))
    return found is not None and found[1].decode() in _KEYS


def saved_reports(content: bytes, name: str) -> tuple[Report, ...]:
    """The reports in a JSON file that ``report`` or ``track`` wrote. Keys of newer versions are ignored.

    Args:
        content: the whole file.
        name: of the file, for errors.

    Raises:
        TraceFormatError: no JSON, no report, or one of another schema version.

    """
    try:
        plain = msgspec.json.decode(content.removeprefix(_BOM))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TraceFormatError(f"{name}: a report that is cut off or no JSON ({error}).", _AGAIN) from None
    if not isinstance(plain, dict) or "schema_version" not in plain:
        raise TraceFormatError(f"{name}: no report of mfu_profiler: it has no schema_version.", _AGAIN)
    if plain["schema_version"] != SCHEMA_VERSION:
        version = str(plain["schema_version"])[:_LONGEST_VERSION]
        raise TraceFormatError(
            f"{name}: a report of schema version {version}; this mfu_profiler reads {SCHEMA_VERSION}.", _AGAIN
        )
    if (key := _immeasurable(plain)) is not None:
        shown = key[:_LONGEST_KEY]
        raise TraceFormatError(f"{name}: a number in it is beyond all measure ({shown}).", _AGAIN)
    reports = _converted(plain.get("reports", [plain]), name)
    for report in reports:
        if (because := _inconsistent_because(report)) is not None:
            raise TraceFormatError(f"{name}: no report of mfu_profiler ({because}).", _AGAIN)
    if not reports:
        raise TraceFormatError(f"{name}: the file holds no report.", _AGAIN)
    return reports


def _immeasurable(value: Any, key: str = "") -> str | None:
    """The key of a number that nothing measured could have; None where there is none."""
    if isinstance(value, dict):
        return next(filter(None, (_immeasurable(inner, name) for name, inner in value.items())), None)
    if isinstance(value, list):
        return next(filter(None, (_immeasurable(inner, key) for inner in value)), None)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if value == 0:
        return key if key in _POSITIVE else None
    is_fine = 1 / _BEYOND < abs(value) < _BEYOND and (value > 0 or key not in _NEVER_NEGATIVE)
    return None if is_fine else key


def _inconsistent_because(report: Report) -> str | None:
    """What in a report contradicts itself so that it could not be shown; None where nothing does."""
    if report.mfu is not None and report.mfu > 1:
        return "an MFU over 100 %"
    if max(len(report.kernels), len(report.ops)) > _MOST_ROWS:
        return f"a table of more than {_MOST_ROWS:,} rows"
    times_s = [row.time_s for row in report.kernels] + [row.time_s for row in report.ops]
    if any(time_s < 0 for time_s in times_s):
        return "a kernel or an op of negative time"
    samples, step = report.device_samples, report.step_timeline
    if samples is not None and len({*map(len, (getattr(samples, one.name) for one in fields(samples)))}) > 1:
        return "device_samples of unequal lengths"
    return None if step is None else _undrawable_because(step)


def _undrawable_because(step: StepTimeline) -> str | None:
    if len(step.lanes) > _MOST_LANES:
        return f"step_timeline has {len(step.lanes):,} lanes; at most {_MOST_LANES} can be drawn"
    events = [event for lane in step.lanes for event in lane.events]
    if len(events) > _MOST_EVENTS:
        return f"step_timeline has {len(events):,} events; at most {_MOST_EVENTS:,} can be drawn"
    for start_ns, length_ns, name, kind, depth in events:
        if start_ns < 0 or length_ns < 0 or start_ns + length_ns > step.duration_ns:
            return "an event of step_timeline lies outside of its step"
        if not (0 <= name < len(step.names) and 0 <= kind < len(step.kinds) and 0 <= depth < _MOST_DEPTH):
            return "an event of step_timeline names what is not there"
    return None


def _converted(plain: Any, name: str) -> tuple[Report, ...]:
    try:
        return msgspec.convert(plain, tuple[Report, ...])
    except msgspec.ValidationError as error:
        raise TraceFormatError(f"{name}: no report of mfu_profiler ({error}).", _AGAIN) from None
