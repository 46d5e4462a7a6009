"""The CPU's measured peak: positive, measured once, and without a trace in the caller's torch."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mfu_profiler.capture.machine import ceiling as measuring
from mfu_profiler.capture.machine.ceiling import ceiling_key, cpu_ceiling, device_ceiling, known_ceiling
from mfu_profiler.capture.machine.local_devices import local_devices
from mfu_profiler.capture.machine.matmul_rate import Bench, MatmulRate, best_rate, in_fresh_thread
from mfu_profiler.hardware.ceilings import Ceiling

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and little time to measure."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(measuring, "_measured", {})
    monkeypatch.setattr(measuring, "_CPU_SIZES", (64,))
    monkeypatch.setattr(measuring, "_CPU_BUDGETS_S", {"fp32": 0.02, "bf16": 0.02})
    return tmp_path


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> dict[torch.dtype, float]:
    """Rates that the benchmark finds from now on, by dtype; asking for another raises as torch does."""
    found: dict[torch.dtype, float] = {}

    def best(bench: Bench, dtype: torch.dtype, budget_s: float) -> MatmulRate:
        if dtype not in found:
            raise RuntimeError('"addmm_impl_cpu_" not implemented\nfor this type')
        return MatmulRate(found[dtype], 1024)

    monkeypatch.setattr(measuring, "best_rate", best)
    monkeypatch.setattr(measuring, "_CPU_BUDGETS_S", {"fp32": 1.0, "bf16": 1.0, "fp16": 1.0})
    monkeypatch.setattr(measuring, "_LEAST_SHARE", 0.0)
    return found


@pytest.fixture
def measurements(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry each time something is measured."""
    seen: list[object] = []
    measured = measuring._measured_cpu

    def counted(device: torch.device) -> Any:
        seen.append(device)
        return measured(device)

    monkeypatch.setattr(measuring, "_measured_cpu", counted)
    return seen


@contextlib.contextmanager
def changed(change: Callable[[Any], object], now: object, before: object) -> Iterator[None]:
    change(now)
    try:
        yield
    finally:
        change(before)


def threads(count: int) -> AbstractContextManager[None]:
    return changed(torch.set_num_threads, count, torch.get_num_threads())


def test_the_rate_is_positive_and_says_how_it_was_measured() -> None:
    ceiling = cpu_ceiling()
    assert ceiling.flop_per_s["fp32"] > 1e6
    count = torch.get_num_threads()
    assert ceiling.detail == f"{count} thread{'s' if count != 1 else ''}, matmul 64"


def test_the_second_call_does_not_measure(measurements: list[object]) -> None:
    first = cpu_ceiling()
    assert cpu_ceiling() == first == known_ceiling(CPU) == device_ceiling(CPU)
    assert len(measurements) == 1


def test_measuring_again_replaces_what_was_known(measurements: list[object]) -> None:
    cpu_ceiling()
    second = cpu_ceiling(measure_again=True)
    assert len(measurements) == 2 and known_ceiling(CPU) == second


@pytest.mark.parametrize("is_busy_first", [False, True])
def test_a_measurement_beside_other_work_does_not_replace_one_without(
    is_busy_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = Ceiling({"fp32": 2e11}, "2 threads", (), 0.0, is_settled=True)
    busy = Ceiling({"fp32": 3e9}, "2 threads", (), 1.0, is_settled=False)
    results = iter([busy, quiet] if is_busy_first else [quiet, busy])
    monkeypatch.setattr(measuring, "_measured_cpu", lambda device: next(results))
    cpu_ceiling(measure_again=True)
    last = cpu_ceiling(measure_again=True)
    assert last.flop_per_s["fp32"] == 2e11
    assert any("the earlier rates are kept" in note for note in last.notes) != is_busy_first


def test_nothing_is_known_before_it_is_measured(measurements: list[object]) -> None:
    assert known_ceiling(CPU) is None and measurements == []


def test_another_thread_count_is_another_ceiling(measurements: list[object]) -> None:
    for count in (1, 2, 1):
        with threads(count):
            assert ceiling_key(CPU).threads == count
            assert cpu_ceiling().detail.startswith(f"{count} thread")
    assert len(measurements) == 2


def test_without_a_cache_a_process_measures_once(
    measurements: list[object], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "file"))
    assert cpu_ceiling() == cpu_ceiling()
    assert len(measurements) == 1


def state_of_torch() -> tuple[object, ...]:
    """What a measurement must leave as it was."""
    return (
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
        torch.get_num_interop_threads(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        threading.active_count(),
        len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None,
    )


MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "none": contextlib.nullcontext,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "default device": lambda: torch.device("meta"),
    "default dtype": lambda: changed(torch.set_default_dtype, torch.float64, torch.float32),
    "one thread": lambda: threads(1),
}


@pytest.mark.parametrize("mode", MODES)
def test_torch_is_as_it_was_whatever_mode_the_caller_is_in(mode: str) -> None:
    with MODES[mode]():
        before = state_of_torch()
        assert cpu_ceiling(measure_again=True).flop_per_s["fp32"] > 1e6
        assert state_of_torch() == before


def test_a_flop_counter_and_a_profiler_of_the_user_see_nothing() -> None:
    activities = [torch.profiler.ProfilerActivity.CPU]
    with FlopCounterMode(display=False) as counter, torch.profiler.profile(activities=activities) as profile:
        cpu_ceiling(measure_again=True)
    assert counter.get_total_flops() == 0
    assert "aten::mm" not in {event.name for event in profile.events()}


