"""Small CPU traces, recorded here and now by torch's own profiler. Imports torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule
from torch.utils.flop_counter import FlopCounterMode


def record(step: Callable[[], None], path: Path, count: int = 3) -> Path:
    """A trace of ``count`` steps after one that warms up."""
    with profile(
        activities=[ProfilerActivity.CPU],
        schedule=schedule(wait=0, warmup=1, active=count, repeat=1),
        record_shapes=True,
        on_trace_ready=lambda profiler: profiler.export_chrome_trace(str(path)),
    ) as profiler:
        for _ in range(count + 1):
            step()
            profiler.step()
    return path


def counted_flop(step: Callable[[], None]) -> int:
    """FLOP of a step by torch's counter: everything that runs."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def one_thread() -> None:
    """Test processes run side by side on few cores."""
    torch.set_num_threads(1)
