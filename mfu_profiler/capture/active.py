"""One tracked block at a time in a process; forked children have none."""

from __future__ import annotations

import os
import threading

__all__ = ["acquire", "release"]

_LOCK = threading.Lock()
_owner: tuple[int, object] | None = None
"""(Process, block) that tracks at the moment."""


def acquire(block: object) -> bool:
    """Whether the block may track; False while another one of this process does."""
    global _owner
    with _LOCK:
        if _owner is not None and _owner[0] == os.getpid():
            return False
        _owner = (os.getpid(), block)
        return True


def release(block: object) -> None:
    """The block tracks no more."""
    global _owner
    with _LOCK:
        if _owner is not None and _owner[1] is block:
            _owner = None
