"""What each device activity waits for: its launch, its stream, other streams. The rest is its delay.

::

    ready   = max(launch + latency, end of the one before on its stream + gap, ends of what it joins)
    delay   = recorded start - ready

Latency and gap are what the trace shows as typical; an activity that was quicker keeps its own. What starts
without a launch record was waiting on the device when the trace began, and stands at its recorded time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.activity_kinds import ActivityKinds
from mfu_profiler.analysis.replay.host import NEVER_NS, HostProgram, host_program
from mfu_profiler.analysis.replay.joins import Pairs, joins_by_calls, joins_by_times
from mfu_profiler.analysis.replay.queue import most_queued
from mfu_profiler.trace.timeline import Activities, Timeline

__all__ = ["ReplayGraph", "replay_graph"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

LATENCY_NS, GAP_NS = 5_000, 1_000
"""From a launch's start to that of its kernel on an idle stream, and between two kernels of a full one, where
the trace shows too few to learn from."""
LEAST_SAMPLES = 8
MOST_LATENCY_NS, MOST_GAP_NS = 50_000, 10_000
QUEUED_NS = 20_000
"""An activity launched so long before the one before it ended stood in the queue."""
QUEUE_DEPTH = 1_024
"""Launches that the queue holds; real traces of NVIDIA devices show 1,002 to 1,031 and never more, one of an
MI300X 1,848, so that the most that a trace shows counts where it is more."""
LATE_NS = 2_000
"""Smaller delays are not worth a search for their cause."""


@dataclass(frozen=True, slots=True)
class ReplayGraph:
    """Columns of shape ``(activities,)``, and the host's program."""

    host: HostProgram
    activities: Activities
    item: Int64
    """The item of ``host`` that launched it."""
    is_launched: Bool
    latency_ns: Int64
    """From the start of that item."""
    before: Int64
    """The activity before it on its stream."""
    has_before: Bool
    gap_ns: Int64
    """From the end of the one before; the typical one where there is none."""
    joins: Pairs
    """In order of the activities that wait."""
    delay_ns: Int64
    """What nothing explains; 0 of those that are not launched."""
    queue_depth: int
    """How many launches may wait on the device before the next one blocks the host."""


def replay_graph(timeline: Timeline, kinds: ActivityKinds) -> ReplayGraph:
    """The graph of one device and its host."""
    host, activities = host_program(timeline), timeline.activities
    item, is_launched = _items(host, activities, len(timeline.calls))
    before, has_before = _before(activities, np.where(is_launched, item, -1), len(timeline.streams))
    launch_ns = np.where(
        is_launched, timeline.calls.start_ns[activities.call] if len(timeline.calls) else 0, 0
    )
    ended_ns = np.where(has_before, activities.end_ns[before], NEVER_NS)
    since_launch, since_end = activities.start_ns - launch_ns, activities.start_ns - ended_ns
    first, awaited = joins_by_calls(timeline)
    is_alone = is_launched.copy()
    is_alone[first] = False
    latency = np.minimum(_latency_ns(is_alone & (ended_ns <= launch_ns), since_launch), since_launch)
    gap = np.minimum(_gap_ns(is_alone & (launch_ns + QUEUED_NS < ended_ns), since_end), since_end)
    ready = np.maximum(launch_ns + latency, np.where(has_before, ended_ns + gap, ended_ns))
    np.maximum.at(ready, first, activities.end_ns[awaited])
    late = np.flatnonzero(is_launched & (activities.start_ns - ready > LATE_NS))
    more = joins_by_times(activities, late, ready[late], kinds.is_communication)
    np.maximum.at(ready, more[0], activities.end_ns[more[1]])
    joins = _in_order(np.concatenate([first, more[0]]), np.concatenate([awaited, more[1]]))
    return ReplayGraph(
        host=host,
        activities=activities,
        item=item,
        is_launched=is_launched,
        latency_ns=np.where(is_launched, latency, 0),
        before=before,
        has_before=has_before,
        gap_ns=gap,
        joins=joins,
        delay_ns=np.where(is_launched, activities.start_ns - ready, 0),
        queue_depth=max(QUEUE_DEPTH, most_queued(timeline)),
    )


def _items(host: HostProgram, activities: Activities, call_count: int) -> tuple[Int64, Bool]:
    """The host's item that launched each activity."""
    item_of = np.full(max(1, call_count), -1)
    item_of[host.call] = np.arange(len(host))
    item = np.where(activities.has_call, item_of[activities.call] if call_count else -1, -1)
    return np.maximum(item, 0), item >= 0


def _before(activities: Activities, item: Int64, stream_count: int) -> tuple[Int64, Bool]:
    """On each stream the order is that of the launches; a graph's activities may run in another one.

    Args:
        activities: in order of start.
        item: that launched each; -1 for none, which puts it behind what started before it.
        stream_count: how many streams there are.

    """
    before, has_before = np.zeros(len(activities), np.int64), np.zeros(len(activities), np.bool_)
    for stream in range(stream_count):
        rows = np.flatnonzero(activities.stream == stream)
        place = np.where(item[rows] < 0, np.maximum.accumulate(item[rows]), item[rows])
        rows = rows[np.argsort(place, kind="stable")]
        before[rows[1:]], has_before[rows[1:]] = rows[:-1], True
    return before, has_before


def _latency_ns(on_idle_stream: Bool, since_launch: Int64) -> int:
    """The median."""
    samples = since_launch[on_idle_stream]
    if len(samples) < LEAST_SAMPLES:
        return LATENCY_NS
    return int(np.clip(np.percentile(samples, 50), 0, MOST_LATENCY_NS))


def _gap_ns(was_queued: Bool, since_end: Int64) -> int:
    samples = since_end[was_queued]
    return int(min(np.median(samples), MOST_GAP_NS)) if len(samples) >= LEAST_SAMPLES else GAP_NS


def _in_order(waiting: Int64, awaited: Int64) -> Pairs:
    order = np.argsort(waiting, kind="stable")
    return waiting[order], awaited[order]
