"""What-ifs: step times with a cause removed, on programs whose answer is plain, and on a real pair."""

from __future__ import annotations

from functools import reduce
from operator import or_

import numpy as np
import pytest

from mfu_profiler.analysis.host_steps import host_steps
from mfu_profiler.analysis.intervals import Spans
from mfu_profiler.analysis.replay.graph import replay_graph
from mfu_profiler.analysis.replay.predictions import Predictions, left_by_replay
from mfu_profiler.analysis.replay.relief import CAUSES, Cause, Change, Relief
from mfu_profiler.analysis.replay.what_ifs import WhatIfs
from mfu_profiler.analysis.report import Finding
from mfu_profiler.analysis.times import times_of
from mfu_profiler.trace.timeline import Timeline

from .pictures import COLLECTIVE_KERNEL, LOADER, MAIN, US, Activity, Host, assembled
from .real import real_report, real_timeline

STEPS = 5


def what_ifs(drawn: Timeline) -> WhatIfs:
    times = times_of(drawn, host_steps(drawn), "device", is_cpu=False)
    assert times is not None
    loading = times.host.loading.values()
    reliefs: dict[Change, Relief] = {"data": Relief(reduce(or_, loading, Spans.nothing()))}
    return WhatIfs.of(drawn, times.kinds, replay_graph(drawn, times.kinds), times.windows, reliefs)


def step_us(drawn: Timeline, *removed: Cause) -> float:
    return what_ifs(drawn).step_ns(removed) / US


class Recorded:
    """A training of equal steps, written down call by call; times in µs from the start of the step.

    Args:
        length: of a step on the device.
        host: of a step on the host, where that runs ahead.

    """

    def __init__(self, length: int, host: int | None = None) -> None:
        self.length = length
        self.host = length if host is None else host
        self.calls: list[Host] = []
        self.marks: list[Host] = []
        self.activities: list[Activity] = []
        for step in range(STEPS):
            at = step * self.host
            self.marks.append(Host(f"ProfilerStep#{step}", at * US, (at + self.host) * US, MAIN))

    def call(self, name: str, start: int, end: int) -> None:
        for step in range(STEPS):
            at = step * self.host
            self.calls.append(Host(name, (at + start) * US, (at + end) * US))

    def loads(self, start: int, end: int) -> None:
        for step in range(STEPS):
            at = step * self.host
            self.marks.append(Host(LOADER, (at + start) * US, (at + end) * US, MAIN))

    def runs(
        self, launch: int, start: int, end: int, name: str = "kernel", stream: int = 0, kind: int = 0,
        call: str = "cudaLaunchKernel",
    ) -> None:  # fmt: skip
        """An activity, launched by a call of 2 µs."""
        for step in range(STEPS):
            at = step * self.host
            place = len(self.calls)
            self.calls.append(Host(call, (at + launch) * US, (at + launch + 2) * US))
            at = step * self.length
            self.activities.append(Activity(name, (at + start) * US, (at + end) * US, place, stream, kind))

    def timeline(self) -> Timeline:
        return assembled(self.activities, self.calls, marks=self.marks)


def data_bound() -> Timeline:
    """60 µs of 100 wait for data; the kernel then runs 30."""
    recorded = Recorded(100)
    recorded.loads(0, 60)
    recorded.runs(62, 67, 97)
    return recorded.timeline()


def device_bound() -> Timeline:
    """Two kernels of 45 µs with a gap of 1 and a launch far ahead: the host is done after 20 of 92 µs."""
    recorded = Recorded(92)
    recorded.runs(0, 5, 50)
    recorded.runs(18, 51, 96)
    return recorded.timeline()


def test_nothing_removed_is_the_recorded_step() -> None:
    assert step_us(data_bound()) == 100
    assert step_us(device_bound()) == 92


def test_without_the_wait_for_data_the_step_is_what_is_left() -> None:
    """Of host time 40 µs are left, in which the kernel of 30 fits, with its gap."""
    assert step_us(data_bound(), "data") == 40


def test_a_free_host_still_waits_for_data() -> None:
    assert step_us(data_bound(), "host") == 60
    assert step_us(data_bound(), "host", "data") == 31


@pytest.mark.parametrize("cause", CAUSES)
def test_nothing_makes_a_device_quicker_that_computes_all_the_time(cause: Cause) -> None:
    assert step_us(device_bound(), cause) == 92


def test_without_synchronization_the_host_runs_ahead() -> None:
    """The host waits at 10 for the end at 65, and the launch of the next step comes 30 µs later."""
    recorded = Recorded(100)
    recorded.runs(0, 5, 65)
    recorded.call("cudaDeviceSynchronize", 10, 70)
    drawn = recorded.timeline()
    assert step_us(drawn) == 100
    assert step_us(drawn, "sync") == 61


def test_hidden_communication_lets_the_next_kernel_start() -> None:
    recorded = Recorded(110, host=20)
    recorded.runs(0, 5, 45)
    recorded.runs(4, 46, 86, COLLECTIVE_KERNEL)
    recorded.runs(8, 87, 114)
    drawn = recorded.timeline()
    assert step_us(drawn) == 110
    assert step_us(drawn, "communication") == 110 - 40