def test_fake_tensors_of_the_user_are_not_measured() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        assert cpu_ceiling().flop_per_s["fp32"] < 1e16


def test_an_interrupt_ends_the_measurement_and_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Event()

    def work(stop: threading.Event) -> None:
        started.set()
        assert stop.wait(5)
        raise LookupError("nobody waits for this")

    before = threading.active_count()

    def raise_while_waiting(self: Any, timeout: float | None = None) -> None:
        assert started.wait(5)
        raise KeyboardInterrupt

    monkeypatch.setattr("concurrent.futures.Future.result", raise_while_waiting)
    with pytest.raises(KeyboardInterrupt):
        in_fresh_thread(work)
    assert threading.active_count() == before


def test_what_fails_in_the_thread_is_raised_where_the_caller_waits() -> None:
    def work(stop: threading.Event) -> None:
        raise LookupError("ours")

    with pytest.raises(LookupError, match="ours"):
        in_fresh_thread(work)


def test_bf16_without_instructions_is_said(
    rates: dict[torch.dtype, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates.update({torch.float32: 100e9, torch.bfloat16: 40e9, torch.float16: 90e9})
    monkeypatch.setattr(measuring, "_has_native_bf16", lambda: False)
    ceiling = cpu_ceiling()
    assert ceiling.flop_per_s == {"fp32": 100e9, "bf16": 40e9, "fp16": 90e9}
    assert ceiling.notes == ("bf16 has no native support on this CPU",)


@pytest.mark.parametrize(("has_flag", "bf16"), [(True, 90e9), (False, 200e9)])
def test_bf16_is_native_where_torch_knows_its_instructions_or_it_is_faster_than_fp32(
    rates: dict[torch.dtype, float], monkeypatch: pytest.MonkeyPatch, has_flag: bool, bf16: float
) -> None:
    rates.update({torch.float32: 100e9, torch.bfloat16: bf16, torch.float16: 90e9})
    monkeypatch.setattr(measuring, "_has_native_bf16", lambda: has_flag)
    assert cpu_ceiling().notes == ()


def test_fp16_in_plain_loops_is_no_peak(rates: dict[torch.dtype, float]) -> None:
    rates.update({torch.float32: 100e9, torch.bfloat16: 200e9, torch.float16: 3e9})
    ceiling = cpu_ceiling()
    assert ceiling.flop_per_s == {"fp32": 100e9, "bf16": 200e9}
    assert ceiling.notes == ("fp16 was not measured: this CPU has no fast matmul for it",)


def test_a_type_that_torch_cannot_multiply_costs_only_itself(rates: dict[torch.dtype, float]) -> None:
    rates.update({torch.float32: 100e9, torch.float16: 90e9})
    ceiling = cpu_ceiling()
    assert ceiling.flop_per_s == {"fp32": 100e9, "fp16": 90e9}
    reason = 'RuntimeError: "addmm_impl_cpu_" not implemented for this type'
    assert ceiling.notes == (f"bf16 was not measured: {reason}",)


def test_where_nothing_can_be_measured_nothing_is_kept(rates: dict[torch.dtype, float]) -> None:
    ceiling = cpu_ceiling()
    assert ceiling.flop_per_s == {} and len(ceiling.notes) == 3
    assert known_ceiling(CPU) is None


def test_a_busy_machine_is_measured_twice_and_said(
    rates: dict[torch.dtype, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates.update({torch.float32: 100e9, torch.bfloat16: 200e9, torch.float16: 90e9})
    monkeypatch.setattr(measuring, "_LEAST_SHARE", 1e9)  # no share is enough
    asked: list[torch.dtype] = []
    best = measuring.best_rate

    def faster_each_time(bench: Bench, dtype: torch.dtype, budget_s: float) -> MatmulRate | None:
        asked.append(dtype)
        rates[torch.float32] += 1e9
        return best(bench, dtype, budget_s)

    monkeypatch.setattr(measuring, "best_rate", faster_each_time)
    ceiling = cpu_ceiling()
    assert len(asked) == 6 and ceiling.flop_per_s["fp32"] == 104e9
    assert not ceiling.is_settled and "may be too low" in ceiling.notes[-1]


def test_sizes_that_would_take_too_long_are_passed_over() -> None:
    seen: list[int] = []
    stop = threading.Event()
    bench = Bench(CPU, (64, 1 << 20), 0.001, lambda: seen.append(1), stop)
    rate = best_rate(bench, torch.float32, 0.01)
    assert rate is not None and rate.size == 64
    assert len(seen) >= 4 and len(seen) % 2 == 0  # waits for the device before and after each batch


def test_nothing_is_multiplied_once_nobody_waits() -> None:
    stop = threading.Event()
    stop.set()
    assert best_rate(Bench(CPU, (64,), 0.001, lambda: None, stop), torch.float32, 0.01) is None


def test_this_machine_lists_its_cpu_last_with_its_ceiling(measurements: list[object]) -> None:
    assert local_devices(measure=False)[-1].ceiling is None and measurements == []
    cpu = local_devices(measure=True)[-1]
    assert (cpu.live.backend, cpu.live.threads) == ("cpu", torch.get_num_threads())
    assert cpu.ceiling is not None and local_devices(measure=False)[-1].ceiling == cpu.ceiling
