"""Where the shared traces lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder ``shared`` beside the repository: real traces and what others computed from them."""
    folder = Path(__file__).resolve().parents[3] / "shared"
    if (folder / "traces" / "index.csv").is_file():
        return folder
    message = f"real traces are not at {folder}"
    if os.environ.get("MFU_PROFILER_REQUIRE_SHARED") == "1":
        pytest.fail(message)
    pytest.skip(message)
