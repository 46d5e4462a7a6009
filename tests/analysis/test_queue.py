"""The queue of launches: the host runs ahead of the device by so many, and no further."""

from __future__ import annotations

import numpy as np
import pytest

from mfu_profiler.analysis.host_steps import host_steps
from mfu_profiler.analysis.replay.engine import steady_period_ns
from mfu_profiler.analysis.replay.graph import QUEUE_DEPTH, replay_graph
from mfu_profiler.analysis.replay.program import program_of
from mfu_profiler.analysis.replay.queue import full_queue_waits, most_queued
from mfu_profiler.analysis.times import times_of
from mfu_profiler.trace.timeline import Timeline

from .pictures import US, Activity, Host, assembled
from .real import real_timeline

KERNEL_US, LAUNCH_US = 10, 1


def launched_ahead(count: int, blocked_from: int | None = None) -> Timeline:
    """Kernels of 10 µs behind each other, each launched 1 µs after the one before.

    Args:
        count: of kernels.
        blocked_from: from this launch on each returns only when the kernel so many before it has started.

    """
    calls, activities, now = [], [], 0
    for place in range(count):
        start = now
        now += LAUNCH_US * US
        if blocked_from is not None and place >= blocked_from:
            now = max(now, activities[place - blocked_from].start_ns + LAUNCH_US * US)
        calls.append(Host("cudaLaunchKernel", start, now))
        free = activities[-1].end_ns if activities else 5 * US
        activities.append(Activity("kernel", free, free + KERNEL_US * US, place))
    return assembled(activities, calls)


def test_what_waits_is_counted_at_the_return_of_each_launch() -> None:
    """Kernel k starts at 5 + 10 k µs; launch n returns at n + 1 µs: after 100 µs ten have started."""
    assert most_queued(launched_ahead(4)) == 4
    assert most_queued(launched_ahead(100)) == 100 - 10


@pytest.mark.parametrize(("depth", "blocks"), [(1_000, True), (300, False)])
def test_a_long_launch_before_a_full_queue_waited_for_the_device(depth: int, blocks: bool) -> None:
    """Behind 300 launches a real queue has room: what made the call long is not that."""
    drawn = launched_ahead(1_400, blocked_from=depth)
    items, awaited = full_queue_waits(drawn, np.arange(len(drawn.calls)))
    assert bool(len(items)) is blocks
    if blocks:
        # The activity that ended when the launch returned makes the room: one before that which started.
        assert set((items - awaited).tolist()) <= {depth, depth + 1, depth + 2}


def test_a_wait_of_the_host_shows_where_the_queue_is_short() -> None:
    """Ten kernels of 10 µs; the host is busy for 60 µs, and behind 4 launches only 40 are hidden."""
    calls, activities = [], []
    for step in range(5):
        for place in range(10):
            at = step * 100 * US + (60 + place) * US
            calls.append(Host("cudaLaunchKernel", at, at + US))
            start = step * 100 * US + (70 + 10 * place) * US
            activities.append(Activity("kernel", start, start + 10 * US, len(calls) - 1))
    drawn = assembled(activities, calls)
    times = times_of(drawn, host_steps(drawn), "device", is_cpu=False)
    assert times is not None
    program = program_of(replay_graph(drawn, times.kinds))
    unlimited = steady_period_ns(program, 5, queue_depth=1_000)
    short = steady_period_ns(program, 5, queue_depth=4)
    assert unlimited == pytest.approx(100 * US, rel=0.05)
    assert short > unlimited + 10 * US


def test_the_queues_of_real_traces(shared_dir: object) -> None:
    """An H100's was full, an MI300X holds more; the replay's is never shorter than what was seen."""
    h100, mi300x = (
        real_timeline("modded_nanogpt_8xh100/rank4"),
        real_timeline("tracelens_mi300x_resnet_checkpoint"),
    )
    assert 1_000 < most_queued(h100) < 1_100
    assert len(full_queue_waits(h100, np.arange(len(h100.calls)))[0]) > 0
    assert most_queued(mi300x) > 1_100
    for timeline in (h100, mi300x):
        times = times_of(timeline, host_steps(timeline), "device", is_cpu=False)
        assert times is not None
        depth = replay_graph(timeline, times.kinds).queue_depth
        assert depth >= max(QUEUE_DEPTH, most_queued(timeline))
