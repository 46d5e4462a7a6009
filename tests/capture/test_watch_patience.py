"""Events that wait: told late, but as they happened, and in time for every change of phase."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

import mfu_profiler
from mfu_profiler.capture import course
from mfu_profiler.capture.observe.discover import instances_of
from mfu_profiler.capture.observe.listener import Call, ForwardMode
from mfu_profiler.capture.observe.watch import Watch
from mfu_profiler.capture.phases import Phase

from .training import QUICK, mlp_training, tracked
from .watching import Heard, Net, train

X = torch.ones(2, 4)


class Timed(Heard):
    """Keeps the times and marks that it is told, too."""

    def __init__(self) -> None:
        super().__init__()
        self.times_ns: list[int] = []
        self.marks: list[object] = []

    def on_forward(
        self, model: nn.Module, mode: ForwardMode, now_ns: int, thread: int, mark: object, call: Call | None
    ) -> None:
        super().on_forward(model, mode, now_ns, thread, mark, call)
        self.times_ns.append(now_ns)
        self.marks.append(mark)

    def on_optimizer_end(self, optimizer: Optimizer, now_ns: int, mark: object) -> None:
        super().on_optimizer_end(optimizer, now_ns, mark)
        self.times_ns.append(now_ns)
        self.marks.append(mark)


@pytest.fixture
def net() -> Net:
    return Net()


def watching(model: nn.Module, patience: int) -> tuple[Timed, Watch]:
    heard = Timed()
    watch = Watch(model, heard)
    watch.start()
    watch.patience = patience
    return heard, watch


def test_what_waits_is_told_in_order_with_the_times_at_which_it_happened(net: Net) -> None:
    heard, watch = watching(net, 100)
    train(net, SGD(net.parameters()))
    ended_ns = time.time_ns()
    assert heard.picture == ""
    watch.tell()
    watch.stop()
    assert heard.picture == "F()F()"
    assert heard.times_ns == sorted(heard.times_ns) and heard.times_ns[-1] <= ended_ns


def test_the_listener_is_told_once_so_much_waits(net: Net) -> None:
    heard, watch = watching(net, 3)  # until an optimizer has stepped, anything may end a step
    optimizer = SGD(net.parameters())
    train(net, optimizer, steps=1)
    assert heard.picture == ""
    train(net, optimizer, steps=1)
    assert heard.picture == "F()F"
    watch.stop()


def test_arguments_do_not_wait(net: Net) -> None:
    """They would be kept from being freed."""
    heard, watch = watching(net, 2)
    net(X)
    net(X)
    watch.patience = 0
    net(X, scale=2.0)
    watch.stop()
    assert heard.arguments[:2] == [None, None]
    assert heard.arguments[2] == ((X,), {"scale": 2.0})


def test_the_mode_is_that_of_the_call(net: Net) -> None:
    heard, watch = watching(net, 100)
    net.eval()
    net(X)
    net.train()
    watch.tell()
    watch.stop()
    assert heard.picture == "E"


def test_what_the_listener_asks_for_meanwhile_is_told_once(net: Net) -> None:
    heard, watch = watching(net, 100)

    class Asking(Timed):
        def on_optimizer_begin(self, optimizer: Optimizer) -> None:
            watch.tell()  # as a signal handler may
            super().on_optimizer_begin(optimizer)

    heard.__class__ = Asking
    train(net, SGD(net.parameters()))
    watch.tell()
    watch.stop()
    assert heard.picture == "F()F()"


class Clock:
    """Counts in place of a device's clock."""

    def __init__(self) -> None:
        self.count = 0

    def now(self) -> int:
        self.count += 1
        return self.count


def test_the_device_is_marked_only_where_a_step_may_have_ended(net: Net) -> None:
    heard, watch = watching(net, 0)
    clock: Any = Clock()
    watch.clock = clock
    optimizer = SGD(net.parameters())
    for _ in range(2):
        for _ in range(3):  # accumulation
            net(X).sum().backward()
        optimizer.step()
        with torch.no_grad():  # for logging
            net(X)
    watch.stop()
    assert heard.picture == "FFF()E" * 2
    before_any_step, later = [1, 2, 3, 4, None], [5, None, None, None, None]
    assert heard.marks == before_any_step + later


def phases_of_steps(folder: Path, monkeypatch: pytest.MonkeyPatch, patience: int) -> list[tuple[int, Phase]]:
    """(Number, phase) of each step, when it is taken, with phases of 30 steps."""
    taken: list[tuple[int, Phase]] = []
    whole = course.Course.take

    def take(self: Any, finished: Any, mark: object) -> None:
        taken.append((finished.number, self.phase))
        whole(self, finished, mark)

    with monkeypatch.context() as patches:
        patches.setattr(course, "MOST_PATIENCE", patience)
        patches.setattr(course.Course, "take", take)
        tracked(*mlp_training(), folder, steps=100, timed=30, report="never")
    return taken


def test_no_change_of_phase_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attentive = phases_of_steps(tmp_path / "one", monkeypatch, 0)
    assert [number for number, _ in attentive] == list(range(1, 101))
    assert phases_of_steps(tmp_path / "many", monkeypatch, 10_000) == attentive


def test_live_numbers_count_what_waits_on_any_thread(tmp_path: Path) -> None:
    model, step = mlp_training()
    counts: list[float] = []

    def ask() -> None:
        counts.append(run.metrics()["steps"])

    with mfu_profiler.track(model, out=tmp_path, report="never", **QUICK) as run:
        for _ in range(40):
            step()
        assert run._session is not None and run._session.course.phase is Phase.REST
        assert run._session.course.times.count < 38, "nothing waits, so this shows nothing"
        asking = threading.Thread(target=ask)
        asking.start()
        asking.join()
        step()
        ask()
    assert counts == [39, 40]  # the last one has not been proven yet


def test_live_numbers_may_be_asked_for_on_any_thread_at_any_time(tmp_path: Path) -> None:
    model, step = mlp_training()
    failed: list[BaseException] = []
    is_over = threading.Event()

    def ask_again_and_again() -> None:
        try:
            while not is_over.is_set():
                assert all(value >= 0 for value in run.metrics().values())
        except BaseException as error:
            failed.append(error)

    with mfu_profiler.track(model, out=tmp_path, report="never", **QUICK) as run:
        asking = threading.Thread(target=ask_again_and_again)
        asking.start()
        for _ in range(300):
            step()
        is_over.set()
        asking.join()
    assert failed == [] and run.metrics()["steps"] == 300


def profilers_that_keep_results() -> int:
    return sum(one.kineto_results is not None for one in instances_of(torch.autograd.profiler.profile))


@pytest.mark.parametrize(("most_kept_byte", "kept"), [(64 * 2**20, 1), (0, 0)])
def test_small_recordings_are_freed_after_the_block_and_large_ones_at_once(
    most_kept_byte: int, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mfu_profiler.capture.profile.profiling.MOST_KEPT_BYTE", most_kept_byte)
    before = profilers_that_keep_results()
    model, step = mlp_training()
    with mfu_profiler.track(model, out=tmp_path, report="never", **QUICK):
        for _ in range(10):
            step()
        assert profilers_that_keep_results() == before + kept
    assert profilers_that_keep_results() == before
