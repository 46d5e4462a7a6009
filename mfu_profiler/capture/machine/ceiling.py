"""The measured peak of this machine's devices, from the cache or by multiplying matrices for a second.

A CPU has no datasheet that says what torch can reach on it, so this is its peak. On an accelerator it
stands beside the datasheet's: what a matmul achieves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from mfu_profiler.capture.machine.device import cpu_name, live_device, one_line
from mfu_profiler.capture.machine.matmul_rate import Bench, MatmulRate, best_rate, better, in_fresh_thread
from mfu_profiler.hardware.ceilings import Ceiling, CeilingKey, measuring_alone, read_ceiling, write_ceiling
from mfu_profiler.hardware.spec import Precision
from mfu_profiler.units import count_text, percent_text

__all__ = ["ceiling_key", "cpu_ceiling", "device_ceiling", "known_ceiling"]

_CPU_SIZES = (256, 512, 1024, 2048, 4096)
"""A small CPU is fastest while the matrices fit its caches, one of 100 cores needs large ones."""
_CPU_BATCH_S = 0.001
_CPU_BUDGETS_S: Mapping[Precision, float] = {"fp32": 0.4, "bf16": 0.4, "fp16": 0.15}
_DEVICE_SIZES = (2048, 4096, 8192)
"""4096 is within 10 % of the best rate on A100, 8192 on H100; three of 8192 in fp32 are 805 MB."""
_DEVICE_BATCH_S = 0.02
"""A wait for the device costs some 20 µs, a thousandth of this."""
_DEVICE_BUDGET_S = 0.8
_MEMORY_FRACTION = 0.1
"""Of the free memory of an accelerator: the benchmark must never be what exhausts it."""

_DTYPES: Mapping[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
_NATIVE_GAIN = 1.2
"""bf16 that is emulated ends in fp32 multiplications and cannot be faster; native bf16 is twice as fast."""
_SLOW_FRACTION = 0.25
"""Of the fp32 rate. Without fast instructions torch multiplies fp16 in plain loops, at about a hundredth."""

_LEAST_SHARE = 0.75
"""Alone, the threads get over 0.9. With less, each waits for the others to be scheduled, and a measurement
may be right or a hundred times too low: it is made twice, and not kept for long."""

_NO_NATIVE_BF16 = "bf16 has no native support on this CPU"
_NO_FAST_FP16 = "fp16 was not measured: this CPU has no fast matmul for it"

_EARLIER_KEPT = "measured again beside other work: the earlier rates are kept"

_measured: dict[CeilingKey, Ceiling] = {}
"""What this process measured and could not keep in the cache: measured once all the same."""


@dataclass(slots=True)
class _Outcome:
    """What a measurement saw."""

    rates: dict[Precision, MatmulRate] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Why a precision is missing, and what else to know."""
    share: float = 1.0
    """CPU time that the threads got, of what they could have had: less than 1 where others worked too."""

    def add(self, bench: Bench, precision: Precision, budget_s: float) -> None:
        """Measures one precision."""
        try:
            rate = best_rate(bench, _DTYPES[precision], budget_s)
        except RuntimeError as error:  # no such kernel, or no memory
            self.notes.append(f"{precision} was not measured: {one_line(error)}")
        else:
            if rate is not None:
                self.rates[precision] = rate

    def joined(self, other: _Outcome) -> _Outcome:
        """The better rate of each precision."""
        rates = {
            precision: rate
            for precision in (*self.rates, *other.rates)
            if (rate := better(self.rates.get(precision), other.rates.get(precision))) is not None
        }
        return _Outcome(rates, other.notes, max(self.share, other.share))


def cpu_ceiling(*, measure_again: bool = False) -> Ceiling:
    """The matmul rate of the CPU on torch's threads, by precision; a second or two where it is not known.

    Touches no setting and no random state of torch, whatever modes the caller is in. What fails costs its own
    precision, so ``flop_per_s`` may be empty; ``notes`` says why.

    Args:
        measure_again: measures even where a rate is known, and keeps the new one, unless other work took part
            of the CPU and not when the rate was measured before.

    """
    return _ceiling(torch.device("cpu"), _measured_cpu, measure_again)


