"""What only the live process knows, as the member ``mfu_profiler`` of the trace; plain JSON values."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from torch import nn

from mfu_profiler.capture.flop.counting import Counting
from mfu_profiler.capture.phases import Plan
from mfu_profiler.capture.settings import Settings
from mfu_profiler.capture.step_times import StepTimes
from mfu_profiler.capture.steps import StepDetector
from mfu_profiler.capture.window import Window
from mfu_profiler.version import __version__

__all__ = ["FORMAT_VERSION", "Block", "RunFacts", "block_facts", "parameter_counts"]

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The member ``run``: what was recorded of which block."""

    mode: str | None
    """``training``, ``inference`` or ``explicit``."""
    boundary: str | None
    """What ended the steps."""
    steps_done: int
    step_times_ns: list[int]
    """Steps that nothing disturbed."""
    step_clock: str
    """``host`` or ``device events``."""
    data_wait_ns: int | None
    """Of a timed step; None where no loader was seen."""
    pauses_ns: dict[str, int]
    wall_ns: int
    cores: int
    """That the process may use."""
    first_profiled_step: int | None
    unfinished_step: int | None
    """Number of the last mark, where it is not a whole step."""
    ended: str | None
    lacks: list[str]
    notes: list[str]


class Block(Protocol):
    """What became of a tracked block up to this moment."""

    settings: Settings
    detector: StepDetector
    times: StepTimes
    counting: Counting
    plan: Plan
    notes: list[str]
    started_ns: int
    """Unix epoch."""


def block_facts(
    block: Block,
    window: Window,
    unfinished: int | None,
    ended: str | None,
    clocks: dict[str, Any] | None,
    stacks: dict[str, Any] | None,
) -> dict[str, Any]:
    """The whole object.

    Args:
        block: up to this moment.
        window: of the block.
        unfinished: number of the last mark, where it is not a whole step.
        ended: how an exception ended the block; None where none did.
        clocks: samples of the device's clock.
        stacks: samples of the training thread's Python stack.

    """
    ceiling = window.surroundings.ceiling
    return {
        "version": FORMAT_VERSION,
        "library_version": __version__,
        "settings": block.settings.to_json(),
        "run": _about_model(block.counting.model) | asdict(_run_facts(block, window, unfinished, ended)),
        "flop": block.counting.to_json(),
        "device": window.surroundings.live.to_json(),
        "ceiling": ceiling.to_json() if ceiling is not None else None,
        "clocks": clocks,
        "stacks": stacks,
    }


def _run_facts(block: Block, window: Window, unfinished: int | None, ended: str | None) -> RunFacts:
    detector, times = block.detector, block.times
    return RunFacts(
        mode=detector.mode,
        boundary=detector.boundary_text,
        steps_done=times.count,
        step_times_ns=times.timed_ns or times.early_ns,
        step_clock="host" if window.device_clock is None else "device events",
        data_wait_ns=window.data_waits.typical_ns,
        pauses_ns=times.pauses_ns,
        wall_ns=time.time_ns() - block.started_ns,
        cores=_cores(),
        first_profiled_step=window.profiling.first_step,
        unfinished_step=unfinished,
        ended=ended,
        lacks=_lacks(block, window),
        notes=[*block.notes, *window.profiling.notes],
    )


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _about_model(model: nn.Module | None) -> dict[str, Any]:
    parameters, trainable = parameter_counts(model)
    return {
        "model": type(model).__name__ if model is not None else None,
        "parameters": parameters,
        "trainable_parameters": trainable,
    }


def _lacks(block: Block, window: Window) -> list[str]:
    """What a short block could not give, and what to type for more."""
    done = block.times.count
    if not done and block.detector.mode is None:
        return [
            "no step was seen: neither an optimizer step nor a forward of the model;"
            " mark steps yourself:  run.step()"
        ]
    lacks = []
    if block.detector.lacks_optimizer:
        lacks.append(
            "no optimizer of torch.optim was seen to step, so each call of the model counts as a step;"
            " mark steps yourself:  run.step()"
        )
    if window.profiling.first_step is None and not window.profiling.notes:
        steps = "1 step" if done == 1 else f"{done} steps"
        lacks.append(
            f"the block ended after {steps}, before the profiled window at step {block.plan.profiled}:"
            "  track(model, warmup=0, timed=2, active=2) profiles steps 6 and 7"
        )
    if done and not block.times.timed_ns:
        lacks.append("no step was timed after the warm-up: the step time is that of early steps")
    return lacks


def parameter_counts(model: nn.Module | None) -> tuple[int | None, int | None]:
    """(All, trainable) parameters; None without a model, or where one is not initialised yet."""
    if model is None:
        return None, None
    try:
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    except ValueError:  # a lazy module has no sizes before its first forward
        return None, None
    return sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)
