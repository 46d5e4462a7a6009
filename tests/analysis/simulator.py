"""A small discrete-event simulator of a training: a host program and the streams that it feeds.

::

    program (a step)  ->  Machine  ->  Log  ->  simulator_trace: the file that a profiler would have written
                             |            `-->  simulator_truth: why the device was idle, instant by instant
                             `-> period_ns: what the step takes, also with a cause removed *from the program*

It knows nothing of the analysis: what the product reads out of the file is compared with what happened here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

LATENCY_NS, GAP_NS, CALL_NS, SYNC_NS, RETURN_NS = 6_000, 1_000, 1_000, 1_500, 2_000
"""Launch to start on an idle stream; between kernels of a full one; a call on an event; a call that waits for
nothing; from the end of what a call waited for to its return."""
MAIN_STREAM, SIDE_STREAM = 0, 1
MAIN, AUTOGRAD = 0, 1
WARM_UP_STEPS, RECORDED_STEPS = 20, 8

Removed = Literal["data", "sync", "host", "communication", "copy"]
REMOVALS: tuple[Removed, ...] = ("data", "sync", "host", "communication", "copy")
"""What can be taken out of a program."""


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
    """A kernel, or on the side stream a collective."""

    ns: int
    stream: int = MAIN_STREAM
    call_ns: int = 5_000
    is_matmul: bool = True
    delay_ns: int = 0
    """It starts so much later than anything in the program explains."""

    @property
    def work(self) -> Work:
        if self.stream == SIDE_STREAM:
            return "collective"
        return "matmul" if self.is_matmul else "elementwise"


@dataclass(frozen=True)
class On:
    """Another host thread goes on: autograd's in backward. A step begins on the main one."""

    thread: int


@dataclass(frozen=True)
class Join:
    """A stream waits for all that another one holds now: an event is recorded and waited for."""

    waiting: int
    awaited: int


@dataclass(frozen=True)
class Sync:
    """The host waits for the device, or for one of its streams."""

    waits: bool = True
    stream: int | None = None


@dataclass(frozen=True)
class Copy:
    """From host to device; from pageable memory it blocks."""

    ns: int
    is_pageable: bool = True


Instruction = Think | Load | Launch | On | Join | Sync | Copy
Step = tuple[Instruction, ...]
Work = Literal["matmul", "elementwise", "collective", "pageable copy", "pinned copy"]


@dataclass(frozen=True)
class Call:
    """A runtime call of the host."""

    name: str
    start_ns: int
    end_ns: int
    thread: int
    since_ns: int
    """When the host began what led to it: where its op starts."""
    blocks: bool
    """It returns only once device work is done."""


@dataclass(frozen=True)
class Activity:
    """What one call put on a stream."""

    work: Work
    start_ns: int
    end_ns: int
    stream: int
    call: Call
    step: int


@dataclass
class Log:
    """All that happened, in the order in which the host did it."""

    calls: list[Call] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)
    loads: list[tuple[int, int, int]] = field(default_factory=list)
    """Start, end and thread of each wait for data."""
    steps: list[tuple[int, int]] = field(default_factory=list)
    """Starts and ends on the host."""
    recorded_from: int = 0
    """The step with which the recording begins; device work of those before it may still run then."""


