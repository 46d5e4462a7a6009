"""Fixtures of the tests of ``track`` as a whole."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest

# Every module here imports torch.
collect_ignore_glob = [] if find_spec("torch") is not None else ["*.py"]


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
