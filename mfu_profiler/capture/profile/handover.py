"""From an exported trace to a report, in a process of its own, so that training goes on.

::

    training process          │ Popen: python -m mfu_profiler finish-live ...
      raw .json + live .json ─┼──> splice, compress, rename        (trace.json.gz)
      waiter thread           │    analyse, write JSON and page    (report.json, report.html)
      prints the report  <────┼─── report as text on its stdout
                              │    draw pictures for TensorBoard
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfu_profiler.capture.messages import warn
from mfu_profiler.errors import TraceFormatError
from mfu_profiler.trace.live_file import write_live_trace

__all__ = ["Finisher", "TraceFiles"]

_LONGEST_ERROR = 400
# Ctrl-C is meant for the training. Not a session of its own where a group will do: Linux gives each session
# an equal share of the cores, whatever its niceness (autogroup): on two cores a step took a second.
_GROUP_OF_ITS_OWN: dict[str, Any] = (
    {"process_group": 0} if sys.version_info >= (3, 11) else {"start_new_session": True}
)


@dataclass(frozen=True, slots=True)
class TraceFiles:
    """Where one run keeps its files; the hidden ones last only until the trace is written."""

    folder: Path
    stem: str
    """``<worker>.<ns>``, as torch-tb-profiler finds it."""

    @property
    def trace(self) -> Path:
        """The trace; whole, or not there."""
        return self.folder / f"{self.stem}.pt.trace.json.gz"

    @property
    def report(self) -> Path:
        """The report as JSON."""
        return self.folder / f"{self.stem}.report.json"

    @property
    def page(self) -> Path:
        """The report as a page."""
        return self.folder / f"{self.stem}.report.html"

    @property
    def tensorboard(self) -> Path:
        """A folder of its own: TensorBoard takes all event files of one folder for one run."""
        return self.folder / self.stem

    @property
    def raw(self) -> Path:
        """What torch exported."""
        return self.folder / f".{self.stem}.raw.json"

    @property
    def live(self) -> Path:
        """What only the live process knows."""
        return self.folder / f".{self.stem}.live.json"


class Finisher:
    """Writes the trace and makes the report in another process; ``wait`` for it when it is needed."""

    def __init__(
        self, files: TraceFiles, *, wants_report: bool, wants_views: bool, show: Callable[[str], None]
    ) -> None:
        """Start nothing yet.

        Args:
            files: where all goes.
            wants_report: as JSON and as text.
            wants_views: the report also as a page and for TensorBoard.
            show: called with the report's text, in a thread of its own.

        """
        self._files = files
        self._wants_report = wants_report
        self._wants_views = wants_report and wants_views
        self._show = show
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[str] | None = None
        self.failed_because: str | None = None
        """Why there is no report; None where there is one, or none was wanted."""

    def start(self, live: Mapping[str, Any]) -> None:
        """Hand the exported file over.

        Raises:
            OSError: the live facts cannot be written.

        """
        self._files.live.write_text(json.dumps(live, allow_nan=False), encoding="utf-8")
        try:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=_environment(),
                cwd=self._files.folder,  # -m looks for modules there first: no queue.py of the user's
                **_GROUP_OF_ITS_OWN,
            )
        except (OSError, RuntimeError, TypeError, ValueError) as error:  # no executable, no fork at exit
            self._write_here(live)
            self._fail(f"no process for the report could be started: {error}")
            return
        self._thread = threading.Thread(
            target=self._listen, args=(live,), name="mfu_profiler report", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:  # no more threads, as at the exit of some Pythons: wait here
            self._thread = None
            self._listen(live)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether trace and report are done, after waiting for them at most so long."""
        if self._thread is not None:
            self._thread.join(timeout_s)
            return not self._thread.is_alive()
        return True

    def _command(self) -> list[str]:
        files = self._files
        command = [*_politely(), sys.executable, "-m", "mfu_profiler", "finish-live"]
        command += [str(files.raw), str(files.live), str(files.trace)]
        if self._wants_report:
            command += ["--json", str(files.report)]
        if self._wants_views:
            command += ["--html", str(files.page), "--tensorboard", str(files.tensorboard)]
        return command

    def _listen(self, live: Mapping[str, Any]) -> None:
        process = self._process
        assert process is not None
        text, errors = process.communicate()
        if process.returncode != 0 and self._wants_report and self._files.report.exists():
            warn(
                "the report is there, but not all of its views: their process ended with %d",
                process.returncode,
            )
        elif process.returncode != 0:
            self._write_here(live)
            self._fail(errors.strip()[-_LONGEST_ERROR:] or f"its process ended with {process.returncode}")
        elif errors.strip():
            warn("%s", errors.strip()[-_LONGEST_ERROR:])
        if text.strip():
            with suppress(Exception):  # a closed stdout of the training is no reason to fail in this thread
                self._show(text)

    def _fail(self, because: str) -> None:
        self.failed_because = because
        kept = next((path for path in (self._files.trace, self._files.raw) if path.exists()), None)
        where = f"; the trace is kept: {kept}" if kept is not None else ""
        warn("no report: %s%s", because, where)

    def _write_here(self, live: Mapping[str, Any]) -> None:
        """Where the second process did not do it, at least the trace; a full disk keeps what torch wrote."""
        with suppress(OSError, TraceFormatError):
            if not self._files.trace.exists():
                write_live_trace(self._files.raw, dict(live), self._files.trace)
            self._files.raw.unlink(missing_ok=True)
            self._files.live.unlink(missing_ok=True)


def _politely() -> list[str]:
    """From its very start the second process leaves the cores to the training, where that can be had."""
    nice = shutil.which("nice")
    return [nice, "-n", "10"] if nice is not None else []


def _environment() -> dict[str, str]:
    """The training's environment, where this package is found first and nothing touches its devices."""
    root = str(Path(__file__).parents[3])
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    paths = [root, *map(os.path.abspath, given)]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(paths),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
