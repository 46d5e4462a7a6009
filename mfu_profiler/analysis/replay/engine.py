"""Replays: of the whole trace as it was, and of its steps repeated until they settle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.replay.graph import ReplayGraph
from mfu_profiler.analysis.replay.program import Program, State, program_of, run

__all__ = ["replayed_starts", "steady_period_ns"]

Int64 = npt.NDArray[np.int64]

SETTLED_FRACTION = 0.001
"""A period that changes by less is taken for steady."""
MOST_REPETITIONS = 20


def replayed_starts(graph: ReplayGraph, *, keeps_delays: bool) -> Int64:
    """When each activity starts; those that are not launched at their recorded times.

    Args:
        graph: of the trace.
        keeps_delays: whether what nothing explains is kept; with it the replay is what was recorded.

    """
    program = program_of(graph)
    if not keeps_delays:
        program = replace(program, delay_ns=np.zeros_like(program.delay_ns))
    starts = graph.activities.start_ns.copy()
    if len(program):
        starts[program.row] = run(program, State(int(graph.host.start_ns[0])), graph.queue_depth)
    return starts


def steady_period_ns(program: Program, steps: int, queue_depth: int) -> float:
    """Length of a step where the program's steps repeat, so that no backlog of the recording is eaten up.

    Args:
        program: of some whole steps.
        steps: how many.
        queue_depth: how many launches may wait on the device.

    """
    state, reached, ended = State(), 0, 0
    periods: list[int] = []
    for _ in range(MOST_REPETITIONS):
        run(program, state, queue_depth)
        # Host and device advance alike once the slower one sets the pace.
        host_ns, device_ns = state.reached_ns - reached, max(state.end_ns.values(), default=0) - ended
        reached, ended = state.reached_ns, ended + device_ns
        periods.append(max(host_ns, device_ns))
        if len(periods) > 2 and abs(periods[-1] - periods[-2]) <= SETTLED_FRACTION * periods[-1]:
            break
    return periods[-1] / steps
