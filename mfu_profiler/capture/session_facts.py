"""What a session knows at its end that no trace does, put together for the trace file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mfu_profiler.capture.live_facts import RunFacts, live_facts
from mfu_profiler.capture.window import Window

if TYPE_CHECKING:
    from mfu_profiler.capture.session import Session

__all__ = ["session_facts"]


def session_facts(
    session: Session,
    window: Window,
    unfinished: int | None,
    ended: str | None,
    clocks: dict[str, Any] | None,
    stacks: dict[str, Any] | None,
) -> dict[str, Any]:
    """The member ``mfu_profiler`` of the trace.

    Args:
        session: up to this moment.
        window: of the session.
        unfinished: number of the last mark, where it is not a whole step.
        ended: how an exception ended the block; None where none did.
        clocks: samples of the device's clock.
        stacks: samples of the training thread's Python stack.

    """
    session.read_device_clock(waits=True)  # where there was a profiler, it has waited for the device already
    detector, times = session.detector, session.times
    run = RunFacts(
        mode=detector.mode,
        boundary=detector.boundary_text,
        steps_done=times.count,
        step_times_ns=times.timed_ns or times.early_ns,
        step_clock="host" if window.device_clock is None else "device events",
        pauses_ns=times.pauses_ns,
        wall_ns=time.time_ns() - session.started_ns,
        first_profiled_step=window.profiling.first_step,
        unfinished_step=unfinished,
        ended=ended,
        lacks=_lacks(session, window),
        notes=[*session.notes, *window.profiling.notes],
    )
    return live_facts(
        run,
        model=session.counting.model,
        settings=session.settings,
        flop=session.counting.to_json(),
        surroundings=window.surroundings,
        clocks=clocks,
        stacks=stacks,
    )


def _lacks(session: Session, window: Window) -> list[str]:
    """What a short block could not give, and what to type for more."""
    done = session.times.count
    if not done and session.detector.mode is None:
        return [
            "no step was seen: neither an optimizer step nor a forward of the model;"
            " mark steps yourself:  run.step()"
        ]
    lacks = []
    if window.profiling.first_step is None and not window.profiling.notes:
        steps = "1 step" if done == 1 else f"{done} steps"
        lacks.append(
            f"the block ended after {steps}, before the profiled window at step {session.plan.profiled}:"
            "  track(model, warmup=0, timed=2, active=2) profiles steps 6 and 7"
        )
    if done and not session.times.timed_ns:
        lacks.append("no step was timed after the warm-up: the step time is that of early steps")
    return lacks
