"""One tracked block at a time in a process; forked children have none."""

from __future__ import annotations

import os
import threading
from typing import Protocol

__all__ = ["acquire", "release"]


class _Block(Protocol):
    def give_way(self) -> None:
        """Another block wants to track: end, or do nothing."""


_LOCK = threading.Lock()
_owner: tuple[int, _Block] | None = None
"""(Process, block) that tracks at the moment."""


def acquire(block: _Block) -> bool:
    """Whether the block may track; False while another one of this process does and does not give way."""
    global _owner
    owner = _owner
    if owner is not None and owner[0] == os.getpid() and owner[1] is not block:
        owner[1].give_way()
    with _LOCK:
        if _owner is not None and _owner[0] == os.getpid():
            return False
        _owner = (os.getpid(), block)
        return True


def release(block: _Block) -> None:
    """The block tracks no more."""
    global _owner
    with _LOCK:
        if _owner is not None and _owner[1] is block:
            _owner = None
