"""NVML: what the driver says of one NVIDIA device while it runs (through ``nvidia-ml-py``).

Drivers differ in what they answer: a function may be missing (an old driver), refused (a container, a
MIG slice, a GeForce) or fail (a lost GPU). Each such call costs its own field, which is None. Where
NVML itself is absent, there is one ``NvmlUnavailableError`` that says why.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Any

__all__ = ["ClockSample", "Nvml", "NvmlDevice", "NvmlReading", "NvmlUnavailableError", "throttle_text"]

_SM_CLOCK = 1
"""``NVML_CLOCK_SM``."""

_DIE_TEMPERATURE = 0
"""``NVML_TEMPERATURE_GPU``."""

_W_PER_MILLIWATT = 1e-3
_HZ_PER_MHZ = 1_000_000

_THROTTLE_WORDS = (
    (0x001, "idle"),
    (0x002, "clock setting"),
    (0x004, "power cap"),
    (0x008, "hardware slowdown"),
    (0x010, "sync boost"),
    (0x020, "thermal"),
    (0x040, "thermal"),
    (0x080, "power brake"),
    (0x100, "display clocks"),
    (0x200, "board limit"),
    (0x400, "reliability"),
)
"""Bits of the clocks event (formerly throttle) reasons, software and hardware slowdown for heat as one.
Source: NVML API reference, "NvmlClocksEventReasons"; nvidia-ml-py for the last two."""

_KNOWN_BITS = sum({bit for bit, _ in _THROTTLE_WORDS})


class NvmlUnavailableError(LookupError):
    """NVML, or the device in it, cannot be had. The message is one line; never shown as an error."""


@dataclass(frozen=True, slots=True)
class ClockSample:
    """How a device ran at one moment; None for what could not be read."""

    time_ns: int
    """Unix epoch."""

    sm_clock_hz: int | None = None
    """Clock of the SMs (CUs) now."""

    power_w: float | None = None
    """Draw of the whole board, averaged by the driver over up to a second."""

    temperature_c: float | None = None
    """Of the die; of the hottest junction on AMD."""

    utilization_fraction: float | None = None
    """Share of the driver's last sample period (1/6 to 1 s) in which any kernel ran. None under MIG."""

    throttle: str | None = None
    """``"none"``, or why the clock is not higher: one or more of "power cap", "thermal", "hardware slowdown",
    "power brake", "idle", "clock setting", "sync boost", ... with ", " between."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing could be read."""
        values = self.sm_clock_hz, self.power_w, self.temperature_c, self.utilization_fraction, self.throttle
        return all(value is None for value in values)


@dataclass(frozen=True, slots=True)
class NvmlReading:
    """What does not change while a program runs; None for what could not be read."""

    name: str | None
    """As the driver says it; a MIG device's has ``MIG 3g.40gb`` at its end."""

    uuid: str | None
    """``GPU-...`` or ``MIG-...``."""

    driver: str | None
    """Version, such as ``535.104.05``."""

    power_limit_w: float | None
    """The limit in force. Of a MIG device, this and all below are the whole GPU's."""

    default_power_limit_w: float | None
    """The limit after a reboot, without anybody's setting."""

    max_sm_clock_hz: int | None
    """The highest clock that the driver may set; the clock of the datasheet's peak is often lower."""


