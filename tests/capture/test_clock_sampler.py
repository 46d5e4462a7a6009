"""The thread that samples clocks: what it keeps, what it gives back, and that nothing of it stays."""

from __future__ import annotations

import json
import threading

import pytest

from mfu_profiler.capture.machine import clock_sampler
from mfu_profiler.capture.machine.clock_sampler import ClockSampler
from mfu_profiler.hardware.nvml import ClockSample

LONG_S = 60.0
SHORT_S = 1e-6


class Source:
    """Gives samples with time_ns 0, 1, 2, ... up to ``count``; then an empty one, or an error."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count = count
        self.error = error
        self.calls = 0
        self.closed = 0
        self.called = threading.Event()
        self.exhausted = threading.Event()

    def __call__(self) -> ClockSample:
        number, self.calls = self.calls, self.calls + 1
        self.called.set()
        if number < self.count:
            return ClockSample(time_ns=number, sm_clock_hz=1_000_000_000 + number, throttle="none")
        self.exhausted.set()
        if self.error is not None:
            raise self.error
        return ClockSample(time_ns=number)

    def close(self) -> None:
        self.closed += 1


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "clock" in thread.name]


def exhausted(sampler: ClockSampler, source: Source) -> ClockSampler:
    """The sampler after it has run to the end of its source."""
    sampler.start()
    assert source.exhausted.wait(LONG_S)
    sampler.stop()
    return sampler


def test_samples_become_columns_of_one_length_that_json_holds() -> None:
    source = Source(3)
    columns = exhausted(ClockSampler(source, SHORT_S), source).to_json()
    assert columns["time_ns"] == [0, 1, 2]
    assert columns["sm_clock_hz"] == [1_000_000_000, 1_000_000_001, 1_000_000_002]
    assert columns["throttle"] == ["none"] * 3
    assert columns["power_w"] == columns["temperature_c"] == columns["utilization_fraction"] == [None] * 3
    assert json.loads(json.dumps(columns, allow_nan=False)) == columns


def test_the_first_sample_is_taken_at_once_and_stop_does_not_wait_for_the_next() -> None:
    source = Source(10)
    sampler = ClockSampler(source, LONG_S)
    sampler.start()
    assert threads() == ["mfu_profiler clock sampler"]
    assert source.called.wait(LONG_S)
    sampler.stop()
    assert threads() == []
    assert (sampler.sample_count, source.closed) == (1, 1)
    columns = sampler.to_json()
    assert (columns["interval_ns"], columns["because"], columns["notes"]) == (60_000_000_000, None, [])
    assert 0 < columns["cost_fraction"] <= 1


def test_the_interval_is_a_tenth_of_a_second() -> None:
    assert ClockSampler(Source(1)).to_json()["interval_ns"] == 100_000_000


def test_an_error_of_the_source_ends_sampling_with_a_reason_and_goes_no_further() -> None:
    source = Source(2, RuntimeError("the driver\nis gone"))
    columns = exhausted(ClockSampler(source, SHORT_S), source).to_json()
    assert columns["time_ns"] == [0, 1]
    assert columns["because"] == "sampling ended: RuntimeError: the driver is gone"
    assert (source.calls, source.closed, threads()) == (3, 1, [])


def test_a_device_that_answers_nothing_any_more_ends_sampling() -> None:
    source = Source(2)
    sampler = exhausted(ClockSampler(source, SHORT_S), source)
    assert sampler.to_json()["because"] == "sampling ended: the device does not answer any more"
    assert (source.calls, source.closed, threads()) == (3, 1, [])


def test_when_there_are_too_many_samples_every_second_one_is_dropped_and_the_interval_doubles() -> None:
    source = Source(12)
    columns = exhausted(ClockSampler(source, SHORT_S, most_samples=8), source).to_json()
    # 0 1 2 3 4 5 6 7 -> 0 2 4 6; 0 2 4 6 8 9 10 11 -> 0 4 8 10
    assert columns["time_ns"] == [0, 4, 8, 10]
    assert columns["interval_ns"] == round(4 * SHORT_S * 1e9)
    assert columns["notes"] == ["thinned out to one sample every 4e-06 s"]


def test_while_paused_no_samples_are_taken() -> None:
    source = Source(10)
    sampler = ClockSampler(source, 0.001)
    sampler.pause()
    sampler.start()
    assert not source.called.wait(0.05)
    sampler.resume()
    assert source.called.wait(LONG_S)
    sampler.stop()
    assert sampler.sample_count >= 1


def test_without_a_source_there_is_a_reason_and_no_thread() -> None:
    sampler = ClockSampler(None, because="clocks are not read on cpu")
    sampler.start()
    assert threads() == []
    sampler.stop()
    columns = sampler.to_json()
    assert (columns["because"], columns["time_ns"]) == ("clocks are not read on cpu", [])
    assert columns["cost_fraction"] is None


def test_a_sampler_that_never_ran_gives_its_source_back_and_does_not_run_any_more() -> None:
    source = Source(10)
    sampler = ClockSampler(source)
    sampler.stop()
    sampler.start()
    sampler.stop()
    assert (source.calls, source.closed, threads()) == (0, 1, [])


def test_starting_and_stopping_twice_is_starting_and_stopping_once() -> None:
    source = Source(10)
    sampler = ClockSampler(source, LONG_S)
    sampler.start()
    sampler.start()
    assert source.called.wait(LONG_S)
    assert len(threads()) == 1
    sampler.stop()
    sampler.stop()
    sampler.start()
    assert (source.calls, source.closed, threads()) == (1, 1, [])


def test_where_no_thread_can_be_started_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    source = Source(10)
    sampler = ClockSampler(source)
    sampler.start()
    sampler.stop()
    assert sampler.to_json()["because"] == "no thread could be started: can't start new thread"
    assert (source.calls, source.closed) == (0, 1)


def test_an_error_in_closing_goes_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("closed already")

    source = Source(10)
    monkeypatch.setattr(source, "close", fail)
    sampler = ClockSampler(source, LONG_S)
    sampler.start()
    sampler.stop()
    assert sampler.to_json()["because"] == "closing failed: OSError: closed already"


def test_a_driver_that_never_answers_does_not_hold_training_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_sampler, "_LONGEST_WAIT_S", 0.01)
    is_asked, may_answer = threading.Event(), threading.Event()

    def stuck() -> ClockSample:
        is_asked.set()
        may_answer.wait(LONG_S)
        return ClockSample(time_ns=0, power_w=1.0)

    sampler = ClockSampler(stuck)
    sampler.start()
    assert is_asked.wait(LONG_S)
    sampler.stop()
    assert sampler.to_json()["because"] == "the driver did not answer; its thread was left behind"
    (left_behind,) = (thread for thread in threading.enumerate() if "clock" in thread.name)
    assert left_behind.daemon
    may_answer.set()
    left_behind.join(LONG_S)
    assert threads() == []
