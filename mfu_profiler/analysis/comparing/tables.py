"""Kernels by name and ops by name and shapes, of two runs, per step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mfu_profiler.analysis.comparing.comparison import ChangeFate, TableChange
from mfu_profiler.analysis.report import Report
from mfu_profiler.analysis.tables import MOST_ROWS

__all__ = ["kernel_changes", "op_changes"]

_Key = tuple[str, str | None]
"""Name, and shapes of ops."""
_Row = tuple[float, float]
"""Calls and seconds per step."""


def kernel_changes(report_a: Report, report_b: Report) -> tuple[TableChange, ...]:
    """Kernels whose time or calls differ, the largest change first."""
    tables = [_summed(((row.name, None), row.count, row.time_s) for row in report.kernels)
              for report in (report_a, report_b)]  # fmt: skip
    return _changes(*tables, is_full=(_is_full(report_a.kernels), _is_full(report_b.kernels)))


def op_changes(report_a: Report, report_b: Report) -> tuple[TableChange, ...]:
    """Ops and shapes whose time or calls differ, the largest change first."""
    tables = [_summed(((row.name, row.shapes), row.count, row.time_s) for row in report.ops)
              for report in (report_a, report_b)]  # fmt: skip
    return _changes(*tables, is_full=(_is_full(report_a.ops), _is_full(report_b.ops)))


def _is_full(rows: Sequence[object]) -> bool:
    """Whether the table may have left rows out."""
    return len(rows) >= MOST_ROWS


def _summed(rows: Iterable[tuple[_Key, float, float]]) -> dict[_Key, _Row]:
    """Rows by key; ops that differ in more than their shapes are one."""
    found: dict[_Key, _Row] = {}
    for key, count, time_s in rows:
        counts, times_s = found.get(key, (0.0, 0.0))
        found[key] = (counts + count, times_s + time_s)
    return found


def _changes(
    table_a: Mapping[_Key, _Row], table_b: Mapping[_Key, _Row], *, is_full: tuple[bool, bool]
) -> tuple[TableChange, ...]:
    rows = [
        _change(key, table_a.get(key), table_b.get(key), is_full)
        for key in dict.fromkeys((*table_a, *table_b))
    ]
    differing = [row for row in rows if row.fate != "same" or row.count_a != row.count_b]
    return tuple(sorted(differing, key=lambda row: -abs(row.change_s)))


def _change(key: _Key, a: _Row | None, b: _Row | None, is_full: tuple[bool, bool]) -> TableChange:
    name, shapes = key
    change_s = (0.0 if b is None else b[1]) - (0.0 if a is None else a[1])
    fate: ChangeFate
    if a is None:
        fate = "unlisted in A" if is_full[0] else "appeared"
    elif b is None:
        fate = "unlisted in B" if is_full[1] else "vanished"
    else:
        fate = "slower" if change_s > 0 else "faster" if change_s < 0 else "same"
    return TableChange(
        name=name,
        shapes=shapes,
        fate=fate,
        count_a=None if a is None else a[0],
        count_b=None if b is None else b[0],
        time_a_s=None if a is None else a[1],
        time_b_s=None if b is None else b[1],
        change_s=change_s,
    )
