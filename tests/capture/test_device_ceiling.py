"""The achievable rate of an accelerator: waited for, on the right device, within its free memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch

from mfu_profiler.capture.machine import ceiling as measuring
from mfu_profiler.capture.machine.ceiling import device_ceiling, known_ceiling


class StandIn:
    """What ``torch.cuda`` offers, over the CPU."""

    def __init__(self, free_byte: int) -> None:
        self.free_byte = free_byte
        self.current = 3
        self.events: list[str] = []

    def current_device(self) -> int:
        return self.current

    @contextlib.contextmanager
    def device(self, index: int) -> Iterator[None]:
        self.events.append(f"device {index}")
        yield
        self.events.append("left")

    def mem_get_info(self) -> tuple[int, int]:
        return self.free_byte, 80_000_000_000

    def synchronize(self) -> None:
        self.events.append("wait")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn(free_byte=1_000_000_000)
    monkeypatch.setattr(torch, "get_device_module", lambda _: stand_in)
    monkeypatch.setattr(measuring, "_DEVICE_SIZES", (64, 1 << 20))
    monkeypatch.setattr(measuring, "_DEVICE_BATCH_S", 0.001)
    monkeypatch.setattr(measuring, "_DEVICE_BUDGET_S", 0.02)
    return stand_in


def test_an_accelerator_is_waited_for_on_the_device_that_was_current(module: StandIn) -> None:
    ceiling = measuring._measured_accelerator(torch.device("cpu"))
    assert set(ceiling.flop_per_s) == {"fp32", "fp16", "bf16"} and ceiling.notes == ()
    assert ceiling.detail == "matmul 64" and min(ceiling.flop_per_s.values()) > 0
    assert (module.events[0], module.events[-1]) == ("device 3", "left")
    assert set(module.events[1:-1]) == {"wait"}


def test_too_little_memory_is_said(module: StandIn) -> None:
    module.free_byte = 100_000
    ceiling = measuring._measured_accelerator(torch.device("cpu"))
    assert (dict(ceiling.flop_per_s), ceiling.notes) == ({}, ("not measured: too little free memory",))


def test_a_device_that_fails_is_said(module: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> None:
        raise RuntimeError("CUDA error: the launch\nfailed")

    monkeypatch.setattr(module, "mem_get_info", lost)
    ceiling = measuring._measured_accelerator(torch.device("cpu"))
    assert ceiling.notes == ("not measured: RuntimeError: CUDA error: the launch failed",)


def test_an_accelerator_gives_only_a_tenth_of_its_free_memory() -> None:
    # Three fp32 matrices: 50 MB of 2048, 201 MB of 4096, 805 MB of 8192.
    assert measuring._sizes_that_fit(499_000_000) == ()
    assert measuring._sizes_that_fit(504_000_000) == (2048,)
    assert measuring._sizes_that_fit(80_000_000_000) == (2048, 4096, 8192)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA or ROCm device")
def test_a_gpu_reaches_a_good_part_of_its_datasheet_and_not_more() -> None:
    from mfu_profiler.capture.machine.device import live_device
    from mfu_profiler.hardware import find_device

    device = torch.device("cuda", torch.cuda.current_device())
    rng = torch.cuda.get_rng_state(device)
    ceiling, live = device_ceiling(device), live_device(device)
    assert torch.equal(rng, torch.cuda.get_rng_state(device)) and ceiling == known_ceiling(device)
    sheet = find_device(live.name or "", sm_count=live.sm_count, memory_byte=live.memory_byte)
    for precision in ceiling.flop_per_s.keys() & sheet.peak_flop_per_s.keys():
        rate = ceiling.flop_per_s[precision]
        assert 0.2 < rate / sheet.peak_flop_per_s[precision] < 1.05, precision
