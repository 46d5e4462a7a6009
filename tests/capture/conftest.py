"""Fixtures of the tests of ``track`` as a whole. Torch is imported where it is used: it may be absent."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """No profiler, hook or thread of ours outlives a block, however it went."""
    import torch

    enter = torch.profiler.record_function.__enter__
    yield
    assert not torch._C._autograd._profiler_enabled()
    assert torch.profiler.record_function.__enter__ is enter
    assert [thread.name for thread in threading.enumerate() if "mfu_profiler" in thread.name] == []


@pytest.fixture
def warnings_of(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What we have logged so far."""
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records if record.name == "mfu_profiler"]
