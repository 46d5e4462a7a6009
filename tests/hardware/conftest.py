"""The reference tables that the catalog's numbers come from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """``../shared`` beside the repository; skips without it, or fails if it is required."""
    shared = Path(__file__).parents[2].parent / "shared"
    if not shared.is_dir():
        reason = f"{shared} is not here"
        if os.environ.get("MFU_PROFILER_REQUIRE_SHARED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return shared
