"""Run as a script: trainings under ``track`` beside profilers of the user's own. Prints one JSON object.

In a process of its own because a mistake here is a segmentation fault.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import mfu_profiler
from mfu_profiler.capture.profile import profiling
from mfu_profiler.trace.reader import read_trace

from .training import QUICK, mlp_training

STEPS = 40
SCHEDULES: dict[str, tuple[int, int, int]] = {  # wait, warm-up, active
    "long wait": (30, 1, 2),
    "warming up when ours is prepared": (5, 2, 2),
    "long warm-up": (3, 3, 2),
    "recording when ours is prepared": (4, 1, 2),
    "starting in our window": (5, 1, 4),
    "no room for ours": (1, 1, 1),
    "always warming up or recording": (0, 1, 1),
}


def addmm_of(path: str | Path) -> int:
    """Calls of addmm in a trace: two a step; a step counted by us has twice as many events."""
    content = Path(path).read_bytes()
    if str(path).endswith(".gz"):
        import gzip

        content = gzip.decompress(content)
    events = json.loads(content)["traceEvents"]
    return sum(event.get("name") == "aten::addmm" and event.get("cat") == "cpu_op" for event in events)


def outcome(run: mfu_profiler.Run) -> dict[str, Any]:
    """What ``track`` left."""
    path = run.trace_path
    assert path is not None
    (timeline,) = read_trace(path)
    assert timeline.live is not None
    return {
        "addmm": addmm_of(path),
        "notes": list(timeline.live.run.notes),
        "steps": timeline.live.run.steps_done,
    }


def tracked(folder: Path, between: Callable[[int], object], steps: int = STEPS) -> dict[str, Any]:
    """A training; ``between`` is called after each step with its number."""
    model, step = mlp_training()
    with mfu_profiler.track(model, out=folder, report="never", **QUICK) as run:
        for number in range(1, steps + 1):
            step()
            between(number)
    return outcome(run)


def scheduled(name: str, folder: Path) -> dict[str, Any]:
    """A schedule of the user's that steps along."""
    wait, warmup, active = SCHEDULES[name]
    user: list[int] = []

    def ready(profiler: Any) -> None:
        path = folder / "user.json"
        profiler.export_chrome_trace(str(path))
        user.append(addmm_of(path))

    schedule = torch.profiler.schedule(wait=wait, warmup=warmup, active=active)
    with torch.profiler.profile(schedule=schedule, on_trace_ready=ready) as profiler:
        ours = tracked(folder, lambda number: profiler.step())
    return {"user": user, **ours}


def once(folder: Path, start: int, stop: int) -> dict[str, Any]:
    """A plain profiler from after one step to after another."""
    profiler = torch.profiler.profile()

    def between(number: int) -> None:
        if number == start:
            profiler.start()
        if number == stop:
            profiler.stop()

    ours = tracked(folder, between)
    profiler.export_chrome_trace(str(folder / "user.json"))
    return {"user": [addmm_of(folder / "user.json")], **ours}


def around(folder: Path) -> dict[str, Any]:
    """The whole block inside a profiler."""
    with torch.profiler.profile() as profiler:
        ours = tracked(folder, lambda number: None)
    profiler.export_chrome_trace(str(folder / "user.json"))
    return {"user": [addmm_of(folder / "user.json")], **ours}


def in_a_thread(folder: Path, start: int, *, training_waits: bool) -> dict[str, Any]:
    """A profiler in another thread, started in our window; the training may wait for it or go on."""
    go, started, user, errors = threading.Event(), threading.Event(), [0], []

    def profile_something() -> None:
        go.wait()
        try:
            with torch.profiler.profile() as profiler:
                torch.ones(2, 2).addmm(torch.ones(2, 2), torch.ones(2, 2))
            profiler.export_chrome_trace(str(folder / "user.json"))
            user[0] = addmm_of(folder / "user.json")
        except Exception as error:
            errors.append(repr(error))
        started.set()

    thread = threading.Thread(target=profile_something)
    thread.start()

    def between(number: int) -> None:
        if number == start:
            go.set()
            if training_waits:
                started.wait()

    ours = tracked(folder, between, steps=2000 if not training_waits else STEPS)
    thread.join()
    return {"user": user, "errors": errors, **ours}


def trained_in_a_thread(folder: Path, *, ends_in_window: bool) -> dict[str, Any]:
    """The block is in the main thread, the training in another one."""
    model, step = mlp_training()
    with mfu_profiler.track(model, out=folder, report="never", **QUICK) as run:
        thread = threading.Thread(target=lambda: [step() for _ in range(8 if ends_in_window else STEPS)])
        thread.start()
        thread.join()
    return outcome(run)


def works_afterwards() -> int:
    """Calls of addmm that a profiler sees when all is over."""
    _, step = mlp_training()
    with torch.profiler.profile() as profiler:
        step()
    return sum(event.name == "aten::addmm" for event in profiler.events())


def main() -> None:
    """All cases, each in a folder of its own."""
    logging.getLogger("mfu_profiler").addHandler(logging.NullHandler())
    profiling.LONGEST_WAIT_S = 1.0
    cases: dict[str, Callable[[Path], dict[str, Any]]] = {
        **{name: lambda folder, name=name: scheduled(name, folder) for name in SCHEDULES},
        "from before our window into it": lambda folder: once(folder, 5, 9),
        "from within our window": lambda folder: once(folder, 7, 12),
        "while ours warms up": lambda folder: once(folder, 6, 12),
        "around the block": around,
        "another thread's": lambda folder: in_a_thread(folder, 7, training_waits=False),
        "another thread's, waited for": lambda folder: in_a_thread(folder, 7, training_waits=True),
        "training in a thread": lambda folder: trained_in_a_thread(folder, ends_in_window=False),
        "training thread gone": lambda folder: trained_in_a_thread(folder, ends_in_window=True),
    }
    results = {}
    for name, case in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            results[name] = {**case(Path(folder)), "afterwards": works_afterwards()}
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
