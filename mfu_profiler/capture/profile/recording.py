"""The profiled window: torch's profiler from its warm-up to the exported file.

``torch.profiler._KinetoProfile`` is the documented low-level profiler: it records exactly between
``start_trace`` and ``stop_trace``, where ``torch.profiler.profile`` would stop by itself inside ``step()``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch._C._autograd import _profiler_enabled
from torch.autograd import profiler as autograd_profiler
from torch.profiler import ProfilerAction, ProfilerActivity, record_function
from torch.profiler.profiler import _KinetoProfile

from mfu_profiler.capture.observe.discover import instances_of
from mfu_profiler.capture.profile.host_memory import available_byte, resident_byte
from mfu_profiler.capture.settings import Settings
from mfu_profiler.trace.host_calls import EVALUATION_MARK

__all__ = ["LONGEST_WINDOW_NS", "Recording", "a_profiler_records", "another_profiler_runs", "memory_short"]

LONGEST_WINDOW_NS = 60 * 10**9
"""A profiled window ends early after this, ..."""
MOST_GROWTH_BYTE = 2 * 2**30
"""... or once the process has grown by this, or by a quarter of what the host had left: torch's profiler does
not tell how many events it holds, but each takes one to two KB, so this is a cap at some million."""
_CHECK_NS = 50 * 10**6
"""Between two looks at the memory, of which each takes some 20 µs."""
LEAST_FREE_BYTE = 512 * 2**20
"""Device memory that must be free before CUPTI is asked for its buffers (3 MiB each, up to 250)."""

_ACTIVITIES = {"cuda": "CUDA", "xpu": "XPU"}


def another_profiler_runs() -> bool:
    """Whether somebody else is profiling in this process, or warming up; Kineto serves one at a time.

    A profiler that warms up is told by nothing but its object. To prepare ours then would take Kineto's
    session away from it, and the process ends by a segmentation fault when it stops (torch 2.13).
    """
    return a_profiler_records() or _another_warms_up()


def a_profiler_records() -> bool:
    """Whether one does at this moment, ours or another."""
    return _profiler_enabled() or autograd_profiler._is_profiler_enabled


def _another_has_session() -> bool:
    return autograd_profiler._is_profiler_enabled or _another_warms_up()


def _another_warms_up() -> bool:
    plain: list[Any] = instances_of(autograd_profiler.profile)
    if any(getattr(one, "entered", False) and getattr(one, "kineto_results", 0) is None for one in plain):
        return True
    scheduled: list[Any] = instances_of(torch.profiler.profile)
    return any(  # with acc_events one object serves all cycles, and keeps the results of the last
        getattr(one, "acc_events", False) and getattr(one, "current_action", None) is ProfilerAction.WARMUP
        for one in scheduled
    )


def memory_short(device: torch.device) -> str | None:
    """Why profiling could run this device out of memory; None where it has room."""
    if device.type not in _ACTIVITIES:
        return None
    with suppress(Exception):  # an old driver that does not tell is no reason not to profile
        free, _ = getattr(torch, device.type).mem_get_info(device)
        if free < LEAST_FREE_BYTE:
            return f"only {free / 2**20:.0f} MiB of device memory are free, and the profiler needs some"
    return None


class Recording:
    """One profiled window. ``prepare``, ``start``, ``mark`` for each step, ``stop``, ``export``."""

    def __init__(self, device: torch.device, settings: Settings, on_intruder: Callable[[], None]) -> None:
        """Args: on_intruder: called when somebody else starts a profiler; must end this recording."""
        activities = [ProfilerActivity.CPU]
        if device.type in _ACTIVITIES:
            activities.append(getattr(ProfilerActivity, _ACTIVITIES[device.type]))
        self._profiler = _KinetoProfile(
            activities=activities,
            record_shapes=True,
            with_stack=settings.with_stack,
            profile_memory=settings.profile_memory,
        )
        self._intruders = _IntruderWatch(self._profiler, on_intruder)
        self._mark: Any = None
        self._evaluates = False
        self.is_started = False
        self.started_ns = 0
        self._growth = _Growth()
        self.is_stopped = False
        self._is_exported = False
        self.thread: threading.Thread | None = None
        """Which one is recorded. Only it can end the recording: another one would stop nothing, and to export
        nothing is a segmentation fault (torch 2.13)."""
        self.is_taken = False
        """Whether somebody else's profiler has taken Kineto's session from this one."""

    def prepare(self) -> None:
        """The profiler's own warm-up: what it records until ``start`` is dropped."""
        self._profiler.prepare_trace()
        self._intruders.start()

    def start(self) -> None:
        """From here on everything is recorded."""
        self._profiler.start_trace()
        self._growth = _Growth()
        self.is_started, self.started_ns = True, time.time_ns()
        self.thread = threading.current_thread()

    @property
    def is_here(self) -> bool:
        """Whether this is the thread that can end it."""
        return self.thread in (None, threading.current_thread())

    @property
    def may_stop(self) -> bool:
        """Whether it can be ended here and now, and the session is not another's."""
        return self.is_here and not (self.is_taken and _another_has_session())

    def mark(self, step: int) -> None:
        """A step begins, and the one before it ends."""
        self._close_mark()
        self._evaluates = False
        self._mark = record_function(f"ProfilerStep#{step}")
        self._mark.__enter__()

    def mark_evaluation(self) -> None:
        """The step is over, and the next one has not begun."""
        if not self._evaluates:
            self._close_mark()
            self._evaluates, self._mark = True, record_function(EVALUATION_MARK)
            self._mark.__enter__()

    def is_long(self, now_ns: int) -> bool:
        """Whether the window has lasted longer than a trace should."""
        return self.is_started and now_ns - self.started_ns > LONGEST_WINDOW_NS

    def is_large(self, now_ns: int) -> bool:
        """Whether the process has grown by as much as a recording may hold."""
        return self.is_started and self._growth.is_too_large(now_ns)

    def stop(self) -> None:
        """End the recording; waits for the device, as the profiler always does."""
        if self.is_stopped:
            return
        self.is_stopped = True
        self._intruders.stop()
        self._close_mark()
        if not self.is_started:  # Kineto wants a warm-up to be followed by a trace
            self._profiler.start_trace()
        elif self.is_taken:  # to stop without a session is a crash, too
            self._own._prepare_trace()
        self._profiler.stop_trace()

    def give_up(self) -> None:
        """It cannot be ended from here; as far as torch's Python code knows, it is over."""
        self.is_taken = True
        self._intruders.stop()
        stopped: Any = autograd_profiler._run_on_profiler_stop
        stopped()
        self._own.entered = False

    def export(self, path: Path) -> None:
        """Write what was recorded as plain JSON; torch can do so once."""
        if not self._is_exported:  # else an earlier call was interrupted
            self._is_exported = True
            self._profiler.export_chrome_trace(str(path))

    def let_go(self) -> None:
        """Free what was recorded: takes torch as long as to export it, and nothing else runs meanwhile."""
        self._profiler.profiler = None

    @property
    def _own(self) -> Any:
        return self._profiler.profiler

    def _close_mark(self) -> None:
        if self._mark is not None:
            mark, self._mark = self._mark, None
            mark.__exit__(None, None, None)


