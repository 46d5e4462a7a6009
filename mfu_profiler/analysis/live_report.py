"""What a report of a live run says beside its trace: the device as it really ran, the block of training."""

from __future__ import annotations

from dataclasses import replace

from mfu_profiler.analysis.clocks import ClockReading
from mfu_profiler.analysis.report import DeviceInfo, StepsInfo
from mfu_profiler.analysis.utilization import Utilization
from mfu_profiler.trace.live import LiveDevice, LiveFacts
from mfu_profiler.units import clock_text, count_text, percent_text, power_text, time_text

__all__ = ["clock_detail", "known_workload", "live_notes", "with_live_device"]

_MOST_NAMES = 5
_NOTABLE_PAUSE_FRACTION = 0.001
"""Shorter pauses are not worth a line."""
_NOTABLE_OVERHEAD_FRACTION = 0.005
_LIMIT_TOLERANCE = 0.99
"""Drivers round a power limit; a real cap is well below."""


def with_live_device(
    info: DeviceInfo, live: LiveFacts, use: Utilization, clock: ClockReading | None
) -> DeviceInfo:
    """The device with its clocks and power, and why some are not known."""
    device, sheet = live.device, use.clock_hz
    sampled = clock.clock_hz if clock is not None else None
    at_clock = None
    if sheet is not None and sampled is not None and use.peak_flop_per_s is not None:
        at_clock = use.peak_flop_per_s * sampled / sheet
    because = device.nvml_because if device is not None else None
    if because is None and live.clocks is not None:
        because = live.clocks.because
    said = device.index if device is not None else None
    return replace(
        info,
        index=said if info.index is None else info.index,
        datasheet_clock_hz=sheet,
        sampled_clock_hz=sampled,
        peak_at_clock_flop_per_s=at_clock,
        clock_because=clock.because if clock is not None else None,
        power_limit_w=device.power_limit_w if device is not None else None,
        default_power_limit_w=device.default_power_limit_w if device is not None else None,
        mean_power_w=clock.power_w if clock is not None else None,
        nvml_because=because,
    )


def clock_detail(use: Utilization, clock: ClockReading | None) -> dict[str, str]:
    """The words of the waterfall's row ``clocks``: ``1.41 of 1.83 GHz: power cap``."""
    if use.clock_hz is None or clock is None or clock.clock_hz is None:
        return {}
    text = f"{clock_text(clock.clock_hz).removesuffix(' GHz')} of {clock_text(use.clock_hz)}"
    is_lower = clock.clock_hz < use.clock_hz
    return {"clocks": f"{text}: {clock.because}" if is_lower and clock.because else text}


def known_workload(live: LiveFacts | None) -> str | None:
    """``transformer`` where the model looked like one; None where nothing says what it is."""
    is_transformer = live is not None and live.flop is not None and live.flop.analytic is not None
    return "transformer" if is_transformer else None


def live_notes(live: LiveFacts, steps: StepsInfo) -> tuple[str, ...]:
    """What a reader must know of the run: how it ended, what it lacks, its pauses, its device's limits."""
    run = live.run
    lines = [f"ended by {run.ended}"] if run.ended else []
    lines += run.lacks
    if pauses := _pauses(live):
        lines.append(pauses)
    overhead = steps.profiler_overhead_fraction
    if overhead is not None and overhead > _NOTABLE_OVERHEAD_FRACTION:
        lines.append(
            f"the breakdown is of profiled steps, {percent_text(overhead)} slower than the others;"
            " the difference is taken from host-bound time, as far as there is any"
        )
    if live.device is not None:
        lines += _power_limit(live.device)
    if live.ceiling is not None and live.device is not None and live.device.backend == "cpu":
        lines += live.ceiling.notes
    if live.flop is not None and live.flop.uncounted:
        calls = sorted(live.flop.uncounted.items(), key=lambda item: -item[1])[:_MOST_NAMES]
        named = ", ".join(f"{name} ({count_text(count)} calls)" for name, count in calls)
        lines.append(f"ops without a formula, not in the live count: {named}")
    return (*lines, *run.notes)


def _pauses(live: LiveFacts) -> str | None:
    """Evaluation, checkpoints and the like, with their share of the run's wall time."""
    wall_ns = live.run.wall_ns
    if not wall_ns:
        return None
    longest = sorted(live.run.pauses_ns.items(), key=lambda item: -item[1])[:_MOST_NAMES]
    named = [
        f"{name} {time_text(length / 1e9)} ({percent_text(length / wall_ns)})"
        for name, length in longest
        if length >= _NOTABLE_PAUSE_FRACTION * wall_ns
    ]
    return f"pauses, share of the run's wall time: {', '.join(named)}" if named else None


def _power_limit(device: LiveDevice) -> list[str]:
    limit, usual = device.power_limit_w, device.default_power_limit_w
    if limit is None or usual is None or limit >= _LIMIT_TOLERANCE * usual:
        return []
    return [f"the device's power limit is {power_text(limit)}, below its default of {power_text(usual)}"]
