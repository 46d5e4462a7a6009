"""Why the simulated device was idle, instant by instant, told by the simulation's own log.

The rules are those of design.md, section 5, applied to each stretch between two events of the log; nothing of
the product's partition is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import pairwise

from .simulator import MAIN_STREAM, Activity, Log, Removed, Work

LONGEST_LATENCY_NS = 50_000
CLASS_OF: Mapping[Work, str] = {
    "matmul": "compute",
    "elementwise": "compute",
    "collective": "communication",
    "pageable copy": "copy",
    "pinned copy": "copy",
}
IN_ORDER = ("compute", "communication", "copy")
"""An instant belongs to the first of these that runs."""
HELD_BY: Mapping[str, tuple[str, Removed]] = {
    "data_loading": ("idle_data_loading", "data"),
    "synchronization": ("idle_synchronization", "sync"),
    "host_bound": ("idle_host", "host"),
    "launch": ("idle_launch", "host"),
    "communication": ("communication", "communication"),
    "copy": ("copy", "copy"),
}
"""Code of a finding -> the class of time that it is about, and what its fix takes out of the program."""


@dataclass(frozen=True)
class Stretch:
    """Time of one class."""

    start_ns: int
    end_ns: int
    name: str


def windows_ns(log: Log) -> dict[int, tuple[int, int]]:
    """Of each recorded step but the last: from first compute kernel to first, on the main stream."""
    first: dict[int, int] = {}
    for activity in log.activities:
        is_first = activity.stream == MAIN_STREAM and CLASS_OF[activity.work] == "compute"
        if is_first and activity.step >= log.recorded_from:
            first.setdefault(activity.step, activity.start_ns)
    return {step: (first[step], first[step + 1]) for step in sorted(first)[:-1]}


def parts_ns(stretches: Iterable[Stretch], start_ns: int, end_ns: int) -> Counter[str]:
    """Ns of each class between two moments."""
    parts: Counter[str] = Counter()
    for one in stretches:
        parts[one.name] += max(0, min(one.end_ns, end_ns) - max(one.start_ns, start_ns))
    return +parts


def shares(log: Log, steps: Iterable[int]) -> dict[str, float]:
    """Share of each class in the windows of some steps."""
    windows, stretches = windows_ns(log), list(classified(log))
    parts: Counter[str] = Counter()
    for step in steps:
        parts += parts_ns(stretches, *windows[step])
    return {name: ns / parts.total() for name, ns in parts.items()}


def classified(log: Log) -> Iterator[Stretch]:
    """The class of all recorded time up to the last activity's start."""
    log = _recorded(log)
    to_start = sorted(log.activities, key=lambda activity: -activity.start_ns)
    running: Counter[str] = Counter()
    to_end: list[tuple[int, str]] = []
    idle_since = 0
    for begin, end in pairwise(_stops(log)):
        while to_start and to_start[-1].start_ns <= begin:
            activity = to_start.pop()
            running[CLASS_OF[activity.work]] += 1
            heappush(to_end, (activity.end_ns, CLASS_OF[activity.work]))
        while to_end and to_end[0][0] <= begin:
            running[heappop(to_end)[1]] -= 1
        if not to_start:
            return
        busy = next((name for name in IN_ORDER if running[name]), None)
        if busy is not None:
            idle_since = end
        yield Stretch(begin, end, busy or _idle_because(log, begin, idle_since, to_start[-1]))


def _recorded(log: Log) -> Log:
    """What reaches into the recording."""
    begin_ns = log.steps[log.recorded_from][0]
    return replace(
        log,
        calls=[call for call in log.calls if call.end_ns > begin_ns],
        activities=[activity for activity in log.activities if activity.end_ns > begin_ns],
        loads=[load for load in log.loads if load[0] >= begin_ns],
    )


def _stops(log: Log) -> list[int]:
    """Moments of the recording at which anything changes."""
    begin_ns = log.steps[log.recorded_from][0]
    stops = {begin_ns, *(time for load in log.loads for time in load[:2])}
    for activity in log.activities:
        stops |= {activity.start_ns, activity.end_ns, activity.call.end_ns}
    return sorted(stop for stop in stops if stop >= begin_ns)


def _idle_because(log: Log, at_ns: int, since_ns: int, ended_by: Activity) -> str:
    """Args: since_ns: when the device fell idle. ended_by: what it runs next."""
    call = ended_by.call
    if ended_by.step < log.recorded_from:
        return "idle_unexplained"
    if at_ns >= call.end_ns:
        is_short = ended_by.start_ns - call.end_ns <= LONGEST_LATENCY_NS
        return "idle_launch" if is_short else "idle_unexplained"
    if any(start <= at_ns < end and thread == call.thread for start, end, thread in log.loads):
        return "idle_data_loading"
    was_blocked = any(one.blocks and one.start_ns <= since_ns < one.end_ns for one in log.calls)
    return "idle_synchronization" if was_blocked else "idle_host"
