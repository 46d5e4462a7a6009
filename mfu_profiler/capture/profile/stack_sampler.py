"""Where in the code: the Python stack of one thread, looked at 150 times a second from another.

::

    sampled thread   |--forward--|---.item()---|--forward--|--- ...
    sampler           ^    ^   ^     ^    ^  ^     ^   ^     one entry each of time_ns and stack

Unlike with_stack, which records every call, this costs the training thread only the moments in which the
sampler holds the GIL: about 2 % of the time of pure Python code, half of it for handing the GIL over twice
(``tests/benchmarks/test_stack_sampler_cost.py``). They fall unevenly: a sample is taken where the thread
gives the GIL up, which is at once in a wait, and within 5 ms (``sys.getswitchinterval``) in pure Python code.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from array import array
from random import Random
from types import FrameType
from typing import Any

__all__ = ["StackSampler"]

_MOST_DEPTH = 64
"""Frames kept of a stack, the innermost: the user's line is near them, the launcher of the script is not."""
_MOST_STACK_ENTRIES = 1_000_000
"""Frames kept over all different stacks, about 10 MB."""


class StackSampler:
    """Samples the stack of one thread from ``start`` to ``stop``; used once.

    It holds no frame or code object after a sample is taken: a frame would keep the locals of the
    training loop alive, and with them device memory.

    Args:
        thread_ident: ``threading.get_ident()`` of the thread to sample.
        hertz: samples per second on average; the intervals vary, so as not to keep step with training steps.
        most_samples: sampling ends here (5 minutes at 150 Hz).
        native_id: what the operating system (and so the trace) calls that thread, for one that was not
            started by ``threading``.

    """

    def __init__(
        self,
        thread_ident: int,
        hertz: float = 150.0,
        most_samples: int = 50_000,
        *,
        native_id: int | None = None,
    ) -> None:
        self._ident = thread_ident
        self._hertz = hertz
        self._most_samples = most_samples
        self._sampled = next((one for one in threading.enumerate() if one.ident == thread_ident), None)
        if native_id is None and self._sampled is not None:
            native_id = self._sampled.native_id
        self._native_id = native_id

        self._thread: threading.Thread | None = None
        self._process: int | None = None
        self._running = threading.Lock()
        """Held while sampling is wanted. A bare lock, since an Event wakes through Python code of its own."""

        self._frames: dict[tuple[str, int, str], int] = {}
        self._stacks: dict[tuple[int, ...], int] = {}
        self._stack_entries = 0
        self._time_ns = array("q")
        self._stack = array("q")
        self._cost_fraction: float | None = None
        self._because: str | None = None

    @property
    def sample_count(self) -> int:
        """Samples taken so far."""
        return len(self._stack)

    def start(self) -> None:
        """Begin to sample. Where no thread can be started there will be no samples, and a reason."""
        self._running.acquire()
        self._process = os.getpid()
        thread = threading.Thread(target=self._run, name="mfu_profiler stack sampler", daemon=True)
        self._thread = thread  # at once: after a Ctrl-C in the next line it can be stopped
        try:
            thread.start()
        except RuntimeError as error:
            self._thread = None
            self._because = f"no thread could be started: {error}"

    def stop(self) -> None:
        """End sampling and wait until the thread is gone; nothing where there is none (any more)."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if os.getpid() != self._process:  # a forked child: the thread was not copied, its locks were
            self._because = "the process was forked"
            return
        self._running.release()
        thread.join()

    def to_json(self) -> dict[str, Any]:
        """The samples as the trace's ``stacks``; ends sampling if it still runs.

        ``frames`` are texts as Kineto writes them, ``path(line): function``, with the line that was being
        executed. ``stacks`` are indices into them, innermost first. ``time_ns`` (Unix epoch) and ``stack``
        have one entry a sample. ``because`` says why sampling ended before ``stop``.
        """
        self.stop()
        return {
            "hertz": self._hertz,
            "thread": None if self._native_id is None else str(self._native_id),
            "frames": [_text(*frame) for frame in self._frames],
            "stacks": [list(stack) for stack in self._stacks],
            "time_ns": self._time_ns.tolist(),
            "stack": self._stack.tolist(),
            "cost_fraction": self._cost_fraction,
            "because": self._because,
        }

    def _run(self) -> None:
        start_ns, start_cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        try:
            self._because = self._sample_until_stopped()
        except Exception as error:  # a thread of ours never shows in the training; the report says it
            self._because = f"sampling failed: {type(error).__name__}: {error}"
        self._sampled = None
        wall_ns = time.monotonic_ns() - start_ns
        self._cost_fraction = (time.thread_time_ns() - start_cpu_ns) / wall_ns if wall_ns else None

    def _sample_until_stopped(self) -> str | None:
        """Why sampling ended early; None if it was asked to."""
        chance = Random(0)  # of its own: the global one is the user's
        due_s = time.monotonic()
        while True:
            because = self._sample()
            if because is not None:
                return because
            due_s = max(due_s + (0.5 + chance.random()) / self._hertz, time.monotonic())
            if self._running.acquire(timeout=max(0.0, due_s - time.monotonic())):
                return None

    def _sample(self) -> str | None:
        """One sample, or why there can be no more."""
        frame = _current_frame(self._ident)
        now_ns = time.time_ns()
        if frame is None or (self._sampled is not None and not self._sampled.is_alive()):
            return "the sampled thread ended"  # a new thread may bear its ident already
        indices: list[int] = []
        while frame is not None and len(indices) < _MOST_DEPTH:
            code = frame.f_code
            line = code.co_firstlineno if frame.f_lineno is None else frame.f_lineno
            # Names, not the code object: equal code objects may come from different files.
            key = (code.co_filename, line, code.co_name)
            indices.append(self._frames.setdefault(key, len(self._frames)))
            frame = frame.f_back
        self._keep(now_ns, tuple(indices))
        if len(self._stack) >= self._most_samples or self._stack_entries >= _MOST_STACK_ENTRIES:
            return f"sampling ended after {len(self._stack)} samples: the most that are kept"
        return None

    def _keep(self, time_ns: int, stack: tuple[int, ...]) -> None:
        index = self._stacks.get(stack)
        if index is None:
            index = self._stacks[stack] = len(self._stacks)
            self._stack_entries += len(stack)
        self._time_ns.append(time_ns)
        self._stack.append(index)


def _current_frame(thread_ident: int) -> FrameType | None:
    """The frame that a thread is in.

    Before Python 3.12 a garbage collection that begins inside ``sys._current_frames`` and frees a
    ``threading.local`` waits for a lock that the same thread holds: the process stands still for ever
    (python/cpython#106883).
    """
    if sys.version_info >= (3, 12) or not gc.isenabled():
        return sys._current_frames().get(thread_ident)
    gc.disable()
    try:
        return sys._current_frames().get(thread_ident)
    finally:
        gc.enable()


def _text(path: str, line: int, function: str) -> str:
    """As Kineto writes it; bytes of a path that are no text as their escapes, which JSON can hold."""
    return f"{path}({line}): {function}".encode("utf-8", "backslashreplace").decode()
