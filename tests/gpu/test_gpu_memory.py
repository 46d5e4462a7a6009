"""Device memory: none of it is ours, and an out-of-memory is the user's own."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mfu_profiler
from tests.gpu.trainings import (
    LAST_PROFILED,
    QUICK,
    STEPS,
    Shape,
    gpt_training,
    timeline_of,
    weights_after,
)

# Of what torch and drivers warn of on a machine that nobody has tried nothing is ours.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

LEFT_BYTE = 300 * 2**20


@pytest.fixture
def little_memory(gpu: torch.device) -> Iterator[None]:
    """A device on which others have left some 300 MiB, while torch's pool holds what a training needs."""
    weights_after(gpt_training(Shape()), gpu, None, steps=2)
    fillers: list[Tensor] = []
    size = torch.cuda.mem_get_info(gpu)[0]
    while size > 2**20:
        free = torch.cuda.mem_get_info(gpu)[0]
        if free <= LEFT_BYTE:
            break
        try:
            fillers.append(torch.empty(min(size, free - LEFT_BYTE), dtype=torch.uint8, device=gpu))
        except torch.cuda.OutOfMemoryError:
            size //= 2
    if torch.cuda.mem_get_info(gpu)[0] > 2 * LEFT_BYTE:
        pytest.skip("the device could not be filled")
    yield
    fillers.clear()
    gc.collect()
    torch.cuda.empty_cache()


@pytest.mark.usefixtures("little_memory")
def test_a_device_almost_full_is_not_profiled_and_said_so(gpu: torch.device, tmp_path: Path) -> None:
    model, step = gpt_training(Shape())(gpu)
    with mfu_profiler.track(model, out=tmp_path, **QUICK) as run:
        for _ in range(STEPS):
            step()
    assert run.report is not None
    assert any("of device memory are free" in note for note in run.report.notes), run.report.notes
    assert run.report.step_time_s is not None and run.report.flop.model_per_step == Shape().model_flop


def highest_byte(folder: Path | None, gpu: torch.device) -> tuple[int, int]:
    """(Most memory in use during a training, memory in use after it) of torch's allocator."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(gpu)
    before = torch.cuda.memory_allocated(gpu)
    weights_after(gpt_training(Shape(width=512, layers=4, sequences=8)), gpu, folder)
    gc.collect()
    return torch.cuda.max_memory_allocated(gpu) - before, torch.cuda.memory_allocated(gpu) - before


def test_tracking_takes_no_memory_of_the_device_and_keeps_none(gpu: torch.device, tmp_path: Path) -> None:
    """Counting FLOP included, which runs every op of one step under a dispatch mode."""
    highest_byte(None, gpu)  # cuBLAS takes its workspace once
    plain, plain_left = highest_byte(None, gpu)
    tracked, tracked_left = highest_byte(tmp_path, gpu)
    assert tracked <= 1.01 * plain
    assert tracked_left == plain_left


def ask_too_much(gpu: torch.device) -> Tensor:
    """An allocation of twice the device's memory."""
    return torch.empty(2 * torch.cuda.get_device_properties(gpu).total_memory, dtype=torch.uint8, device=gpu)


@pytest.mark.parametrize("fails_in", [1, 2, 5, 7, 9, 12])
def test_out_of_memory_passes_and_the_trace_so_far_is_kept(
    fails_in: int, gpu: torch.device, tmp_path: Path
) -> None:
    """In a step of each phase, between its forward and its backward pass."""
    model, step = gpt_training(Shape())(gpu)
    run = mfu_profiler.track(model, out=tmp_path, **QUICK)

    def train() -> None:
        with run:
            for number in range(1, STEPS + 1):
                if number == fails_in:
                    model(torch.zeros(1, 8, dtype=torch.long, device=gpu))
                    ask_too_much(gpu)
                step()

    with pytest.raises(torch.cuda.OutOfMemoryError):
        train()
    timeline = timeline_of(run)
    assert timeline.live is not None and run.report is not None
    has_kernels = len(timeline.activities.start_ns) > 0
    assert has_kernels == (fails_in >= 9), "profiled are 8 to 10"
    is_known = fails_in <= LAST_PROFILED  # a report that was on its way already cannot know
    assert timeline.live.run.ended == (f"OutOfMemoryError in step {fails_in}" if is_known else None)


@pytest.mark.usefixtures("deterministic")
def test_out_of_memory_that_the_training_survives_changes_nothing(
    gpu: torch.device, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch that is too large is tried first in every step, as trainings look for the largest one."""

    def make(device: torch.device) -> tuple[nn.Module, Any]:
        model, small_step = gpt_training(Shape(dropout=0.1))(device)

        def step() -> None:
            try:
                ask_too_much(device)
            except torch.cuda.OutOfMemoryError:
                small_step()

        return model, step

    plain, tracked = weights_after(make, gpu, None), weights_after(make, gpu, tmp_path)
    assert all(torch.equal(one, other) for one, other in zip(plain, tracked, strict=True))
    assert [record.getMessage() for record in caplog.records if record.name == "mfu_profiler"] == []
