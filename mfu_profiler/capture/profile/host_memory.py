"""Memory of this process and of its host; known on Linux, None elsewhere."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["available_byte", "resident_byte"]

_STATM, _MEMINFO = Path("/proc/self/statm"), Path("/proc/meminfo")


def resident_byte() -> int | None:
    """What this process holds in memory."""
    with suppress(OSError, ValueError, IndexError):
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def available_byte() -> int | None:
    """What the host could still give without swapping."""
    with suppress(OSError, ValueError, IndexError):
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None
