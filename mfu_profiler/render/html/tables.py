"""The tables of a page: rows of text, with the number behind it for sorting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mfu_profiler.analysis.report import KernelRow, OpRow
from mfu_profiler.render.names import fitted_names, short_name, shown_text, visible
from mfu_profiler.units import count_text, flop_rate_column, percent_text, time_text

__all__ = ["Cell", "Column", "SortedTable", "kernel_table", "op_table"]

_NAME_WIDTH = 120
_TITLE_LENGTH = 1_000


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    is_number: bool = True
    is_sorted: bool = False
    """The rows stand in the order of this column, largest first."""


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    value: float | str | None = None
    """For sorting; ``""`` where a number is unknown, None where the text itself sorts."""
    title: str = ""
    """The whole of a name that the text shortens."""
    more: str = ""
    """A second line."""


@dataclass(frozen=True, slots=True)
class SortedTable:
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def kernel_table(kernels: Iterable[KernelRow]) -> SortedTable:
    """One row per kernel name."""
    rows = tuple(kernels)
    unit, rates = flop_rate_column([row.achieved_flop_per_s for row in rows])
    names = fitted_names([short_name(row.name) or "(no name)" for row in rows], _NAME_WIDTH)
    columns = (
        Column("kernel", is_number=False),
        Column("kind", is_number=False),
        Column("calls"),
        Column("time", is_sorted=True),
        Column("of the step"),
        Column(unit),
        Column("of peak"),
        Column("bound", is_number=False),
    )
    return SortedTable(
        columns,
        tuple(
            (
                Cell(name, title=visible(row.name[:_TITLE_LENGTH]), more=_origin(row.op, row.location)),
                Cell(shown_text(row.kind, 20)),
                Cell(count_text(row.count), row.count),
                Cell(time_text(row.time_s), row.time_s),
                Cell(percent_text(row.time_fraction), row.time_fraction),
                _rate(row.flop, rate, row.achieved_flop_per_s),
                _share(row.flop, row.peak_fraction),
                Cell(row.bound or ""),
            )
            for name, row, rate in zip(names, rows, rates, strict=True)
        ),
    )


def op_table(ops: Iterable[OpRow]) -> SortedTable:
    """One row per op and its shapes."""
    rows = tuple(ops)
    unit, rates = flop_rate_column([row.achieved_flop_per_s for row in rows])
    columns = (
        Column("op", is_number=False),
        Column("shapes", is_number=False),
        Column("calls"),
        Column("time", is_sorted=True),
        Column("of the step"),
        Column(unit),
        Column("of peak"),
    )
    return SortedTable(
        columns,
        tuple(
            (
                Cell(
                    shown_text(row.name, _NAME_WIDTH),
                    title=visible(row.name[:_TITLE_LENGTH]),
                    more=_origin(None, row.location),
                ),
                Cell(shown_text(row.shapes, _NAME_WIDTH)),
                Cell(count_text(row.count), row.count),
                Cell(time_text(row.time_s), row.time_s),
                Cell(percent_text(row.time_fraction), row.time_fraction),
                _rate(row.flop, rate, row.achieved_flop_per_s),
                _share(row.flop, row.peak_fraction),
            )
            for row, rate in zip(rows, rates, strict=True)
        ),
    )


def _origin(op: str | None, location: str | None) -> str:
    where = f"at {location}" if location else ""
    return shown_text(" ".join(filter(None, (op, where))), 200)


def _rate(flop: float | None, text: str | None, rate: float | None) -> Cell:
    if text is None or not flop:
        return Cell("-" if flop == 0 else "unknown", "")
    return Cell(text, rate)


def _share(flop: float | None, fraction: float | None) -> Cell:
    if fraction is None or not flop:
        return Cell("-" if flop == 0 else "unknown", "")
    return Cell(percent_text(fraction), fraction)
