"""A block of any length gives a trace and a report, and the report is that of the trace file."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

import mfu_profiler
from mfu_profiler.analysis import Report, analyze
from mfu_profiler.render import render_json

from .training import MLP_FLOP, QUICK, mlp_training

LENGTHS = (0, 1, 2, 3, 6, 7, 8, 10, 40)
"""Steps of a block; the plan of QUICK profiles steps 7 and 8."""


@dataclass
class Block:
    """One tracked training that has ended."""

    steps: int
    run: mfu_profiler.Run
    folder: Path

    @property
    def report(self) -> Report:
        assert self.run.report is not None
        return self.run.report

    @property
    def trace(self) -> Path:
        assert self.run.trace_path is not None
        return self.run.trace_path

    @property
    def said(self) -> str:
        """What the report tells beside its numbers."""
        return "\n".join([*self.report.notes, self.report.partition_unknown_because or ""])


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Block]:
    made = {}
    for steps in LENGTHS:
        folder = tmp_path_factory.mktemp(f"block_of_{steps}")
        model, step = mlp_training()
        with mfu_profiler.track(model, out=folder, **QUICK) as run:
            for _ in range(steps):
                step()
        made[steps] = Block(steps, run, folder)
    return made


@pytest.fixture(params=LENGTHS, ids=lambda steps: f"{steps} steps")
def block(request: pytest.FixtureRequest, blocks: dict[int, Block]) -> Block:
    return blocks[request.param]


def test_there_is_a_trace_a_report_a_page_and_nothing_hidden(block: Block) -> None:
    stem = rf"[\w-]+_{os.getpid()}\.\d{{19}}"
    names = sorted(path.name for path in block.folder.iterdir())
    assert len(names) == 4
    assert re.fullmatch(stem, names[0]), "a folder of its own for TensorBoard"
    assert re.fullmatch(stem + r"\.pt\.trace\.json\.gz", names[1]), "the name that torch-tb-profiler finds"
    assert re.fullmatch(stem + r"\.report\.html", names[2])
    assert re.fullmatch(stem + r"\.report\.json", names[3])
    assert block.trace == block.folder / names[1]


def test_the_report_of_the_run_is_that_of_its_trace_field_by_field(block: Block) -> None:
    later = analyze(block.trace)
    for field in fields(Report):
        assert getattr(block.report, field.name) == getattr(later, field.name), field.name


def test_the_report_counts_the_steps_of_the_plan(block: Block) -> None:
    steps, timed, profiled = block.report.steps, max(0, min(block.steps, 5) - 3), block.steps >= 7
    assert (steps.unprofiled_count or 0) == (timed or min(block.steps, 1))
    assert (steps.count >= 1) == profiled
    assert (block.report.partition is not None) == profiled


def test_flop_and_step_time_are_known_from_the_first_step_on(block: Block) -> None:
    report = block.report
    if block.steps == 0:
        assert report.mfu is None and report.step_time_s is None
        return
    assert report.flop.model_per_step == MLP_FLOP
    assert report.mfu is not None and report.step_time_s is not None
    assert report.mfu == pytest.approx(MLP_FLOP / report.step_time_s / 1e12)


def test_a_block_without_steps_says_what_it_looked_for_and_the_way_out(blocks: dict[int, Block]) -> None:
    assert "no step was seen: neither an optimizer step nor a forward of the model" in blocks[0].said
    assert "run.step()" in blocks[0].said


@pytest.mark.parametrize("steps", [1, 2, 3, 6])
def test_a_short_block_says_what_it_lacks_and_the_way_out(steps: int, blocks: dict[int, Block]) -> None:
    ended = "1 step" if steps == 1 else f"{steps} steps"
    assert f"the block ended after {ended}, before the profiled window at step 7" in blocks[steps].said
    assert "track(model, warmup=0, timed=2, active=2)" in blocks[steps].said


@pytest.mark.parametrize(("steps", "is_early"), [(1, True), (2, True), (3, True), (6, False), (10, False)])
def test_a_block_without_timed_steps_says_so(steps: int, is_early: bool, blocks: dict[int, Block]) -> None:
    assert ("the step time is that of early steps" in blocks[steps].said) == is_early


@pytest.mark.parametrize("steps", [3, 40])
def test_the_command_line_prints_the_same_numbers_to_the_last_digit(
    steps: int, blocks: dict[int, Block]
) -> None:
    block = blocks[steps]
    printed = subprocess.run(
        [sys.executable, "-m", "mfu_profiler", "report", str(block.trace), "--json", "-"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert printed.stdout == render_json([block.report])


def test_metrics_are_a_flat_dict_of_finite_floats(block: Block) -> None:
    metrics = block.run.metrics()
    assert all(type(value) is float and math.isfinite(value) for value in metrics.values())
    assert metrics["steps"] == block.steps
    assert ("model_flop_per_step" in metrics) == (block.steps > 0)
    assert ("mfu" in metrics) == (block.steps >= 3)
    assert ("time/compute" in metrics) == (block.steps >= 7)


def test_the_classes_of_time_in_the_metrics_sum_to_one(blocks: dict[int, Block]) -> None:
    shares = [value for name, value in blocks[40].run.metrics().items() if name.startswith("time/")]
    assert len(shares) == 8
    assert sum(shares) == pytest.approx(1)
