"""What all tests share: where the reference material lies, and when its absence is an error."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .chromium import started_browser

REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared"

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in a shell's background; tests' processes would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def trace_paths() -> list[Path]:
    """The real traces, for parametrised tests; empty where they are absent."""
    return sorted((SHARED / "traces").glob("**/*.json.gz"))


def require_shared() -> Path:
    """The folder of reference peaks and real traces; skips without it, unless it is required."""
    if not (SHARED / "traces").is_dir():
        reason = f"the reference material is absent: {SHARED}"
        if os.environ.get("MFU_PROFILER_REQUIRE_SHARED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return SHARED


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of reference peaks and real traces."""
    return require_shared()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; skips where there is none, unless it is required."""
    with started_browser() as started:
        yield started