class _Growth:
    """By how much this process has grown since now."""

    def __init__(self) -> None:
        self._before_byte = resident_byte()
        available = available_byte()
        self._most_byte = MOST_GROWTH_BYTE if available is None else min(MOST_GROWTH_BYTE, available // 4)
        self._checked_ns = 0

    def is_too_large(self, now_ns: int) -> bool:
        if self._before_byte is None or now_ns - self._checked_ns < _CHECK_NS:
            return False
        self._checked_ns = now_ns
        resident = resident_byte()
        return resident is not None and resident - self._before_byte > self._most_byte


class _IntruderWatch:
    """Gives way to a profiler that the user starts while ours runs, which would fail otherwise."""

    _METHODS = ("_prepare_trace", "_start_trace")

    def __init__(self, own: _KinetoProfile, on_intruder: Callable[[], None]) -> None:
        self._own = own
        self._on_intruder = on_intruder
        self._is_watching = False
        self._wrapped: dict[str, tuple[Any, Any]] = {}

    def start(self) -> None:
        self._is_watching = True
        for name in self._METHODS:
            original = getattr(autograd_profiler.profile, name)
            wrapper = self._wrapper(original)
            self._wrapped[name] = (original, wrapper)
            setattr(autograd_profiler.profile, name, wrapper)

    def stop(self) -> None:
        self._is_watching = False
        for name, (original, wrapper) in self._wrapped.items():
            if getattr(autograd_profiler.profile, name) is wrapper:  # else somebody wrapped ours: it is inert
                setattr(autograd_profiler.profile, name, original)
        self._wrapped.clear()

    def _wrapper(self, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def gives_way(profiler: Any) -> Any:
            if self._is_watching and profiler is not self._own.profiler:
                self._on_intruder()
            return original(profiler)

        return gives_way
