"""What ``track`` costs a training with steps of about 20 ms: in its hooks, profiled, and at the export.

Every yardstick is measured in the same process, in turns with ours, so that a slow moment meets both.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity
from torch.profiler.profiler import _KinetoProfile

from mfu_profiler.capture.observe import watch
from mfu_profiler.capture.observe.patch import Patch
from mfu_profiler.capture.phases import Phase
from mfu_profiler.capture.window import Window
from tests.benchmarks.conftest import Figures
from tests.benchmarks.tracked_training import Training, one_thread, tracked

MOST_IN_HOOKS = 0.003
MOST_OVER_PROFILER = 1.05
MOST_OVER_EXPORT = 1.2
FIRST_STEPS = 3
"""One untouched, one counted, and the first that is timed starts the clocks."""
STEPS = 300
"""Several times as many as have events that wait together: the mean is what counts."""
BLOCK = 15
BLOCKS = 24
PROFILED = 10
PROFILES = 10

pytestmark = pytest.mark.benchmark


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


class HookTimes:
    """Time in what ``Watch`` does and tells, by the phase that it began and ended in."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, phase: Callable[[], Phase | None]) -> None:
        self.total_ns: defaultdict[Phase | None, int] = defaultdict(int)
        self._phase = phase
        times = self

        class TimedPatch(Patch):
            """What is called before and after the user's method, timed."""

            def __init__(self, owner: type, name: str, before: Any, after: Any = None, **others: Any) -> None:
                after = times._timed(after) if after is not None else None
                super().__init__(owner, name, times._timed(before), after, **others)

        monkeypatch.setattr(watch, "Patch", TimedPatch)

    def _timed(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(hook)
        def timed(*args: Any) -> Any:
            before, start_ns = self._phase(), time.perf_counter_ns()
            result = hook(*args)
            length_ns = time.perf_counter_ns() - start_ns
            if self._phase() is before:  # else a phase ended: that stops the training, and is counted as such
                self.total_ns[before] += length_ns
            return result

        return timed


def test_hooks_take_at_most_three_thousandths_of_a_step(
    tmp_path: Path, figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training()
    run: Any = None
    hooks = HookTimes(monkeypatch, lambda: run._session.course.phase if run is not None else None)
    found: dict[Phase, tuple[list[int], list[int]]] = {Phase.TIMED: ([], []), Phase.REST: ([], [])}
    with tracked(training, tmp_path, warmup=0, timed=STEPS, active=1) as run:  # noqa: F811 - the phase function above reads it
        for _ in range(FIRST_STEPS + 2 * STEPS + 4):
            phase, before_ns = run._session.course.phase, hooks.total_ns[run._session.course.phase]
            (length_ns,) = training.times_ns(1)
            if run._session.course.phase is phase and phase in found:
                found[phase][0].append(hooks.total_ns[phase] - before_ns)
                found[phase][1].append(length_ns)
    for phase, (ours_ns, steps_ns) in found.items():
        assert len(ours_ns) >= STEPS // 2
        mean_ns, step_ns = sum(ours_ns) / len(ours_ns), median(steps_ns)
        times = f"{mean_ns / 1e3:.0f} µs", f"{step_ns / 1e6:.1f} ms"
        shown = f"{mean_ns / step_ns:.2%} (median {median(ours_ns) / step_ns:.2%})"
        figures.add(f"hooks in a step, {phase.value}", "GPT, CPU", *times, shown, f"{MOST_IN_HOOKS:.1%}")
    assert all(sum(ours) / len(ours) <= MOST_IN_HOOKS * median(steps) for ours, steps in found.values())


class Tiny(Training):
    """A training that does next to nothing, so that what surrounds it shows."""

    def __init__(self) -> None:
        self.model = torch.nn.Linear(1, 1)
        self._optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0)
        self._input = torch.ones(1, 1)

    def step(self) -> None:
        self.model(self._input).backward()
        self._optimizer.step()
        self._optimizer.zero_grad()


def block_ns(training: Training, out: Path | None, steps: int) -> float:
    """Median step time of one block of steps, tracked or not; its first steps are left out."""
    if out is None:
        return median(training.times_ns(FIRST_STEPS + steps)[FIRST_STEPS:])
    with tracked(training, out, warmup=0, timed=FIRST_STEPS + steps):
        return median(training.times_ns(FIRST_STEPS + steps)[FIRST_STEPS:])


def paired_blocks(
    training: Training, out: Path, blocks: int, steps: int
) -> tuple[list[float], list[float], float]:
    """(Tracked minus not, one untracked minus the other, median untracked step), ns; one entry a block."""
    with_ns, apart_ns, plain_ns = [], [], []
    for _ in range(blocks):
        first, ours, second = (block_ns(training, where, steps) for where in (None, out, None))
        with_ns.append(ours - (first + second) / 2)
        apart_ns.append(first - second)
        plain_ns += [first, second]
    return with_ns, apart_ns, median(plain_ns)


def test_a_step_of_nothing_grows_by_less_than_three_thousandths_of_20_ms(
    tmp_path: Path, figures: Figures
) -> None:
    """All that is around the hooks included: patched methods, modes of Dynamo, Python's own calls."""
    with_ns, _, plain_ns = paired_blocks(Tiny(), tmp_path, 8, 500)
    limit_ns = MOST_IN_HOOKS * 20e6
    ours_ns = median(with_ns)
    times = f"{ours_ns / 1e3:.0f} µs", "20 ms"
    figures.add(
        "a step of nothing, tracked",
        f"{plain_ns / 1e3:.0f} µs",
        *times,
        f"{ours_ns / 20e6:.2%}",
        f"{MOST_IN_HOOKS:.1%}",
    )
    assert 0 < ours_ns <= limit_ns


def test_a_tracked_step_differs_from_an_untracked_one_by_no_more_than_two_untracked_ones(
    tmp_path: Path, figures: Figures
) -> None:
    """A/B/A in turns. The yardstick is the typical difference of the two A."""
    with_ns, apart_ns, plain_ns = paired_blocks(Training(), tmp_path, BLOCKS, BLOCK)
    ours_ns, noise_ns = median(with_ns), median(map(abs, apart_ns))
    times = f"{ours_ns / 1e3:+.0f} µs", f"{noise_ns / 1e3:.0f} µs"
    ratio = f"{ours_ns / plain_ns:+.2%} against {noise_ns / plain_ns:.2%}"
    figures.add("tracked minus untracked step", f"{plain_ns / 1e6:.1f} ms", *times, ratio, "noise")
    assert abs(ours_ns) <= noise_ns


def profiled_by_torch_ns(training: Training) -> list[int]:
    """Times of profiled steps, without the first, in torch's own profiler with the switches of ours."""
    profiler = _KinetoProfile(activities=[ProfilerActivity.CPU], record_shapes=True)
    profiler.prepare_trace()
    training.step()
    profiler.start_trace()
    lengths = training.times_ns(PROFILED)[1:]
    profiler.stop_trace()
    return lengths


def profiled_by_us_ns(training: Training, out: Path) -> list[int]:
    """The same under ``track``."""
    lengths = []
    with tracked(training, out, warmup=0, timed=1, active=PROFILED) as run:
        session: Any = run._session
        while session.course.phase is not Phase.REST:
            is_profiled = session.course.phase is Phase.PROFILED
            (length_ns,) = training.times_ns(1)
            if is_profiled and session.course.phase is Phase.PROFILED:
                lengths.append(length_ns)
    assert len(lengths) == PROFILED - 1
    return lengths


def test_a_profiled_step_takes_at_most_a_twentieth_longer_than_under_torchs_profiler(
    tmp_path: Path, figures: Figures
) -> None:
    training = Training()
    ratios, bare_ns = [], []
    for turn in range(PROFILES):
        both: dict[bool, float] = {}
        for is_ours in (True, False) if turn % 2 else (False, True):
            lengths = profiled_by_us_ns(training, tmp_path) if is_ours else profiled_by_torch_ns(training)
            both[is_ours] = median(lengths)
        ratios.append(both[True] / both[False])
        bare_ns.append(both[False])
    ratio = median(ratios)
    times = f"{ratio * median(bare_ns) / 1e6:.1f} ms", f"{median(bare_ns) / 1e6:.1f} ms"
    spread = f"{ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    figures.add(
        "profiled step over torch.profiler", "GPT, CPU", *times, spread, f"at most {MOST_OVER_PROFILER}"
    )
    assert ratio <= MOST_OVER_PROFILER


