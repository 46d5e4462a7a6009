"""Peaks of devices for a terminal: this machine's, with what was measured, and the catalog's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from itertools import groupby

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from mfu_profiler.render.console import LEAST_WIDTH, new_console, written_text
from mfu_profiler.render.names import fitted, shown_text
from mfu_profiler.render.peaks_view import CatalogRow, MachineDevice, PeaksView
from mfu_profiler.units import byte_rate_text, byte_text, count_text, flop_rate_column, percent_text

__all__ = ["render_peaks"]

_PRECISIONS = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "fp4", "int8")
_INDENT = "  "
_GAP = "  "
_NOTHING = "-"
_CATALOG_UNIT = "TFLOP/s"
_HZ_PER_MHZ = 1e6


def render_peaks(view: PeaksView, *, color: bool, width: int = 80) -> str:
    """The view as text of at most ``max(width, 60)`` columns.

    Args:
        view: what is shown.
        color: whether to write ANSI colour codes.
        width: columns of the terminal.

    """
    console = new_console(color=color, width=max(width, LEAST_WIDTH))
    if view.devices is not None or view.devices_because:
        console.print(Text("This machine", style="bold"))
        for device in view.devices or ():
            _print_device(console, device)
        if view.devices_because:
            _print_lines(console, [view.devices_because])
        console.print()
    _print_catalog(console, view.catalog, is_selection=view.is_selection)
    return written_text(console)


def _print_lines(console: Console, lines: Sequence[str], *, style: str = "", indent: int = 2) -> None:
    """Lines that wrap under themselves; what a driver or a file said is made visible."""
    for line in lines:
        console.print(Padding(Text(shown_text(line, 2_000), style=style, overflow="fold"), (0, 0, 0, indent)))


def _print_device(console: Console, device: MachineDevice) -> None:
    _print_lines(console, [", ".join(filter(None, _about(device)))])
    datasheet, ceiling = device.datasheet, device.ceiling
    peaks = datasheet.peak_flop_per_s if datasheet is not None else {}
    rates = ceiling.flop_per_s if ceiling is not None else {}
    if peaks or rates:
        console.print(_rates(peaks, rates))
    _print_lines(console, list(_provenance(device)), style="dim", indent=4)


def _about(device: MachineDevice) -> list[str]:
    backend = " ".join(str(part) for part in (device.backend, device.index) if part is not None)
    threads = device.threads
    limit, usual = device.power_limit_w, device.default_power_limit_w
    power = f"power limit {count_text(limit)} W" if limit is not None else ""
    if limit is not None and usual is not None and limit != usual:
        power += f" (default {count_text(usual)} W)"
    return [
        device.name or "unnamed device",
        backend,
        f"{device.sm_count} multiprocessors" if device.sm_count is not None else "",
        f"{threads} thread{'s' if threads != 1 else ''}" if threads is not None else "",
        byte_text(device.memory_byte) if device.memory_byte is not None else "",
        power,
        f"driver {device.driver}" if device.driver else "",
    ]


def _rates(peaks: Mapping[str, float], rates: Mapping[str, float]) -> Text:
    """One line a precision: the datasheet's peak, the measured rate, and its share of the peak."""
    shown = [precision for precision in _PRECISIONS if precision in peaks or precision in rates]
    columns = [peaks.get(precision) for precision in shown], [rates.get(precision) for precision in shown]
    unit, texts = flop_rate_column([*columns[0], *columns[1]])
    cells = [(unit, *(["datasheet"] if peaks else []), "measured", *(["of datasheet"] if peaks else []))]
    for index, precision in enumerate(shown):
        peak, rate = columns[0][index], columns[1][index]
        share = percent_text(rate / peak) if peak and rate else None
        line = (texts[index], texts[len(shown) + index], share) if peaks else (texts[len(shown) + index],)
        cells.append((precision, *(cell or _NOTHING for cell in line)))
    return _table(cells, first_width=len(unit), indent=2 * _INDENT)


