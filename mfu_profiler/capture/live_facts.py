"""What only the live process knows, as the member ``mfu_profiler`` of the trace; plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from mfu_profiler.capture.settings import Settings
from mfu_profiler.capture.surroundings import Surroundings
from mfu_profiler.version import __version__

__all__ = ["FORMAT_VERSION", "RunFacts", "live_facts", "parameter_counts"]

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
    pauses_ns: dict[str, int]
    wall_ns: int
    first_profiled_step: int | None
    unfinished_step: int | None
    """Number of the last mark, where it is not a whole step."""
    ended: str | None
    lacks: list[str]
    notes: list[str]


def live_facts(
    run: RunFacts,
    *,
    model: nn.Module | None,
    settings: Settings,
    flop: Mapping[str, Any],
    surroundings: Surroundings,
    clocks: Mapping[str, Any] | None,
    stacks: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The whole object."""
    parameters, trainable = parameter_counts(model)
    about_model = {
        "model": type(model).__name__ if model is not None else None,
        "parameters": parameters,
        "trainable_parameters": trainable,
    }
    ceiling = surroundings.ceiling
    return {
        "version": FORMAT_VERSION,
        "library_version": __version__,
        "settings": settings.to_json(),
        "run": about_model | asdict(run),
        "flop": flop,
        "device": surroundings.live.to_json(),
        "ceiling": ceiling.to_json() if ceiling is not None else None,
        "clocks": clocks,
        "stacks": stacks,
    }


def parameter_counts(model: nn.Module | None) -> tuple[int | None, int | None]:
    """(All, trainable) parameters; None without a model, or where one is not initialised yet."""
    if model is None:
        return None, None
    try:
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    except ValueError:  # a lazy module has no sizes before its first forward
        return None, None
    return sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)
