"""Known causes put into a training, and what the report makes of them."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import mfu_profiler
from mfu_profiler.analysis import Report
from mfu_profiler.capture.demo_training import Gpt

PLAN: dict[str, Any] = {"warmup": 1, "timed": 5, "active": 5, "peak_tflops": 1.0, "quiet": True}
STEPS = 15
WIDTH = 512
POINTS = 0.03
"""Three of a hundred; what the loader itself costs is some 0.2 ms of 20."""


class Sleepy(Dataset[Any]):
    """Each sample takes its time, and is small."""

    def __init__(self, sleep_s: float) -> None:
        self.sleep_s = sleep_s
        self.waits_s: list[float] = []
        """How long the training waited for each batch, by its own clock."""

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> Any:
        if self.sleep_s:
            time.sleep(self.sleep_s)
        return torch.ones(WIDTH)


def report_of(data: Sleepy, folder: Path, workers: int = 0, rows: int = 400) -> Report:
    """Of a training on one sample a batch, repeated to ``rows``."""
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(3)))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    loader: DataLoader[Any] = DataLoader(data, batch_size=1, num_workers=workers)
    with mfu_profiler.track(model, out=folder, **PLAN) as run:
        batches = iter(loader)
        for _ in range(STEPS):
            start_s = time.perf_counter()
            batch = next(batches)
            data.waits_s.append(time.perf_counter() - start_s)
            model(batch.expand(rows, WIDTH)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert run.report is not None
    return run.report


@pytest.mark.benchmark
@pytest.mark.parametrize("sleep_ms", [0, 5, 20, 50])
def test_the_share_of_data_loading_is_what_the_training_waits(sleep_ms: int, tmp_path: Path) -> None:
    data = Sleepy(sleep_ms / 1e3)
    report = report_of(data, tmp_path)
    assert report.partition is not None
    expected = share_of(data.waits_s, report)
    assert report.partition.idle_data_loading == pytest.approx(expected, abs=POINTS)


@pytest.mark.parametrize(("sleep_s", "is_slow"), [(0.0, False), (0.05, True)])
def test_a_slow_loader_is_the_first_finding_and_a_quick_one_is_none(
    sleep_s: float, is_slow: bool, tmp_path: Path
) -> None:
    codes = [finding.code for finding in report_of(Sleepy(sleep_s), tmp_path).findings]
    assert (codes[:1] == ["data_loading"]) == ("data_loading" in codes) == is_slow


@pytest.mark.benchmark
@pytest.mark.parametrize("sleep_ms", [0, 5, 20, 50])
def test_the_share_of_data_loading_is_what_the_loader_sleeps(sleep_ms: int, tmp_path: Path) -> None:
    report = report_of(Sleepy(sleep_ms / 1e3), tmp_path)
    assert report.partition is not None
    expected = share_of([sleep_ms / 1e3] * STEPS, report)
    print(
        f"\nsleep {sleep_ms} ms: {report.partition.idle_data_loading:.4f} of a step, expected {expected:.4f}"
    )
    assert report.partition.idle_data_loading == pytest.approx(expected, abs=POINTS)


def share_of(waits_s: list[float], report: Report) -> float:
    """Of the averaged windows; a window begins at its step's forward, so the next one's batch lies in it."""
    windows = [window for window in report.windows if window.role == "averaged"]
    waited_s = sum(waits_s[int(window.label.split("#")[1])] for window in windows)
    return waited_s / sum(window.duration_ns / 1e9 for window in windows)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [1, 2])
def test_sleep_that_workers_hide_is_no_data_loading(workers: int, tmp_path: Path) -> None:
    report = report_of(Sleepy(0.010), tmp_path, workers, rows=2000)
    assert report.partition is not None and report.steps.profiled_step_time_s is not None
    assert report.steps.profiled_step_time_s > 0.020, "the sleep is shorter than the step"
    assert report.partition.idle_data_loading < 0.15, "it would be a third or more if it were not hidden"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_that_do_not_keep_up_are_found_though_their_queue_fills_while_the_profiler_starts(
    tmp_path: Path,
) -> None:
    """Two workers sleep 100 ms a batch; a step computes for a few ms, a few ten on a busy machine."""
    report = report_of(Sleepy(0.100), tmp_path, 2, rows=8)
    assert report.findings[0].code == "data_loading"
    assert "workers do not keep up" in report.findings[0].title


@pytest.mark.benchmark
def test_the_mfu_of_a_gpt_is_flop_over_time_and_peak_as_computed_outside(tmp_path: Path) -> None:
    vocabulary, context, width, layers, sequences = 256, 128, 128, 4, 2  # of the demo
    model = Gpt()
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = torch.randint(vocabulary, (sequences, context + 1))
    ends_s: list[float] = []
    with mfu_profiler.track(model, out=tmp_path, **{**PLAN, "timed": 9, "peak_tflops": 0.5}) as run:
        for _ in range(STEPS + 4):
            loss = nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            ends_s.append(time.perf_counter())
    timed = range(4, 4 + 9)  # steps from 1: untouched, counted, warm-up, timed
    step_s = median(ends_s[step - 1] - ends_s[step - 2] for step in timed)
    weights = layers * 12 * width**2 + vocabulary * width
    forward = 2 * sequences * context * (weights + layers * 2 * context * width)
    assert run.report is not None and run.report.flop.model_per_step == 3 * forward
    assert run.report.mfu == pytest.approx(3 * forward / step_s / 0.5e12, rel=0.03)