def _provenance(device: MachineDevice) -> list[str]:
    """Where a device's figures come from, and what is missing."""
    lines = list(device.because)
    if device.datasheet is not None:
        sheet = device.datasheet
        lines.append(f"datasheet: {sheet.name}, {sheet.source}, confidence {sheet.confidence}")
        if sheet.memory_byte_per_s is not None:
            lines.append(f"memory: {byte_rate_text(sheet.memory_byte_per_s)}")
    if device.ceiling is None:
        return [*lines, "measured: not yet; peaks --measure does it"]
    day = datetime.fromtimestamp(device.ceiling.measured_at_s, tz=timezone.utc).date().isoformat()
    measured = ", ".join(filter(None, (f"measured: {day}", device.ceiling.detail)))
    return [*lines, measured, *device.ceiling.notes]


def _print_catalog(console: Console, rows: Sequence[CatalogRow], *, is_selection: bool) -> None:
    count = f"{len(rows)} device{'s' if len(rows) != 1 else ''}"
    console.print(Text(f"Catalog: {count}, dense {_CATALOG_UNIT}", style="bold"))
    columns = [_tera(rows, precision) for precision in _PRECISIONS]
    widths = [max(map(len, (title, *texts))) for title, texts in zip(_PRECISIONS, columns, strict=True)]
    name_width = console.width - len(_INDENT) - sum(widths) - len(_PRECISIONS)
    heading = "".join(f" {title:>{width}}" for title, width in zip(_PRECISIONS, widths, strict=True))
    lines = dict(zip((row.name for row in rows), zip(*columns, strict=True), strict=True))
    for vendor, group in groupby(rows, key=lambda row: row.vendor):
        console.print()
        console.print(Text.assemble((f"{_INDENT}{vendor:<{name_width}}", "bold"), (heading, "dim")))
        for row in group:
            name = fitted(shown_text(row.name), name_width)
            cells = "".join(f" {text:>{width}}" for text, width in zip(lines[row.name], widths, strict=True))
            console.print(f"{_INDENT}{name}{' ' * (name_width - cell_len(name))}{cells}")
            _print_row_source(console, row, is_selection=is_selection)
    if not is_selection:
        console.print()
        _print_lines(console, ["peaks NAME shows a device's source whole, its names, clocks and memory."])


def _print_row_source(console: Console, row: CatalogRow, *, is_selection: bool) -> None:
    source = f"{row.confidence}: {row.source}"
    if not is_selection:
        _print_lines(console, [fitted(shown_text(source), console.width - 4)], style="dim", indent=4)
        return
    _print_lines(console, _details(row), style="dim", indent=4)


def _details(row: CatalogRow) -> list[str]:
    clocks = (("tensor", row.tensor_clock_hz), ("boost", row.boost_clock_hz))
    facts = [
        " ".join(filter(None, (row.arch, row.capability))),
        f"{count_text(row.sm_count)} multiprocessors" if row.sm_count is not None else "",
        f"memory {byte_rate_text(row.memory_byte_per_s)}" if row.memory_byte_per_s is not None else "",
        *(f"{name} clock {count_text(hz / _HZ_PER_MHZ)} MHz" for name, hz in clocks if hz is not None),
    ]
    lines = [
        ", ".join(filter(None, facts)),
        f"names: {', '.join(row.driver_names)}",
        f"source: {row.source}",
        f"confidence: {row.confidence}",
    ]
    return [*lines, f"notes: {row.notes}"] if row.notes else lines


def _tera(rows: Sequence[CatalogRow], precision: str) -> list[str]:
    # The leading entry fixes the unit, so that columns of small rates are not shown in giga.
    _, texts = flop_rate_column([1e12, *(row.peak_flop_per_s.get(precision) for row in rows)])
    return [text or _NOTHING for text in texts[1:]]


def _table(cells: Sequence[Sequence[str]], *, first_width: int, indent: str) -> Text:
    """Cells below each other, the first line dim, the first column on the left."""
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    text = Text(no_wrap=True, overflow="crop")
    for number, line in enumerate(cells):
        padded = [f"{line[0]:<{max(first_width, widths[0])}}"]
        padded += [f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True)]
        text.append(indent + _GAP.join(padded) + "\n", style="dim" if number == 0 else "")
    text.rstrip()
    return text
