"""The ``peaks`` command: this machine's devices and what was measured on them, and the catalog of peaks."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Annotated

import typer

from mfu_profiler.cli.output import (
    Target,
    check_targets,
    print_text,
    stdout_color,
    terminal_width,
    write_target,
)
from mfu_profiler.errors import OptionError, UnknownDeviceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mfu_profiler.capture.machine.device import LiveDevice
    from mfu_profiler.capture.machine.local_devices import LocalDevice
    from mfu_profiler.hardware import DeviceSpec
    from mfu_profiler.hardware.ceilings import Ceiling
    from mfu_profiler.render.peaks_view import CatalogRow, Datasheet, MachineDevice, Measured

__all__ = ["peaks"]

_NO_TORCH = "Its devices are seen through torch, which is not installed here: pip install torch"
_NO_CPU_SHEET = "A CPU has no datasheet peak: what it was measured to reach is its peak."
_WORD = re.compile(r"[\w.]+")


def peaks(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Only the catalog's devices of this name, e.g. H100 or gfx942."),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure this machine's devices now (a second or two each).")
    ] = False,
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write JSON; - prints it instead.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Show the peaks of this machine's devices, measured and by datasheet, and the catalog of peaks."""
    target = Target("json", json)
    wanted = [target] if json is not None else []
    check_targets(wanted, trace="", force=force)

    from mfu_profiler.render.peaks import render_peaks
    from mfu_profiler.render.peaks_view import PeaksView, render_peaks_json

    catalog = _catalog(name)  # first: a name that is unknown costs no second
    devices, because = _devices(measure=measure) if name is None or measure else (None, None)
    view = PeaksView(devices, because, catalog, is_selection=name is not None)
    if json is not None:
        write_target(target, render_peaks_json(view), force=force)
    if not target.is_stdout:
        print_text(render_peaks(view, color=stdout_color(os.environ), width=terminal_width()))


def _catalog(name: str | None) -> tuple[CatalogRow, ...]:
    """The whole catalog, or the rows that a name means.

    Raises:
        UnknownDeviceError: none has this name; carries the nearest.

    """
    from mfu_profiler.hardware import devices
    from mfu_profiler.hardware.names import nearest_driver_names, shown_name, split_mig

    bare_name = split_mig(name)[0] if name is not None else None
    rows = [spec for spec in devices() if bare_name is None or _is_meant(spec, bare_name)]
    if rows or bare_name is None:
        return tuple(_row(spec) for spec in rows)
    nearest = ", ".join(nearest_driver_names(bare_name))
    raise UnknownDeviceError(
        f'no device of the catalog is called "{shown_name(bare_name)}"',
        *([f"nearest known: {nearest}"] if nearest else []),
        "all of them:   peaks",
    )


def _is_meant(spec: DeviceSpec, name: str) -> bool:
    """Whether every word of a name is a whole word of the device's: "L4" never means L40S."""
    words = _words(name)
    about = _words(" ".join(filter(None, (spec.vendor, spec.arch, spec.capability))))
    spellings = (spec.name, *spec.driver_names)
    return bool(words) and any(words <= _words(spelling) | about for spelling in spellings)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def _row(spec: DeviceSpec) -> CatalogRow:
    from dataclasses import fields

    from mfu_profiler.render.peaks_view import CatalogRow

    return CatalogRow(**{field.name: getattr(spec, field.name) for field in fields(CatalogRow)})


def _devices(*, measure: bool) -> tuple[tuple[MachineDevice, ...] | None, str | None]:
    """The devices of this machine, or why they cannot be seen.

    Raises:
        OptionError: they are to be measured, and torch cannot be used.

    """
    try:
        from mfu_profiler.capture.machine.local_devices import local_devices
    except (ImportError, OSError) as error:  # the second: a library that torch loads is missing
        is_absent = isinstance(error, ModuleNotFoundError) and error.name == "torch"
        because = _NO_TORCH if is_absent else f"torch cannot be imported: {' '.join(str(error).split())}"
        if measure:
            raise OptionError("--measure needs torch", because) from error
        return None, because
    return tuple(_device(device) for device in local_devices(measure=measure)), None


def _device(local: LocalDevice) -> MachineDevice:
    from mfu_profiler.render.peaks_view import MachineDevice

    live = local.live
    datasheet, because = _datasheet(live)
    if live.nvml_because is not None:
        because = [*because, f"NVML: {live.nvml_because}"]
    return MachineDevice(
        name=live.name,
        index=live.index,
        backend=live.backend,
        sm_count=live.sm_count,
        threads=live.threads,
        memory_byte=live.memory_byte,
        power_limit_w=live.power_limit_w,
        default_power_limit_w=live.default_power_limit_w,
        driver=live.driver,
        datasheet=datasheet,
        because=tuple(because),
        ceiling=_measured(local.ceiling) if local.ceiling is not None else None,
    )


def _datasheet(live: LiveDevice) -> tuple[Datasheet | None, Sequence[str]]:
    """The catalog's peaks of a device, or the lines that say why there are none."""
    from mfu_profiler.hardware import find_device
    from mfu_profiler.render.peaks_view import Datasheet

    if live.backend == "cpu":
        return None, [_NO_CPU_SHEET]
    try:
        match = find_device(
            live.name or "",
            sm_count=live.sm_count,
            compute_capability=live.compute_capability,
            memory_byte=live.memory_byte,
            gfx=live.gfx,
            backend=live.backend,
        )
    except UnknownDeviceError as error:
        return None, [" ".join(line.split()) for line in (error.message, *error.hints)]
    spec = match.spec
    rates = {str(precision): peak for precision, peak in match.peak_flop_per_s.items()}
    return Datasheet(spec.name, rates, match.memory_byte_per_s, match.source, spec.confidence), []


def _measured(ceiling: Ceiling) -> Measured:
    from mfu_profiler.render.peaks_view import Measured

    rates = {str(precision): rate for precision, rate in ceiling.flop_per_s.items()}
    return Measured(rates, ceiling.detail, ceiling.notes, ceiling.measured_at_s)