def device_ceiling(device: torch.device, *, measure_again: bool = False) -> Ceiling:
    """The same of any device. An accelerator must be idle, and needs a tenth of its free memory for 2 s.

    fp32 is called tf32 where torch's settings allow it and the device has it.
    """
    if device.type == "cpu":
        return cpu_ceiling(measure_again=measure_again)
    return _ceiling(device, _measured_accelerator, measure_again)


def known_ceiling(device: torch.device) -> Ceiling | None:
    """The ceiling from the cache or measured before in this process; None where it was never measured."""
    return _known(ceiling_key(device))


def ceiling_key(device: torch.device) -> CeilingKey:
    """What the ceiling of a device holds for, under torch's present settings."""
    if device.type == "cpu":
        # Virtual machines hide the model ("AMD EPYC"); the instruction set tells some of them apart.
        model = f"{cpu_name() or 'unknown CPU'} {torch.backends.cpu.get_cpu_capability()}"
        return CeilingKey(model, torch.__version__, torch.get_num_threads(), _cpu_settings())
    live = live_device(device)
    units = f"{live.sm_count} units" if live.sm_count is not None else ""
    power = f"{count_text(live.power_limit_w)} W" if live.power_limit_w is not None else ""
    name = ", ".join(filter(None, (live.name or device.type, units, power)))
    return CeilingKey(name, torch.__version__, None, "tf32" if _runs_tf32(device) else "")


def _ceiling(
    device: torch.device, measured: Callable[[torch.device], Ceiling], measure_again: bool
) -> Ceiling:
    key = ceiling_key(device)
    known = None if measure_again else _known(key)
    if known is not None:
        return known
    with measuring_alone():
        known = None if measure_again else _known(key)  # another rank may have measured while this one waited
        if known is not None:
            return known
        ceiling, before = measured(device), _known(key)
        if before is not None and before.is_settled and not ceiling.is_settled:
            return replace(before, notes=(*before.notes, _EARLIER_KEPT))
        is_kept = write_ceiling(key, ceiling)
        _measured.pop(key, None)
        if ceiling.flop_per_s and not is_kept:
            _measured[key] = ceiling
    return ceiling


def _known(key: CeilingKey) -> Ceiling | None:
    return _measured.get(key) or read_ceiling(key)


def _measured_cpu(device: torch.device) -> Ceiling:
    threads = torch.get_num_threads()

    def measure(stop: threading.Event) -> _Outcome:
        bench = Bench(device, _CPU_SIZES, _CPU_BATCH_S, lambda: None, stop)
        first = _cpu_outcome(bench, threads)
        return first if first.share >= _LEAST_SHARE else first.joined(_cpu_outcome(bench, threads))

    outcome = _in_peace(measure)
    rates, notes = outcome.rates, outcome.notes
    fp32 = rates["fp32"].flop_per_s if "fp32" in rates else 0.0
    if "fp16" in rates and rates["fp16"].flop_per_s < _SLOW_FRACTION * fp32:
        del rates["fp16"]
        notes.append(_NO_FAST_FP16)
    if "bf16" in rates and not _has_native_bf16() and rates["bf16"].flop_per_s < _NATIVE_GAIN * fp32:
        notes.append(_NO_NATIVE_BF16)
    if settings := _cpu_settings():
        notes.append(f"torch's settings allow {settings} in matmuls")
    if outcome.share < _LEAST_SHARE:
        share = percent_text(outcome.share, 0)
        notes.append(f"other work left the matmuls {share} of the CPU: the measured rate may be too low")
    return _as_ceiling(outcome, f"{threads} thread{'s' if threads != 1 else ''}")


