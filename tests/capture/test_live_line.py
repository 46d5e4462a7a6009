"""``run.mfu`` and ``run.step_time_s`` against FLOP / (time x peak) by hand; the test moves the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import mfu_profiler
from mfu_profiler.capture.observe import watch

from .training import MLP_FLOP, QUICK, Mlp

STEP_NS = 20_000_000
PEAK_FLOP_PER_S = 1e6
SETTINGS: dict[str, Any] = {**QUICK, "peak_tflops": PEAK_FLOP_PER_S / 1e12, "report": "never"}
STEPS = 24
LIVE_FROM = 3
"""The first step that is neither untouched nor counted."""
PROFILED = (7, 8)
CLOSE = 1e-9


class Clock:
    """In the place of the system's: it stands still unless moved."""

    def __init__(self) -> None:
        self.now_ns = 10**18

    def time_ns(self) -> int:
        return self.now_ns

    def move(self, length_ns: int) -> None:
        self.now_ns += length_ns


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    stand_in = Clock()
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(time, "time_ns", stand_in.time_ns)
        patches.setattr(watch, "time_ns", stand_in.time_ns)
        yield stand_in


class Loop:
    """nanoGPT's loop: micro-steps, optimizer.step, log line; each step is 1 ms longer than the one before."""

    def __init__(self, clock: Clock, run: mfu_profiler.Run, model: Mlp, micro_batches: int) -> None:
        self.clock, self.run, self.model, self.micro_batches = clock, run, model, micro_batches
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        self.ends_s: list[float] = []
        self.logged: list[tuple[float, float]] = []
        """(step_time_s, mfu) right after each optimizer step."""
        self.evaluation_s = 0.0

    def iterate(self, *, evaluate_s: float = 0.0) -> None:
        if evaluate_s:
            self._evaluate(evaluate_s)
        for _ in range(self.micro_batches):
            loss = self.model(torch.randn(4, 8)).square().mean()
            self.clock.move((STEP_NS + len(self.ends_s) * 10**6) // self.micro_batches)
            loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ends_s.append((self.clock.now_ns - 10**18) / 1e9)
        self.logged.append((self.run.step_time_s, self.run.mfu))

    def _evaluate(self, seconds: float) -> None:
        self.model.eval()
        with torch.no_grad():
            self.model(torch.randn(4, 8))
            self.clock.move(round(seconds * 1e9))
            self.model(torch.randn(4, 8))
        self.model.train()
        self.evaluation_s += seconds

    def length_s(self, step: int) -> float:
        """Of a step (from 1), by the clock of the test: from the optimizer step before it to its own."""
        return self.ends_s[step - 1] - self.ends_s[step - 2]

    def mean_s(self, *steps: int) -> float:
        return sum(map(self.length_s, steps)) / len(steps)


@contextmanager
def tracked(clock: Clock, folder: Path, micro_batches: int = 1) -> Iterator[Loop]:
    model = Mlp()
    with mfu_profiler.track(model, out=folder, **SETTINGS) as run:
        yield Loop(clock, run, model, micro_batches)


@pytest.fixture(scope="module", params=[1, 4], ids=lambda count: f"{count} micro-batches")
def ended(clock: Clock, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loop:
    with tracked(clock, tmp_path_factory.mktemp("live"), request.param) as loop:
        for _ in range(STEPS):
            loop.iterate()
    return loop


@pytest.mark.parametrize("step", [3, 4, 5])
def test_the_live_step_time_is_right_at_nanogpts_place_in_the_loop(ended: Loop, step: int) -> None:
    measured, _ = ended.logged[step - 1]
    assert measured == pytest.approx(ended.mean_s(*range(LIVE_FROM, step + 1)), rel=CLOSE)


def test_the_live_mfu_is_flop_over_time_and_peak(ended: Loop) -> None:
    flop = MLP_FLOP * ended.micro_batches
    for step in (3, 4, 5):
        _, mfu = ended.logged[step - 1]
        by_hand = flop / ended.mean_s(*range(LIVE_FROM, step + 1)) / PEAK_FLOP_PER_S
        assert mfu == pytest.approx(by_hand, rel=CLOSE)


def test_the_live_line_goes_on_after_the_profiled_window(ended: Loop) -> None:
    measured, mfu = ended.logged[-1]
    undisturbed = [step for step in range(LIVE_FROM, STEPS + 1) if step not in PROFILED]
    assert measured == pytest.approx(ended.mean_s(*undisturbed), rel=CLOSE)
    assert mfu == pytest.approx(
        MLP_FLOP * ended.micro_batches / ended.mean_s(*undisturbed) / PEAK_FLOP_PER_S, rel=CLOSE
    )


def test_nothing_is_said_before_an_undisturbed_step(ended: Loop) -> None:
    for measured, mfu in ended.logged[: LIVE_FROM - 1]:
        assert math.isnan(measured) and math.isnan(mfu)


def test_the_last_values_stay_after_the_block(ended: Loop) -> None:
    assert ended.run.step_time_s == pytest.approx(ended.logged[-1][0], rel=CLOSE)


def test_a_profiled_step_does_not_change_the_live_line(ended: Loop) -> None:
    assert len({ended.logged[step - 1] for step in PROFILED}) == 1


def test_evaluation_is_no_part_of_a_live_step(clock: Clock, tmp_path: Path) -> None:
    with tracked(clock, tmp_path) as loop:
        for step in range(1, 6):
            loop.iterate(evaluate_s=0.2 if step == 5 else 0.0)
    for measured in (loop.logged[-1][0], loop.run.step_time_s):
        assert measured == pytest.approx(loop.mean_s(3, 4, 5) - loop.evaluation_s / 3, rel=CLOSE)


def test_flop_and_peak_that_are_given_are_those_of_the_live_line(clock: Clock, tmp_path: Path) -> None:
    model = Mlp()
    settings = {**SETTINGS, "flop_per_step": 5e9, "peak_tflops": 1.0}
    with mfu_profiler.track(model, out=tmp_path, **settings) as run:
        loop = Loop(clock, run, model, 1)
        for _ in range(4):
            loop.iterate()
    assert loop.logged[-1][1] == pytest.approx(5e9 / loop.mean_s(3, 4) / 1e12, rel=CLOSE)


def test_a_rate_above_the_peak_is_never_shown(clock: Clock, tmp_path: Path) -> None:
    model = Mlp()
    with mfu_profiler.track(model, out=tmp_path, **{**SETTINGS, "flop_per_step": 1e18}) as run:
        loop = Loop(clock, run, model, 1)
        for _ in range(4):
            loop.iterate()
    assert loop.logged[-1][0] > 0 and math.isnan(loop.logged[-1][1])
    assert "mfu" not in run.metrics()
