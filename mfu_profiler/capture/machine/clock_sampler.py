"""How the device ran, sampled ten times a second by a thread beside training.

::

    training thread   |--- timed steps ---|-- evaluation --|--- profiled steps ---|
    sampler           ^    ^    ^    ^    ^     paused     ^    ^    ^    ^    ^

Almost all of a sample is driver calls, which hold neither Python's lock nor the device.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from mfu_profiler.hardware.nvml import ClockSample

__all__ = ["ClockSampler"]

_MOST_SAMPLES = 36_000
"""An hour at 10 Hz, some megabytes of JSON before compression."""

_LONGEST_WAIT_S = 5.0
"""For a driver call in progress when sampling ends. A lost GPU may never answer."""


class ClockSampler:
    """Samples from ``start`` to ``stop``, except from ``pause`` to ``resume``; used once.

    Errors of the source end sampling with a reason and go no further.

    Args:
        source: takes one sample, in the sampling thread; None where there is nothing to sample. Its
            ``close``, where it has one, is called once after the last sample, whatever happens.
        interval_s: from one sample to the next.
        because: why ``source`` is None.
        most_samples: kept; when there are as many, every second one is dropped and the interval doubles.

    """

    def __init__(
        self,
        source: Callable[[], ClockSample] | None,
        interval_s: float = 0.1,
        *,
        because: str | None = None,
        most_samples: int = _MOST_SAMPLES,
    ) -> None:
        self._source = source
        self._interval_s = interval_s
        self._close: Callable[[], None] | None = getattr(source, "close", None)
        self._because = because
        self._most_samples = most_samples

        self._samples: list[ClockSample] = []
        self._thread: threading.Thread | None = None
        self._process: int | None = None
        self._stopping = threading.Lock()
        """Held while sampling is wanted: waiting for a bare lock costs no Python code, unlike an Event."""
        self._is_paused = False
        self._cost_fraction: float | None = None
        self._notes: list[str] = []

    @property
    def sample_count(self) -> int:
        """Samples kept so far."""
        return len(self._samples)

    def start(self) -> None:
        """Begin to sample, once. Where no thread can be started there are no samples, and a reason."""
        if self._source is None or self._process is not None:
            return
        self._process = os.getpid()
        self._stopping.acquire()
        thread = threading.Thread(target=self._run, name="mfu_profiler clock sampler", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._because = f"no thread could be started: {error}"
            self._give_back()
        else:
            self._thread = thread

    def pause(self) -> None:
        """Take no samples until ``resume``."""
        self._is_paused = True

    def resume(self) -> None:
        """Take samples again, the next within an interval."""
        self._is_paused = False

    def stop(self) -> None:
        """End sampling and wait until the thread is gone and the source closed."""
        if self._process is None:
            self._process = os.getpid()  # never started, and not to be started any more
            self._give_back()
        thread, self._thread = self._thread, None
        if thread is None or os.getpid() != self._process:  # a forked child has no such thread
            return
        self._stopping.release()
        thread.join(_LONGEST_WAIT_S)
        if thread.is_alive():
            self._because = "the driver did not answer; its thread was left behind"

    def to_json(self) -> dict[str, Any]:
        """The samples so far as the trace's ``clocks``: columns with one entry a sample, None where not read.

        ``because`` says why there are none, or why sampling ended before ``stop``; ``notes`` how samples
        were thinned out.
        """
        samples = list(self._samples)
        return {
            "interval_ns": round(self._interval_s * 1e9),
            "time_ns": [sample.time_ns for sample in samples],
            "sm_clock_hz": [sample.sm_clock_hz for sample in samples],
            "power_w": [sample.power_w for sample in samples],
            "temperature_c": [sample.temperature_c for sample in samples],
            "utilization_fraction": [sample.utilization_fraction for sample in samples],
            "throttle": [sample.throttle for sample in samples],
            "cost_fraction": self._cost_fraction,
            "because": self._because,
            "notes": list(self._notes),
        }

    def _run(self) -> None:
        try:
            self._sample_until_stopped()
        except Exception as error:  # a driver may raise anything; the run goes on, the report says it
            text = " ".join(str(error).split())
            self._because = f"sampling ended: {type(error).__name__}: {text}"
        finally:
            self._give_back()

    def _sample_until_stopped(self) -> None:
        """Samples, with the processor time of this thread so far over the time that has passed."""
        start_ns, start_cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        is_wanted = True
        while is_wanted:
            if not self._is_paused and not self._take_one():
                self._because = "sampling ended: the device does not answer any more"
                return
            is_wanted = not self._stopping.acquire(timeout=self._interval_s)
            wall_ns = time.monotonic_ns() - start_ns
            if wall_ns:
                self._cost_fraction = (time.thread_time_ns() - start_cpu_ns) / wall_ns

    def _take_one(self) -> bool:
        """One sample more; False where it says nothing."""
        assert self._source is not None
        sample = self._source()
        if sample.is_empty:
            return False
        self._samples.append(sample)
        if len(self._samples) >= self._most_samples:
            self._samples = self._samples[::2]
            self._interval_s *= 2
            self._notes = [f"thinned out to one sample every {self._interval_s:g} s"]
        return True

    def _give_back(self) -> None:
        """Close the source, once; an error in it concerns nobody any more but the reader of ``because``."""
        close, self._close = self._close, None
        if close is None:
            return
        try:
            close()
        except Exception as error:  # likewise
            self._because = self._because or f"closing failed: {type(error).__name__}: {error}"