def _cpu_outcome(bench: Bench, threads: int) -> _Outcome:
    """All precisions; the share of CPU time is that of fp32, whose matmuls always keep all threads busy."""
    outcome = _Outcome()
    for precision, budget_s in _CPU_BUDGETS_S.items():
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        outcome.add(bench, precision, budget_s)
        if precision == "fp32":
            wall_s = max(time.perf_counter() - start_s, 1e-9)
            outcome.share = (time.process_time() - start_cpu_s) / (wall_s * threads)
    return outcome


def _measured_accelerator(device: torch.device) -> Ceiling:
    single: Precision = "tf32" if _runs_tf32(device) else "fp32"

    module: Any = torch.get_device_module(device)
    index = module.current_device() if device.index is None else device.index

    def measure(stop: threading.Event) -> _Outcome:
        outcome = _Outcome()
        with module.device(index):  # a thread begins on the first device
            sizes = _sizes_that_fit(module.mem_get_info()[0])
            if not sizes:
                outcome.notes.append("not measured: too little free memory")
            bench = Bench(device, sizes, _DEVICE_BATCH_S, module.synchronize, stop)
            for precision in (single, "fp16", "bf16") if sizes else ():
                outcome.add(bench, precision, _DEVICE_BUDGET_S)
        return outcome

    return _as_ceiling(_in_peace(measure), "")


def _in_peace(measure: Callable[[threading.Event], _Outcome]) -> _Outcome:
    """The measurement in a thread of its own; what torch refuses altogether becomes a note."""
    try:
        return in_fresh_thread(measure)
    except (RuntimeError, AttributeError) as error:  # the second: a backend of torch that lacks a function
        return _Outcome(notes=[f"not measured: {one_line(error)}"])


def _as_ceiling(outcome: _Outcome, where: str) -> Ceiling:
    sizes = sorted({rate.size for rate in outcome.rates.values()})
    shown = " to ".join(str(size) for size in dict.fromkeys((sizes[0], sizes[-1]))) if sizes else ""
    detail = ", ".join(filter(None, (where, f"matmul {shown}" if shown else "")))
    flop_per_s = {precision: rate.flop_per_s for precision, rate in outcome.rates.items()}
    is_settled = outcome.share >= _LEAST_SHARE
    return Ceiling(flop_per_s, detail, tuple(outcome.notes), time.time(), is_settled)


def _sizes_that_fit(free_byte: int) -> tuple[int, ...]:
    """Sizes of which three matrices in fp32 take a small part of the free memory."""
    return tuple(size for size in _DEVICE_SIZES if 3 * 4 * size**2 <= _MEMORY_FRACTION * free_byte)


def _has_native_bf16() -> bool:
    """Whether torch knows of bf16 instructions; it looks for none on ARM, where only the rate tells."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def _cpu_settings() -> str:
    """What torch's settings allow in place of fp32 inside a CPU's matmuls: ``bf16``, ``tf32`` or nothing."""
    matmul: Any = getattr(torch.backends.mkldnn, "matmul", None)
    allowed = getattr(matmul, "fp32_precision", None)  # since torch 2.9
    if allowed is None:
        allowed = "bf16" if torch.get_float32_matmul_precision() == "medium" else "ieee"
    return f"{allowed} for fp32" if allowed in ("bf16", "tf32") else ""


def _runs_tf32(device: torch.device) -> bool:
    """Whether an fp32 matmul on an accelerator runs as TF32: allowed, on NVIDIA since Ampere.

    (MI300 has it too, but takes it only where an environment variable of hipBLASLt asks for it.)
    """
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    matmul: Any = torch.backends.cuda.matmul
    allowed = getattr(matmul, "fp32_precision", None)  # since torch 2.9; the older flag may refuse to be read
    is_allowed = matmul.allow_tf32 if allowed is None else allowed == "tf32"
    return bool(is_allowed) and torch.cuda.get_device_capability(device) >= (8, 0)
