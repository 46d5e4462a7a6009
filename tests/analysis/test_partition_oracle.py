"""The partition of random timelines against a classification of each instant by itself.

The oracle below follows the text of design.md, section 5, one instant at a time. It shares no code with the
product: it knows activities, calls and spans as plain tuples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mfu_profiler.analysis.host_states import host_states
from mfu_profiler.analysis.partition import device_parts
from mfu_profiler.analysis.report import PARTS
from mfu_profiler.trace.timeline import KERNEL, MEMCPY, MEMSET

from .pictures import COLLECTIVE_KERNEL, LOADER, MAIN, Activity, Host, assembled, kinds_of

TICK = 25_000
"""ns. All times are multiples; two ticks are the 50 µs that launch latency may take."""
LAST = 24
THREADS = (0, 1, 2)

LAUNCHES = ("cudaLaunchKernel", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaMemcpy")
SYNCS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
DEVICE_WORK = (
    ("my_kernel", KERNEL),
    ("my_other_kernel", KERNEL),
    (COLLECTIVE_KERNEL, KERNEL),
    ("Memcpy HtoD (Pinned -> Device)", MEMCPY),
    ("Memcpy DtoH (Device -> Pageable)", MEMCPY),
    ("Memset (Device)", MEMSET),
)


@dataclass(frozen=True)
class Case:
    """A random trace; times in ticks."""

    activities: list[Activity]
    calls: list[Host]
    ops: list[Host]
    marks: list[Host]

    def blocks(self, index: int) -> bool:
        """Whether a call returns only when device work is done."""
        call = self.calls[index]
        pageable = any("Pageable" in a.name and a.call == index for a in self.activities)
        return call.name in SYNCS or call.name == "cudaMemcpy" or pageable


def extent(draw: st.DrawFn) -> tuple[int, int]:
    start = draw(st.integers(0, LAST))
    return start, min(LAST, start + draw(st.integers(0, 8)))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    calls = [
        Host(draw(st.sampled_from(LAUNCHES + SYNCS)), *extent(draw), draw(st.sampled_from(THREADS)))
        for _ in range(draw(st.integers(0, 6)))
    ]
    launches = [None, *(index for index, call in enumerate(calls) if call.name in LAUNCHES)]
    activities = []
    for _ in range(draw(st.integers(1, 7))):
        name, kind = draw(st.sampled_from(DEVICE_WORK))
        call, stream = draw(st.sampled_from(launches)), draw(st.integers(0, 2))
        activities.append(Activity(name, *extent(draw), call, stream, kind))
    ops = [
        Host("aten::item", *extent(draw), draw(st.sampled_from(THREADS)))
        for _ in range(draw(st.integers(0, 2)))
    ]
    marks = [
        Host(draw(st.sampled_from([LOADER, "mfu_profiler.data", "other"])), *extent(draw), thread)
        for thread in draw(st.lists(st.sampled_from(THREADS), max_size=3))
    ]
    return Case(activities, calls, ops, marks)


def class_of(case: Case, time: int) -> str:
    """The class of the instant [time, time + 1), by the rules in their order."""
    running = {kind_word(a) for a in case.activities if a.start_ns <= time < a.end_ns}
    for word in ("compute", "communication", "copy"):
        if word in running:
            return word
    begin, end = gap_around(case, time)
    ending = [a for a in case.activities if a.start_ns == end and a.end_ns > end]
    thread, returned = MAIN, end
    if ending:
        call = ending[0].call
        if call is None:
            return "idle_unexplained"
        launch = case.calls[call]
        thread, returned = launch.thread, launch.end_ns
        if time >= returned:
            is_long = (end - returned) * TICK > 50_000
            return "idle_unexplained" if is_long or launch.name == "cudaGraphLaunch" else "idle_launch"
    if any(m.name != "other" and m.thread == thread and m.start_ns <= time < m.end_ns for m in case.marks):
        return "idle_data_loading"
    return "idle_synchronization" if is_blocked(case, begin) else "idle_host"


def kind_word(activity: Activity) -> str:
    if activity.kind != KERNEL:
        return "copy"
    return "communication" if activity.name == COLLECTIVE_KERNEL else "compute"


def gap_around(case: Case, time: int) -> tuple[int, int]:
    """The idle stretch that an idle instant lies in, as far as the trace reaches."""

    def is_idle(instant: int) -> bool:
        return not any(a.start_ns <= instant < a.end_ns for a in case.activities)

    begin, end = time, time + 1
    while begin > 0 and is_idle(begin - 1):
        begin -= 1
    while end < LAST and is_idle(end):
        end += 1
    return begin, end


def is_blocked(case: Case, time: int) -> bool:
    """Whether a thread that launches device work waits for the device."""
    launching = {case.calls[a.call].thread for a in case.activities if a.call is not None}
    launching = launching or {call.thread for call in case.calls}
    waits = [call for index, call in enumerate(case.calls) if case.blocks(index)] + case.ops
    return any(w.thread in launching and w.start_ns <= time < w.end_ns for w in waits)


@settings(max_examples=600, deadline=None)
@given(cases(), st.lists(st.tuples(st.integers(0, LAST), st.integers(0, LAST)), min_size=1, max_size=3))
def test_each_part_of_each_window_holds_the_instants_of_its_class(
    case: Case, windows: list[tuple[int, int]]
) -> None:
    windows = [(min(pair), max(pair)) for pair in windows]
    drawn = assembled(
        *([row_in_ns(row) for row in rows] for rows in (case.activities, case.calls, case.ops, case.marks))
    )
    parts = device_parts(drawn, kinds_of(drawn), host_states(drawn, MAIN), (0, LAST * TICK))
    starts, ends = np.array(windows, np.int64).T * TICK
    found = parts.within(starts, ends)
    classes = [class_of(case, time) for time in range(LAST)]
    for index, (start, end) in enumerate(windows):
        expected = {name: classes[start:end].count(name) * TICK for name in PARTS}
        assert {name: int(found[name][index]) for name in PARTS} == expected
        assert sum(int(found[name][index]) for name in PARTS) == (end - start) * TICK


def row_in_ns(row: Activity | Host) -> Activity | Host:
    values = vars(row) | {"start_ns": row.start_ns * TICK, "end_ns": row.end_ns * TICK}
    return type(row)(**values)