def test_a_copy_that_blocks_the_host_is_hidden() -> None:
    """The copy takes 40 µs of device and host; without it the host's other 60 set the pace."""
    recorded = Recorded(100)
    recorded.runs(60, 65, 90)
    for step in range(STEPS):
        at = step * 100
        place = len(recorded.calls)
        recorded.calls.append(Host("cudaMemcpyAsync", at * US, (at + 42) * US))
        copy = Activity("Memcpy HtoD (Pageable -> Device)", (at + 2) * US, (at + 41) * US, place, 0, 1)
        recorded.activities.append(copy)
    drawn = recorded.timeline()
    assert step_us(drawn) == 100
    assert 58 <= step_us(drawn, "copy") <= 60


def test_removing_more_never_takes_longer() -> None:
    for drawn in (data_bound(), device_bound()):
        found = what_ifs(drawn)
        for first in CAUSES:
            for second in CAUSES:
                assert found.step_ns((first, second)) <= found.step_ns((first,))


def test_a_backlog_of_the_recording_is_not_eaten_up() -> None:
    """The device works 92 µs a step and is behind; a free host gains nothing, however long the queue."""
    recorded = Recorded(92)
    recorded.activities.append(Activity("kernel", 0, 399 * US))
    recorded.runs(0, 400, 445)
    recorded.runs(18, 446, 491)
    assert step_us(recorded.timeline()) == 92
    assert step_us(recorded.timeline(), "host") == 92


BEFORE, AFTER = "kineto_resnet50_workers0_v100", "kineto_resnet50_workers4_v100"


def test_the_real_training_with_workers_took_what_the_replay_predicts(shared_dir: object) -> None:
    """PyTorch's own ResNet-50, before and after num_workers=4."""
    predicted = step_us(real_timeline(BEFORE), "data")
    after = times_of(real_timeline(AFTER), host_steps(real_timeline(AFTER)), "device", is_cpu=False)
    assert after is not None
    starts, ends = after.averaged
    achieved = float(np.median(ends - starts)) / US
    print(f"predicted {predicted / 1e3:.1f} ms, achieved {achieved / 1e3:.1f} ms")
    assert predicted == pytest.approx(achieved, rel=0.1)


# The ladder ---------------------------------------------------------------------------------------


def predictions(drawn: Timeline, mfu: float | None = 0.2) -> Predictions:
    return Predictions(left_by_replay(what_ifs(drawn)), step_time_s=100e-6, mfu=mfu)


def finding(code: str, share: float) -> Finding:
    return Finding(code, code, share, (), ())


def test_the_ladder_takes_the_best_first_and_asks_the_others_again() -> None:
    """Data 60 µs of 100; then the host 9 more, beside a kernel of 30 and its gap."""
    found = predictions(data_bound()).ladder([finding("host_bound", 0.1), finding("data_loading", 0.6)])
    assert [(rung.code, round(rung.step_time_after_s * 1e6, 1)) for rung in found] == [
        ("data_loading", 40.0),
        ("host_bound", 31.0),
    ]
    assert found[0].mfu_after == pytest.approx(0.5) and found[1].mfu_after == pytest.approx(0.2 / 0.31)


def test_a_fix_counts_for_no_more_than_its_cause_holds() -> None:
    """A free host would give 40 µs here as well, but holds 10."""
    predicted = predictions(data_bound())
    free = predicted.of(finding("host_bound", 0.1))
    assert free.recovered_s == pytest.approx(40e-6)
    assert predicted.ladder([free, finding("data_loading", 0.3)])[0].code == "data_loading"


def test_what_gives_nothing_more_is_no_rung() -> None:
    """Launches and host-bound time have one fix."""
    rungs = predictions(data_bound()).ladder([finding("host_bound", 0.4), finding("launch", 0.1)])
    assert [rung.code for rung in rungs] == ["host_bound"]
    assert predictions(device_bound()).ladder([finding("data_loading", 0.6)]) == ()


def test_an_mfu_that_no_device_reaches_is_not_predicted() -> None:
    assert predictions(data_bound(), mfu=0.5).of(finding("data_loading", 0.6)).mfu_after is None


def test_what_no_what_if_tells_stays_as_it_is() -> None:
    plain = finding("clocks", 0.4)
    assert predictions(data_bound()).of(plain) is plain


def test_waits_of_unprofiled_steps_are_recovered_too() -> None:
    """A profiled step of 92 µs waits for nothing, an unprofiled one of 184 waits 92."""
    predicted = Predictions(left_by_replay(what_ifs(device_bound()), 92e-6), step_time_s=184e-6, mfu=None)
    found = predicted.of(finding("data_loading", 0.5))
    assert found.recovered_s == pytest.approx(92e-6) and found.step_time_after_s == pytest.approx(92e-6)
    assert predicted.of(finding("host_bound", 0.5)).recovered_s == pytest.approx(0)


def test_the_real_training_has_its_ladder(shared_dir: object) -> None:
    report = real_report(BEFORE)
    assert report.findings[0].code == "data_loading"
    assert report.ladder[0].code == "data_loading" and len(report.ladder) > 1
    times = [report.step_time_s or 0, *(rung.step_time_after_s for rung in report.ladder)]
    assert times == sorted(times, reverse=True)
