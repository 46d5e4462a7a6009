"""A small discrete-event simulator of a training: a host program and the streams that it feeds.

It writes the trace that a profiler would have recorded, and tells what the step would take if a cause were
removed *from the program*: that is what a replay of the trace has to find out.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mfu_profiler.analysis.replay.what_ifs import Cause
from mfu_profiler.trace.timeline import Timeline

from .pictures import COLLECTIVE_KERNEL, LOADER, MAIN, Activity, Host, assembled

LATENCY_NS, GAP_NS, CALL_NS, SYNC_NS, RETURN_NS = 6_000, 1_000, 1_000, 1_500, 2_000
"""Launch to start on an idle stream; between kernels of a full one; a call on an event; a call that waits for
nothing; from the end of what a call waited for to its return."""
MAIN_STREAM, SIDE_STREAM = 0, 1


@dataclass(frozen=True)
class Think:
    """The host does something else."""

    ns: int


@dataclass(frozen=True)
class Load:
    """The host waits for a batch."""

    ns: int


@dataclass(frozen=True)
class Launch:
    """A kernel, or a collective."""

    ns: int
    stream: int = MAIN_STREAM
    call_ns: int = 5_000

    @property
    def name(self) -> str:
        return COLLECTIVE_KERNEL if self.stream == SIDE_STREAM else "kernel"


@dataclass(frozen=True)
class Join:
    """A stream waits for all that another one holds now: an event is recorded and waited for."""

    waiting: int
    awaited: int


@dataclass(frozen=True)
class Sync:
    """The host waits for the device."""

    waits: bool = True


@dataclass(frozen=True)
class Copy:
    """From host to device; from pageable memory it blocks."""

    ns: int
    is_pageable: bool = True


Instruction = Think | Load | Launch | Join | Sync | Copy
Step = tuple[Instruction, ...]


@dataclass
class Machine:
    """Host and device at work; keeps the events that a profiler would record."""

    now_ns: int = 0
    free_ns: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    waits_ns: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    calls: list[Host] = field(default_factory=list)
    marks: list[Host] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)

    def run(self, number: int, step: Step) -> None:
        """One step, marked."""
        start_ns = self.now_ns
        for instruction in step:
            self._do(instruction)
        self.marks.append(Host(f"ProfilerStep#{number}", start_ns, max(self.now_ns, start_ns + 1), MAIN))

    def _do(self, one: Instruction) -> None:
        match one:
            case Think(ns):
                self.now_ns += ns
            case Load(ns):
                self.marks.append(Host(LOADER, self.now_ns, self.now_ns + ns, MAIN))
                self.now_ns += ns
            case Launch(ns, stream, call_ns):
                self._activity(one.name, stream, ns, LATENCY_NS, 0)
                self._call("cudaLaunchKernel", call_ns)
            case Join(waiting, awaited):
                self._call("cudaEventRecord", CALL_NS)
                self._call("cudaStreamWaitEvent", CALL_NS)
                self.waits_ns[waiting] = max(self.waits_ns[waiting], self.free_ns[awaited])
            case Sync(waits):
                end_ns = max(self.free_ns.values(), default=0) if waits else 0
                is_blocked = end_ns > self.now_ns
                self._call(
                    "cudaDeviceSynchronize", end_ns + RETURN_NS - self.now_ns if is_blocked else SYNC_NS
                )
            case Copy(ns, is_pageable):
                name = f"Memcpy HtoD ({'Pageable' if is_pageable else 'Pinned'} -> Device)"
                end_ns = self._activity(name, MAIN_STREAM, ns, LATENCY_NS, 1)
                self._call(
                    "cudaMemcpyAsync", end_ns + RETURN_NS - self.now_ns if is_pageable else 3 * CALL_NS
                )

    def _call(self, name: str, ns: int) -> None:
        self.calls.append(Host(name, self.now_ns, self.now_ns + ns))
        self.now_ns += ns

    def _activity(self, name: str, stream: int, ns: int, latency_ns: int, kind: int) -> int:
        free_ns = self.free_ns[stream]
        start_ns = max(self.now_ns + latency_ns, free_ns + GAP_NS if free_ns else 0, self.waits_ns[stream])
        self.activities.append(Activity(name, start_ns, start_ns + ns, len(self.calls), stream, kind))
        self.free_ns[stream] = start_ns + ns
        return start_ns + ns


def recorded(step: Step, steps: int = 8) -> Timeline:
    """The trace of some steps from a cold start."""
    machine = Machine()
    for number in range(steps):
        machine.run(number, step)
    return assembled(machine.activities, machine.calls, marks=machine.marks)


def period_ns(step: Step) -> float:
    """What a step takes once a long training has settled."""
    machine = Machine()
    reached = []
    for number in range(60):
        machine.run(number, step)
        reached.append(max(machine.now_ns, *machine.free_ns.values()))
    return (reached[-1] - reached[29]) / 30


def without(step: Step, *causes: Cause) -> Step:
    """The program without these causes."""
    for cause in causes:
        step = tuple(_REMOVALS[cause](one) for one in step)
    return step


def _without_host(one: Instruction) -> Instruction:
    match one:
        case Think():
            return Think(0)
        case Launch():
            return replace(one, call_ns=0)
    return one


_REMOVALS: dict[Cause, Callable[[Instruction], Instruction]] = {
    "data": lambda one: Load(0) if isinstance(one, Load) else one,
    "sync": lambda one: Sync(waits=False) if isinstance(one, Sync) else one,
    "host": _without_host,
    "communication": lambda one: (
        replace(one, ns=0) if isinstance(one, Launch) and one.stream == SIDE_STREAM else one
    ),
    "copy": lambda one: Copy(0, is_pageable=False) if isinstance(one, Copy) else one,
}


def random_step(seed: int) -> Step:
    """A program of some twenty to eighty instructions, bound by anything."""
    chance = random.Random(seed)
    kernel_ns, think_ns = chance.choice((5_000, 40_000, 200_000)), chance.choice((1_000, 20_000, 100_000))
    step: list[Instruction] = []
    if chance.random() < 0.7:
        step.append(Load(chance.randrange(1_000, 5_000_000)))
    if chance.random() < 0.6:
        step.append(Copy(chance.randrange(10_000, 500_000), is_pageable=chance.random() < 0.5))
    for _ in range(chance.randrange(5, 40)):
        step += [Think(chance.randrange(think_ns)), Launch(chance.randrange(1_000, 2 * kernel_ns))]
        draw = chance.random()
        if draw < 0.1:
            step += [Join(SIDE_STREAM, MAIN_STREAM), Launch(chance.randrange(10_000, 800_000), SIDE_STREAM)]
        elif draw < 0.15:
            step.append(Join(MAIN_STREAM, SIDE_STREAM))
        elif draw < 0.18:
            step.append(Sync())
    step += [Join(MAIN_STREAM, SIDE_STREAM), Launch(chance.randrange(1_000, 2 * kernel_ns))]
    return tuple(step)
