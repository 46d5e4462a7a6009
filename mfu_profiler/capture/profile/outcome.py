"""What a session leaves behind: the trace, the report, and one closing line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mfu_profiler.analysis import Report
from mfu_profiler.capture.messages import show, warn
from mfu_profiler.capture.profile.handover import Finisher, TraceFiles
from mfu_profiler.capture.settings import Settings

__all__ = ["Outcome"]

LONGEST_WAIT_S = 300.0
"""The end of a block waits so long for its report; a million events take some seconds."""


class Outcome:
    """The files of one session, from the exported trace on."""

    def __init__(self, files: TraceFiles, settings: Settings, *, is_shown: bool) -> None:
        """Args: is_shown: whether this process prints (of several ranks only the first does)."""
        self._files = files
        self._mode = settings.report
        self._live: Mapping[str, Any] | None = None
        self._report: Report | None = None
        self._finisher = Finisher(
            files,
            wants_report=settings.report != "never",
            wants_views=settings.out is not None,
            show=(lambda text: show(f"\n{text}")) if is_shown else (lambda text: None),
        )
        self._is_started = False

    def hand_over(self, live: Mapping[str, Any]) -> None:
        """The raw trace is written: make the report now, or keep the facts until the end."""
        self._live = live
        if self._mode != "exit":
            self._start()

    def write_without_profile(self, trace: Mapping[str, Any], live: Mapping[str, Any]) -> None:
        """A block too short for a profile: its step marks and facts.

        Raises:
            OSError: it cannot be written.

        """
        self._files.raw.write_text(json.dumps(trace), encoding="utf-8")
        self.hand_over(live)

    def close(self) -> None:
        """The block is over: make the report if that was left for the end, and wait for it."""
        if self._live is not None and not self._is_started:
            self._start()
        if not self._finisher.wait(LONGEST_WAIT_S):
            warn("the report takes longer than %d s; it will be %s", LONGEST_WAIT_S, self._files.report)

    @property
    def trace_path(self) -> Path | None:
        """The trace, once it is whole; waits for that if it is on its way."""
        if self._is_started and not self._files.trace.exists():
            self._finisher.wait(LONGEST_WAIT_S)
        return self._files.trace if self._files.trace.exists() else None

    @property
    def page_path(self) -> Path | None:
        """The report as a page, where it is written."""
        return self._files.page if self._files.page.exists() else None

    @property
    def report(self) -> Report | None:
        """The report; waits for it if it is on its way. None where there is none."""
        if self._report is None and self._is_started and self._finisher.wait(LONGEST_WAIT_S):
            self._report = self._read()
        return self._report

    @property
    def report_if_ready(self) -> Report | None:
        """The report, without waiting."""
        if self._report is None and self._is_started and self._finisher.wait(0):
            self._report = self._read()
        return self._report

    def _start(self) -> None:
        if self._live is not None:
            self._is_started = True
            self._finisher.start(self._live)

    def _read(self) -> Report | None:
        try:
            content = self._files.report.read_bytes()
        except OSError:
            return None
        several = msgspec.json.decode(content).get("reports")
        if several is not None:  # a process with several devices: its first
            return msgspec.convert(several[0], Report) if several else None
        return msgspec.json.decode(content, type=Report)
