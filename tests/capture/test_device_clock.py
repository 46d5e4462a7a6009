"""Step times by events of the device: what is read when, and what a capture or an error forbids."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mfu_profiler.capture import course, live_rate, session
from mfu_profiler.capture.flop.flop_count import FlopCount
from mfu_profiler.capture.machine.device import LiveDevice
from mfu_profiler.capture.machine.device_clock import DeviceClock
from mfu_profiler.capture.machine.surroundings import device_of

from .training import mlp_training, tracked


class Device:
    """What ``torch.cuda`` offers: a queue on which each step takes as many ms as its number."""

    def __init__(self) -> None:
        self.marked = 0
        self.passed = 0
        self.waited_for: list[int] = []
        self.is_capturing = False
        self.is_lost = False

    def current_stream(self, device: Any) -> str:
        return f"stream of {device}"

    def is_current_stream_capturing(self) -> bool:
        return self.is_capturing

    def Event(self, *, enable_timing: bool) -> Event:  # noqa: N802  # torch's name
        assert enable_timing
        return Event(self)


class Event:
    def __init__(self, device: Device) -> None:
        self._device = device
        self.place = 0

    def record(self, stream: str) -> None:
        assert stream == "stream of cuda:1"
        self._device.marked += 1
        self.place = self._device.marked

    def query(self) -> bool:
        assert not self._device.is_capturing, "this would break the capture"
        if self._device.is_lost:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return self.place <= self._device.passed

    def synchronize(self) -> None:
        self._device.waited_for.append(self.place)
        self._device.passed = self.place

    def elapsed_time(self, other: Event) -> float:
        return float(sum(range(self.place + 1, other.place + 1)))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    stand_in = Device()
    monkeypatch.setattr(torch, "cuda", stand_in)
    return stand_in


def clock_after(device: Device, marks: list[int]) -> DeviceClock:
    clock = DeviceClock(torch.device("cuda", 1))
    for step in marks:
        clock.add(step, clock.now())
    return clock


MS = 1_000_000


def test_a_step_is_as_long_as_from_the_mark_before_it_to_its_own(device: Device) -> None:
    clock = clock_after(device, [1, 2, 3, 4])
    device.passed = 3
    assert clock.finished() == [(2, 2 * MS), (3, 3 * MS)]
    assert clock.finished() == [] and device.waited_for == []


def test_the_newest_is_left_until_it_is_known_what_followed(device: Device) -> None:
    clock = clock_after(device, [1, 2])
    device.passed = 2
    assert clock.finished() == []
    clock.add(3, clock.now())
    assert clock.finished() == [(2, 2 * MS)]


def test_only_the_end_of_a_block_waits(device: Device) -> None:
    clock = clock_after(device, [1, 2, 3])
    assert clock.finished() == [] and device.waited_for == []
    assert clock.finished(waits=True) == [(2, 2 * MS), (3, 3 * MS)] and device.waited_for == [3]


def test_a_step_without_a_mark_has_no_length_and_lends_none(device: Device) -> None:
    clock = clock_after(device, [1, 2, 4, 5])
    assert clock.finished(waits=True) == [(2, 2 * MS), (5, 4 * MS)]


def test_nothing_is_marked_or_asked_for_in_a_capture(device: Device) -> None:
    clock = clock_after(device, [1, 2])
    device.is_capturing = True
    clock.add(3, clock.now())
    assert clock.finished() == [] and clock.finished(waits=True) == []
    assert device.marked == 2 and device.waited_for == []


def test_a_lost_device_is_not_ours_to_report(device: Device) -> None:
    clock = clock_after(device, [1, 2, 3])
    device.is_lost = True
    assert clock.finished() == [] and clock.finished(waits=True) == []


def test_no_phase_begins_or_ends_in_a_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps 3 to 9, in which the profiler would start and end, are captured, and taken afterwards."""
    model, step = mlp_training()
    taken: list[int] = []
    number = 0

    def counted_step() -> None:
        nonlocal number
        number += 1
        step()

    monkeypatch.setattr(session, "is_capturing", lambda: 3 <= number < 10)
    whole = course.Course.take

    def take(self: Any, finished: Any, mark: object) -> None:
        taken.append(number)
        whole(self, finished, mark)

    monkeypatch.setattr(course.Course, "take", take)
    run = tracked(model, counted_step, tmp_path, steps=14)
    assert not any(3 < at < 10 for at in taken), taken
    assert len(taken) == 14 and run.trace_path is not None


def test_a_device_that_the_program_does_not_use_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> int:
        raise AssertionError("this starts CUDA")

    idle = SimpleNamespace(is_available=lambda: True, is_initialized=lambda: False, current_device=asked)
    monkeypatch.setattr(torch, "cuda", idle)
    assert device_of(None) == torch.device("cpu")
    used = SimpleNamespace(is_available=lambda: True, is_initialized=lambda: True, current_device=lambda: 2)
    monkeypatch.setattr(torch, "cuda", used)
    assert device_of(None) == torch.device("cuda", 2)


@pytest.mark.parametrize(
    ("setting", "capability", "expected"),
    [("tf32", (8, 0), "tf32"), ("ieee", (8, 0), "fp32"), ("tf32", (7, 5), "fp32")],
)
def test_the_live_precision_is_asked_of_torchs_newer_setting(
    setting: str, capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Matmul:
        fp32_precision = setting

        @property
        def allow_tf32(self) -> bool:
            raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setattr(torch.backends.cuda, "matmul", Matmul())
    gpu = LiveDevice("NVIDIA A100-SXM4-80GB", 0, "cuda", compute_capability=capability)
    assert live_rate._main_precision(gpu, FlopCount(by_precision={"fp32": 3, "bf16": 2})) == expected