@pytest.fixture
def hand_overs(monkeypatch: pytest.MonkeyPatch) -> defaultdict[str, list[int]]:
    """Times of hand-overs, and of the profiler's own stop in each, ns."""
    times: defaultdict[str, list[int]] = defaultdict(list)

    def watch_method(owner: type, name: str) -> None:
        method = getattr(owner, name)

        @wraps(method)
        def timed(*args: Any) -> Any:
            start_ns = time.perf_counter_ns()
            result = method(*args)
            times[name].append(time.perf_counter_ns() - start_ns)
            return result

        monkeypatch.setattr(owner, name, timed)

    watch_method(Window, "hand_over")
    watch_method(_KinetoProfile, "stop_trace")
    return times


def exported_by_torch_ns(training: Training, path: Path) -> int:
    """Time of ``export_chrome_trace`` alone, of as many steps."""
    profiler = _KinetoProfile(activities=[ProfilerActivity.CPU], record_shapes=True)
    profiler.prepare_trace()
    profiler.start_trace()
    for _ in range(PROFILED):
        training.step()
    profiler.stop_trace()
    start_ns = time.perf_counter_ns()
    profiler.export_chrome_trace(str(path))
    return time.perf_counter_ns() - start_ns


def test_the_hand_over_stops_the_training_hardly_longer_than_the_bare_export(
    tmp_path: Path, figures: Figures, hand_overs: defaultdict[str, list[int]]
) -> None:
    """The profiler's own stop is part of both, and left out of both."""
    training = Training()
    ours_ns: list[int] = []
    bare_ns: dict[str, list[int]] = {"json": [], "json.gz": []}
    for _ in range(PROFILES):
        hand_overs.clear()
        profiled_by_us_ns(training, tmp_path)
        (whole_ns,), (stop_ns,) = hand_overs["hand_over"], hand_overs["stop_trace"]
        ours_ns.append(whole_ns - stop_ns)
        for suffix, times_ns in bare_ns.items():
            times_ns.append(exported_by_torch_ns(training, tmp_path / f"bare.{suffix}"))
    ours = median(ours_ns)
    for suffix, times_ns in bare_ns.items():
        times = f"{ours / 1e6:.0f} ms", f"{median(times_ns) / 1e6:.0f} ms"
        shown = f"{ours / median(times_ns):.2f}"
        figures.add("hand-over over export", suffix, *times, shown, f"at most {MOST_OVER_EXPORT:g}")
    assert all(ours <= MOST_OVER_EXPORT * median(times_ns) for times_ns in bare_ns.values())