class Nvml:
    """NVML, opened; ``close`` gives it back, once.

    Raises:
        NvmlUnavailableError: no bindings, no driver, or one that refuses.

    """

    def __init__(self) -> None:
        try:
            self._bindings = import_module("pynvml")
        except ImportError as error:
            raise NvmlUnavailableError(f"nvidia-ml-py cannot be imported: {error}") from error
        try:
            self._bindings.nvmlInit()
        except self._bindings.NVMLError as error:
            raise NvmlUnavailableError(f"NVML cannot be opened: {error}") from error
        self._is_open = True

    def ask(self, function: str, *arguments: Any) -> Any:
        """What a function answers; None where bindings or driver lack it, or it fails."""
        call = getattr(self._bindings, function, None)
        if call is None:
            return None
        try:
            return call(*arguments)
        except (self._bindings.NVMLError, UnicodeDecodeError):
            return None

    def ask_first(self, functions: tuple[str, ...], *arguments: Any) -> Any:
        """The first answer; for functions that have had several names."""
        for function in functions:
            answer = self.ask(function, *arguments)
            if answer is not None:
                return answer
        return None

    def text(self, function: str, *arguments: Any) -> str | None:
        """A text answer; old bindings give bytes."""
        answer = self.ask(function, *arguments)
        text = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
        return text if isinstance(text, str) and text else None

    def close(self) -> None:
        """Shut down what was opened. NVML counts: others in this process keep theirs."""
        if self._is_open:
            self._is_open = False
            self.ask("nvmlShutdown")


class NvmlDevice:
    """One device of an open NVML, which is closed with it. To be used by one thread at a time."""

    def __init__(self, nvml: Nvml, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        is_slice = bool(nvml.ask("nvmlDeviceIsMigDeviceHandle", handle))
        parent = nvml.ask("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle) if is_slice else None
        # A MIG device has no clock, power or temperature of its own.
        self._gpu = handle if parent is None else parent

    def __enter__(self) -> NvmlDevice:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def reading(self) -> NvmlReading:
        """Names and limits."""
        enforced = ("nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetPowerManagementLimit")
        return NvmlReading(
            name=self._nvml.text("nvmlDeviceGetName", self._handle),
            uuid=self._nvml.text("nvmlDeviceGetUUID", self._handle),
            driver=self._nvml.text("nvmlSystemGetDriverVersion"),
            power_limit_w=_scaled(self._nvml.ask_first(enforced, self._gpu), _W_PER_MILLIWATT),
            default_power_limit_w=_scaled(
                self._nvml.ask("nvmlDeviceGetPowerManagementDefaultLimit", self._gpu), _W_PER_MILLIWATT
            ),
            max_sm_clock_hz=_clock_hz(self._nvml.ask("nvmlDeviceGetMaxClockInfo", self._gpu, _SM_CLOCK)),
        )

    def sample(self) -> ClockSample:
        """How the device runs now; costs five driver calls, during which Python's lock is free."""
        time_ns = time.time_ns()
        temperatures = ("nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV")
        reasons = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
        utilization = self._nvml.ask("nvmlDeviceGetUtilizationRates", self._gpu)
        bits = self._nvml.ask_first(reasons, self._gpu)
        return ClockSample(
            time_ns=time_ns,
            sm_clock_hz=_clock_hz(self._nvml.ask("nvmlDeviceGetClockInfo", self._gpu, _SM_CLOCK)),
            power_w=_scaled(self._nvml.ask("nvmlDeviceGetPowerUsage", self._gpu), _W_PER_MILLIWATT),
            temperature_c=_scaled(self._nvml.ask_first(temperatures, self._gpu, _DIE_TEMPERATURE), 1.0),
            utilization_fraction=None if utilization is None else utilization.gpu / 100,
            throttle=None if bits is None else throttle_text(bits),
        )

    def close(self) -> None:
        """Close the NVML that this device belongs to."""
        self._nvml.close()


def throttle_text(bits: int) -> str:
    """``0x44`` -> ``"power cap, thermal"``; ``"none"`` where the clock is as high as it may be."""
    words = [word for bit, word in _THROTTLE_WORDS if bits & bit]
    if bits & ~_KNOWN_BITS:
        words.append("other")
    return ", ".join(dict.fromkeys(words)) or "none"


def _scaled(value: int | None, unit: float) -> float | None:
    return None if value is None else value * unit


def _clock_hz(clock_mhz: int | None) -> int | None:
    return None if clock_mhz is None else clock_mhz * _HZ_PER_MHZ
