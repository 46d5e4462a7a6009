"""The rows of a comparison's tables: causes, ops, kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mfu_profiler.analysis.comparing.comparison import CauseChange, PairComparison, TableChange
from mfu_profiler.render.comparing.words import cause_label, signed_time
from mfu_profiler.render.names import short_name, shown_text
from mfu_profiler.units import count_text, percent_text, points_text, time_text

__all__ = [
    "CAUSE_COLUMNS",
    "CauseLine",
    "ChangeLine",
    "ChangeTable",
    "cause_lines",
    "causes_note",
    "change_table",
]

CAUSE_COLUMNS = ("cause", "A", "B", "change", "of A", "of B", "points")
_LEAST_FRACTION = 0.0005
"""Of A's step: a cause that changed by less is named in the note only."""
_ROUGH_FRACTION = 0.1
"""Of a step: a row ``profiler`` that changed by this makes the others rough."""
_SHAPES_WIDTH = 400


@dataclass(frozen=True, slots=True)
class CauseLine:
    """One cause in both steps."""

    label: str
    before: str
    after: str
    change: str
    share_a: str
    """Of A's step; empty for the step itself, as the two below."""
    share_b: str
    points: str
    time_a_s: float
    """For bars, as the two below."""
    time_b_s: float
    change_s: float


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """One op or kernel in both steps."""

    name: str
    """Shortened, but not yet to the width of a column."""
    shapes: str
    """Empty for kernels."""
    fate: str
    calls: str
    before: str
    """``-`` where the run's table does not have it."""
    after: str
    change: str
    change_s: float


@dataclass(frozen=True, slots=True)
class ChangeTable:
    """The ops or the kernels of two runs; without lines nothing differs, or there are none."""

    heading: str
    kind: str
    """``op`` or ``kernel``."""
    lines: tuple[ChangeLine, ...]
    notes: tuple[str, ...]


def cause_lines(pair: PairComparison) -> tuple[CauseLine, ...]:
    """The causes whose change can be seen, and the step that all of them sum to."""
    rows = [_cause_line(row) for row in pair.causes if _is_shown(pair, row)]
    before_s, after_s = pair.a.step.reported_s, pair.b.step.reported_s
    if not rows or before_s is None or after_s is None or pair.change_s is None:
        return ()
    times = (time_text(before_s), time_text(after_s), signed_time(pair.change_s))
    return (*rows, CauseLine("step", *times, "", "", "", before_s, after_s, pair.change_s))


def _is_shown(pair: PairComparison, row: CauseChange) -> bool:
    return row.change_s != 0 and abs(row.change_s) >= _LEAST_FRACTION * abs(pair.a.step.reported_s or 0.0)


def _cause_line(row: CauseChange) -> CauseLine:
    points = ""
    if row.fraction_a is not None and row.fraction_b is not None:
        points = points_text(row.fraction_b - row.fraction_a).removesuffix(" points")
    return CauseLine(
        label=shown_text(cause_label(row.cause), 24),
        before=time_text(row.time_a_s),
        after=time_text(row.time_b_s),
        change=signed_time(row.change_s),
        share_a="" if row.fraction_a is None else percent_text(row.fraction_a),
        share_b="" if row.fraction_b is None else percent_text(row.fraction_b),
        points=points,
        time_a_s=row.time_a_s,
        time_b_s=row.time_b_s,
        change_s=row.change_s,
    )


def causes_note(pair: PairComparison) -> str:
    """Which causes did not change, and what makes the others rough."""
    if pair.causes_unknown_because is not None:
        return f"unknown: {shown_text(pair.causes_unknown_because)}"
    if pair.is_equal:
        return ""
    same = [cause_label(row.cause) for row in pair.causes if not _is_shown(pair, row)]
    said = [f"no change, or under 0.05 %: {', '.join(shown_text(one, 24) for one in same)}"] if same else []
    profiler = next((row.change_s for row in pair.causes if row.cause == "profiler"), 0.0)
    if abs(profiler) >= _ROUGH_FRACTION * abs(pair.a.step.reported_s or 0.0) > 0:
        said.append("rough: the profiler slowed the steps of one run more than the other's (row profiler)")
    return "; ".join(said)


def change_table(
    heading: str, kind: str, rows: Sequence[TableChange], most_rows: int, top: int, note: str = ""
) -> ChangeTable:
    """The ``top`` largest changes, and what is left out.

    Args:
        heading: of the table.
        kind: of its rows, ``op`` or ``kernel``.
        rows: that differ, the largest change first.
        most_rows: that a run's table has at most.
        top: how many to list.
        note: a line to be said with it where there are rows.

    """
    shown, others = rows[:top], rows[top:]
    notes = []
    if others:
        most = time_text(max(abs(row.change_s) for row in others))
        notes.append(f"{count_text(len(others))} more differ, each by {most} at most")
    unlisted = dict.fromkeys(row.fate[-1] for row in shown if row.fate.startswith("unlisted"))
    if unlisted:
        notes.append(
            f"unlisted: not among the {most_rows} largest of {' or of '.join(unlisted)};"
            " it may be there and small, so the change is the most that it can be"
        )
    lines = tuple(_change_line(row) for row in shown)
    return ChangeTable(heading, kind, lines, tuple([*notes, note] if note and rows else notes))


def _change_line(row: TableChange) -> ChangeLine:
    counts = [_count(count) for count in (row.count_a, row.count_b)]
    return ChangeLine(
        name=short_name(row.name),
        shapes="" if row.shapes is None else shown_text(row.shapes, _SHAPES_WIDTH),
        fate=row.fate,
        calls=counts[0] if counts[0] == counts[1] else " → ".join(counts),
        before="-" if row.time_a_s is None else time_text(row.time_a_s),
        after="-" if row.time_b_s is None else time_text(row.time_b_s),
        change=signed_time(row.change_s),
        change_s=row.change_s,
    )


def _count(count: float | None) -> str:
    return "-" if count is None else count_text(count)
