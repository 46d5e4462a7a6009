"""The profiled window of a session: torch's profiler and the stack sampler, and why they may not run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

from mfu_profiler.capture.messages import warn
from mfu_profiler.capture.profile.recording import Recording, another_profiler_runs, memory_short
from mfu_profiler.capture.profile.stack_sampler import StackSampler
from mfu_profiler.capture.settings import Settings

__all__ = ["Prepared", "Profiling"]


Prepared = Literal["ready", "later", "never"]
MOST_KEPT_BYTE = 64 * 2**20
"""An exported recording of at most this size (as JSON) stays in memory, some eight times as large, to the end
of the block: torch takes as long to free it as to export it. (Freed memory stays with the process anyway.)"""
LONGEST_WAIT_S = 5.0
"""Another thread waits so long for the recorded one to end the recording; that one may wait for this."""


class Profiling:
    """Records a stretch of steps once."""

    def __init__(self, device: torch.device, settings: Settings, on_intruder: Callable[[], None]) -> None:
        """Args: on_intruder: called when the user starts a profiler; must hand over what there is."""
        self._device = device
        self._settings = settings
        self._on_intruder = on_intruder
        self._recording: Recording | None = None
        self._exported: Recording | None = None
        self._sampler: StackSampler | None = None
        self.first_step: int | None = None
        self.last_step: int | None = None
        self.notes: list[str] = []
        self._unwanted_because: str | None = None

    @property
    def is_recording(self) -> bool:
        """Whether there is a recording that has begun and has not been exported."""
        recording = self._recording
        return recording is not None and recording.is_started and not recording.is_taken

    @property
    def is_active(self) -> bool:
        """Whether torch's profiler is ours at the moment, warming up included."""
        return self._recording is not None

    @property
    def is_here(self) -> bool:
        """Whether this thread can end the recording: only the recorded one can."""
        return self._recording is None or self._recording.is_here

    def prepare(self) -> Prepared:
        """Warm the profiler up; ``later`` while another one runs."""
        if another_profiler_runs():
            self._note("another profiler is running; ours waits for it")
            return "later"
        short = memory_short(self._device)
        if short is not None:
            self._note(f"nothing is profiled: {short}")
            return "never"
        recording = Recording(self._device, self._settings, self._on_intruder)
        try:
            recording.prepare()
        except RuntimeError as error:  # Kineto says so of what it cannot do
            self._note(f"nothing is profiled: the profiler does not start: {_first_line(error)}")
            return "never"
        self._recording = recording
        return "ready"

    def begin_step(self, step: int) -> bool:
        """Mark a profiled step, the first of which starts the recording; False where that fails."""
        recording = self._recording
        if recording is None:
            return False
        if not recording.is_started:
            try:
                recording.start()
            except RuntimeError as error:
                self._note(f"nothing is profiled: the profiler does not start: {_first_line(error)}")
                self.drop()
                return False
            self.first_step = step
            self._sampler = StackSampler(threading.get_ident())
            self._sampler.start()
        if recording.is_here:
            recording.mark(step)
            self.last_step = step
        return True

    def begin_evaluation(self) -> None:
        """Evaluation between two steps belongs to neither."""
        recording = self._recording
        if recording is not None and recording.is_started and recording.is_here:
            recording.mark_evaluation()

    def cut_because(self, now_ns: int) -> str | None:
        """Why the window must end at once, however few steps it holds; None where it need not."""
        recording = self._recording
        if recording is None or not recording.is_here or recording.is_taken:
            return None
        if recording.is_long(now_ns):
            return "it had lasted a minute"
        if recording.is_large(now_ns):
            return "it had grown too large for the host's memory"
        return self._unwanted_because

    def end_elsewhere(self, because: str) -> None:
        """Have the recorded thread end the recording, and wait for that; in vain, give the recording up."""
        self._unwanted_because = because
        recording, limit_s = self._recording, time.monotonic() + LONGEST_WAIT_S
        while recording is not None and self._recording is recording and time.monotonic() < limit_s:
            if recording.thread is None or not recording.thread.is_alive():
                break
            time.sleep(0.005)
        if recording is not None and self._recording is recording:
            recording.give_up()
            if self._sampler is not None:
                self._sampler.stop()
            self.first_step = None
            self._note(f"the profiled window is lost: {because}, and the profiled thread did not end it")

    def stop(self) -> dict[str, Any] | None:
        """End the recording, which is lost where that fails; returns the stack samples as JSON."""
        if self._sampler is not None:
            self._sampler.stop()
        recording = self._recording
        try:
            if recording is not None:
                recording.stop()
        except RuntimeError as error:
            if self.is_recording:  # else it did not start either, which is said already
                self._note(f"nothing is profiled: the profiler does not stop: {_first_line(error)}")
            self._recording = self.first_step = None
        return None if self._sampler is None else self._sampler.to_json()

    def export(self, path: Path) -> None:
        """Write what was recorded, and keep it in memory until ``let_go`` where it is small.

        Raises:
            OSError, RuntimeError: it cannot be written.

        """
        if self._recording is not None:
            self._recording.export(path)
            self._exported, self._recording = self._recording, None
            size_byte = path.stat().st_size if path.exists() else 0
            if not 0 < size_byte <= MOST_KEPT_BYTE:
                self.let_go()
            if not size_byte:
                raise OSError(f"torch wrote no trace to {path}")  # Kineto only logs a full disk

    def let_go(self) -> None:
        """Free what was exported; the training is over, or can no longer be spared the time."""
        if self._exported is not None:
            self._exported.let_go()
            self._exported = None

    def drop(self) -> None:
        """End without a trace: tracking ends, or the block ended while the profiler was warming up."""
        recording = self._recording
        if recording is None or not recording.may_stop:
            return
        self.stop()
        self._recording = None

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            warn("%s", text)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
