"""What a session has once it knows its device: clocks, the profiled window, and where the outcome goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from mfu_profiler.capture.machine.clocks import Clocks
from mfu_profiler.capture.machine.device_clock import DeviceClock
from mfu_profiler.capture.machine.surroundings import device_of, surroundings_of
from mfu_profiler.capture.messages import warn
from mfu_profiler.capture.observe.data_waits import DataWaits
from mfu_profiler.capture.profile.outcome import Outcome
from mfu_profiler.capture.profile.profiling import Prepared, Profiling
from mfu_profiler.capture.settings import Settings

__all__ = ["MakeFacts", "Window"]


MakeFacts = Callable[[dict[str, Any] | None, dict[str, Any] | None], Mapping[str, Any]]
"""(Clock samples, stack samples) -> live facts."""


class Window:
    """The profiled window of one session on one device, from its preparation to the file it leaves."""

    def __init__(self, model: nn.Module | None, settings: Settings, on_intruder: Callable[[], None]) -> None:
        """Looks around: device, peak, rank, folder. On a CPU this measures its peak, once per machine."""
        self.surroundings = place = surroundings_of(model, settings)
        self.outcome: Outcome | None = None
        """None where nothing can be written."""
        if place.files is not None:
            self.outcome = Outcome(place.files, settings, is_shown=place.is_first_rank and not settings.quiet)
        self.device_clock = DeviceClock(place.device) if place.has_device_clock else None
        self.clocks = Clocks(place.live)
        self.data_waits = DataWaits()
        self.profiling = Profiling(place.device, settings, on_intruder)

    def is_elsewhere(self, model: nn.Module | None) -> bool:
        """Whether the model is on another device than it was."""
        return model is not None and device_of(model) != self.surroundings.device

    def prepare(self) -> Prepared:
        """Warm the profiler up, where its trace can be written."""
        return "never" if self.outcome is None else self.profiling.prepare()

    def hand_over(self, make_facts: MakeFacts) -> None:
        """Export what was recorded, and let another process report on it."""
        stacks = self.profiling.stop()
        if not self.profiling.is_active:
            return
        facts = make_facts(self.clocks.stop(), stacks)
        files = self.surroundings.files
        if self.outcome is None or files is None:
            self.profiling.drop()
            return
        try:
            self.profiling.export(files.raw)
            self.outcome.hand_over(facts)
        except (OSError, RuntimeError) as error:
            self._not_written(error)

    def write_without_profile(self, trace: Mapping[str, Any], make_facts: MakeFacts) -> None:
        """The trace of a block that was never profiled: its step marks and facts."""
        self.profiling.drop()
        facts = make_facts(self.clocks.stop(), None)
        if self.outcome is not None:
            try:
                self.outcome.write_without_profile(trace, facts)
            except OSError as error:
                self._not_written(error)

    def release(self) -> None:
        """Stop whatever still runs."""
        self.profiling.drop()
        self.profiling.let_go()
        self.clocks.stop()
        self.data_waits.stop()

    def _not_written(self, error: Exception) -> None:
        warn("no trace: it cannot be written: %s", error)
        self.profiling.drop()
        self.outcome = None
        if self.surroundings.files is not None:
            self.surroundings.files.raw.unlink(missing_ok=True)
