"""The run of a whole script, for the ``run`` command."""

from __future__ import annotations

from mfu_profiler.capture.messages import show
from mfu_profiler.capture.run import Run

__all__ = ["ScriptRun"]


class ScriptRun(Run):
    """Gives way to a ``track`` of the script's own: its author wants those settings, and reads that run."""

    def give_way(self) -> None:
        """Ends, so that the other block may track."""
        if not self._settings.quiet:
            show(
                "mfu_profiler: the script calls track() itself; that is used, and the options of run are not"
            )
        self._close(None, is_quiet=True)