@dataclass
class Machine:
    """Host and device at work."""

    log: Log | None = None
    """None where only the time is wanted."""
    now_ns: int = 0
    free_ns: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    waits_ns: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    _since_ns: int = 0
    _step: int = 0
    _thread: int = MAIN

    def run(self, step: Step) -> None:
        """One step."""
        start_ns, self._thread = self.now_ns, MAIN
        for instruction in step:
            self._do(instruction)
            if not isinstance(instruction, Think):
                self._since_ns = self.now_ns
        if self.log is not None:
            self.log.steps.append((start_ns, max(self.now_ns, start_ns + 1)))
        self._step += 1

    def _do(self, one: Instruction) -> None:
        match one:
            case Think(ns):
                self.now_ns += ns
            case On(thread):
                self._thread = thread
            case Load(ns):
                if self.log is not None:
                    self.log.loads.append((self.now_ns, self.now_ns + ns, self._thread))
                self.now_ns += ns
            case Launch():
                start_ns, end_ns = self._occupied(one.stream, one.ns, one.delay_ns)
                call = self._call("cudaLaunchKernel", one.call_ns)
                self._ran(one.work, start_ns, end_ns, one.stream, call)
            case Join(waiting, awaited):
                self._call("cudaEventRecord", CALL_NS)
                self._call("cudaStreamWaitEvent", CALL_NS)
                self.waits_ns[waiting] = max(self.waits_ns[waiting], self.free_ns[awaited])
            case Sync():
                self._synchronize(one)
            case Copy(ns, is_pageable):
                start_ns, end_ns = self._occupied(MAIN_STREAM, ns)
                length_ns = end_ns + RETURN_NS - self.now_ns if is_pageable else 3 * CALL_NS
                call = self._call("cudaMemcpyAsync", length_ns, blocks=is_pageable)
                work: Work = "pageable copy" if is_pageable else "pinned copy"
                self._ran(work, start_ns, end_ns, MAIN_STREAM, call)

    def _synchronize(self, one: Sync) -> None:
        name = "cudaDeviceSynchronize" if one.stream is None else "cudaStreamSynchronize"
        end_ns = 0
        if one.waits:
            busy = self.free_ns.values() if one.stream is None else (self.free_ns[one.stream],)
            end_ns = max(busy, default=0)
        is_blocked = end_ns > self.now_ns
        self._call(name, end_ns + RETURN_NS - self.now_ns if is_blocked else SYNC_NS, blocks=is_blocked)

    def _call(self, name: str, ns: int, *, blocks: bool = False) -> Call:
        call = Call(name, self.now_ns, self.now_ns + ns, self._thread, self._since_ns, blocks)
        if self.log is not None:
            self.log.calls.append(call)
        self.now_ns += ns
        return call

    def _occupied(self, stream: int, ns: int, delay_ns: int = 0) -> tuple[int, int]:
        """When work that is launched now will run."""
        free_ns = self.free_ns[stream]
        start_ns = max(self.now_ns + LATENCY_NS, free_ns + GAP_NS if free_ns else 0, self.waits_ns[stream])
        start_ns += delay_ns
        self.free_ns[stream] = start_ns + ns
        return start_ns, start_ns + ns

    def _ran(self, work: Work, start_ns: int, end_ns: int, stream: int, call: Call) -> None:
        if self.log is not None:
            self.log.activities.append(Activity(work, start_ns, end_ns, stream, call, self._step))


def recorded(step: Step) -> Log:
    """What happened in a training that had settled before its recording began."""
    log = Log(recorded_from=WARM_UP_STEPS)
    machine = Machine(log)
    for _ in range(WARM_UP_STEPS + RECORDED_STEPS):
        machine.run(step)
    return log


def period_ns(step: Step) -> float:
    """What a step takes once a long training has settled."""
    machine = Machine()
    reached = []
    for _ in range(60):
        machine.run(step)
        reached.append(max(machine.now_ns, *machine.free_ns.values()))
    return (reached[-1] - reached[29]) / 30


def without(step: Step, *causes: Removed) -> Step:
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


def _without_waiting(one: Instruction) -> Instruction:
    match one:
        case Sync():
            return replace(one, waits=False)
        case Copy():
            return replace(one, is_pageable=False)
    return one


_REMOVALS: Mapping[Removed, Callable[[Instruction], Instruction]] = {
    "data": lambda one: Load(0) if isinstance(one, Load) else one,
    "sync": _without_waiting,
    "host": _without_host,
    "communication": lambda one: (
        replace(one, ns=0) if isinstance(one, Launch) and one.stream == SIDE_STREAM else one
    ),
    "copy": lambda one: Copy(0, is_pageable=False) if isinstance(one, Copy) else one,
}
