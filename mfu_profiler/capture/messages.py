"""What is said while training runs: warnings by ``logging``, reports and the closing line on stderr."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

__all__ = ["show", "warn"]

_LOG = logging.getLogger("mfu_profiler")


def warn(text: str, *values: object, exc_info: bool = False) -> None:
    """Log one warning. A handler or filter of the user's that raises must not end the training."""
    with suppress(Exception):
        _LOG.warning(text, *values, exc_info=exc_info)


def show(text: str) -> None:
    """Our words go to stderr: stdout is the training's own. A closed one is no error of the training's."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text if text.endswith("\n") else f"{text}\n")
            sys.stderr.flush()
