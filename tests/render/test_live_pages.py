"""Pages of live runs: unprofiled headline, clocks and power, FLOP by module, short blocks."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest
from rich.cells import cell_len

from mfu_profiler.analysis.report import Check, LadderStep, ModuleFlop, Report
from mfu_profiler.render import render_json, render_markdown, render_terminal
from mfu_profiler.render.causes import cause_words
from tests.render.sample import HOSTILE_NAME, LONG_NAME, hostile, resnet, waterfall

TEXTS: dict[str, Callable[[Sequence[Report]], str]] = {
    "terminal": partial(render_terminal, color=False, width=100),
    "markdown": render_markdown,
}
both = pytest.mark.parametrize("renderer", TEXTS)
LACKS = "the block ended after 3 steps, before the profiled window at step 22"


def live() -> Report:
    """A run on a power-capped A100, counted by a meta copy, a fifth slower under the profiler."""
    sample = resnet()
    parts = {
        "clocks": (0.061, "1.28 of 1.41 GHz: power cap"),
        "matmul_inefficiency": (0.21, "matmuls reach 61 % of peak"),
        "other_kernels": (0.2, ""),
        "idle_host": (0.05, ""),
        "profiler": (-0.021, ""),
    }
    modules = tuple(ModuleFlop(f"blocks.{n}.mlp", 30.0 - n, 60.0 - 2 * n, 10.0) for n in range(6))
    return replace(
        sample,
        step_time_s=0.15,
        steps=replace(
            sample.steps,
            source="median of 15 unprofiled steps; breakdown from 5 profiled",
            unprofiled_count=15,
            profiled_step_time_s=0.18,
            profiler_overhead_fraction=0.2,
        ),
        device=replace(
            sample.device,
            datasheet_clock_hz=1.41e9,
            sampled_clock_hz=1.28e9,
            peak_at_clock_flop_per_s=14.3e12,
            clock_because="power cap",
            power_limit_w=300.0,
            default_power_limit_w=400.0,
            mean_power_w=298.4,
        ),
        flop=replace(
            sample.flop,
            source="counted on a meta copy of the model",
            basis="counted",
            coverage_fraction=0.55,
            counted_per_step=7.776e11,
            by_module=(*modules, ModuleFlop("", 0.0, 0.0, 0.0)),
            analytic_per_step=8.0e11,
        ),
        waterfall=waterfall(0.15, parts),
        checks=(*sample.checks, Check("FLOP agree", True, "shapes do not cover the kernels", applies=False)),
    )


def short() -> Report:
    """A block of three steps: all but the breakdown is known."""
    sample = live()
    return replace(
        sample,
        partition=None,
        partition_unknown_because=LACKS,
        steps=replace(
            sample.steps, count=0, source="1 unprofiled step", spread_fraction=None, unprofiled_count=1,
            profiled_step_time_s=None, profiler_overhead_fraction=None,
        ),
        windows=(), waterfall=(), findings=(), kernels=(), host_idle=(), copy_by_direction={},
        notes=("ended by KeyboardInterrupt in step 4",),
    )  # fmt: skip


def hostile_live() -> Report:
    """Every string of the live parts tries to break out of the page."""
    sample, evil = live(), HOSTILE_NAME
    return replace(
        hostile(),
        steps=replace(sample.steps, source=evil),
        device=replace(sample.device, clock_because=evil, backend=evil, nvml_because=evil),
        flop=replace(
            sample.flop, source=evil, by_module=(ModuleFlop(evil, 1, 2, 3), ModuleFlop(LONG_NAME, 1, 2, 3))
        ),
    )


SAMPLES = {
    "live": live(),
    "short": short(),
    "hostile": hostile_live(),
    "unread": replace(live(), device=replace(resnet().device, nvml_because=HOSTILE_NAME)),
    "refused": replace(live(), mfu=None, hfu=None, mfu_unknown_because="no peak"),
}


def words(text: str) -> str:
    """Without the page's wrapping and Markdown's escapes."""
    return " ".join(text.replace("\\", "").split())


@both
@pytest.mark.parametrize("sample", SAMPLES)
def test_pages_of_live_runs_are_inert_and_fit(sample: str, renderer: str) -> None:
    text = TEXTS[renderer]([SAMPLES[sample]])
    assert not {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co"}} - {"\n"}
    assert "<script" not in text or renderer == "terminal"
    if renderer == "terminal":
        assert max(map(cell_len, text.splitlines())) <= 100


@both
def test_the_headline_names_the_unprofiled_steps_and_how_flop_were_counted(renderer: str) -> None:
    text = words(TEXTS[renderer]([live()]))
    assert "over 15 unprofiled steps; compute kernels run 56.1 % of a profiled one" in text
    assert "FLOP counted on a meta copy of the model; shapes tell them for 55.0 %" in text
    assert "at least" not in text.split("went")[0]


@both
def test_clocks_power_modules_and_overhead_stand_where_the_numbers_come_from(renderer: str) -> None:
    text = words(TEXTS[renderer]([live()])).split("come from")[1]
    for said in (
        "SM clock 1.28 GHz of the datasheet's 1.41 GHz (power cap): peak at that clock 14.3 TFLOP/s",
        "power 298 W of 300 W",
        "by module: blocks.*.mlp 100.0 %",
        "PaLM's formula for transformers gives 800 GFLOP, 2.9 % more",
        "median of 15 unprofiled steps; breakdown from 5 profiled",
        "a profiled step takes 180 ms: the profiler costs 20.0 %",
        "without shapes: ",
        "not applicable: FLOP agree: shapes do not cover the kernels",
    ):
        assert said in text
    assert "blocks.5" not in text and not re.search(r"passed: [^:]*FLOP agree", text)


def test_clocks_are_a_loss_and_the_profilers_excess_a_gain() -> None:
    text = TEXTS["terminal"]([live()])
    assert re.search(r"clocks +[█▉-▏]+ +6.1 % .* 1.28 of 1.41 GHz: power cap", text)
    assert re.search(r"profiler +░ +-2.1 %", text)
    assert all(cause_words(cause)[1] for cause in ("clocks", "profiler"))


@both
def test_without_an_mfu_the_bars_are_still_of_the_unprofiled_step(renderer: str) -> None:
    """20 % of 150 ms, not of the 180 of a profiled step."""
    text = words(TEXTS[renderer]([SAMPLES["refused"]]))
    assert "Where the time of a step went" in text and re.search(
        r"other kernels[ |█▉-▏]+20.0 %[ |]+30.0 ms", text
    )


@both
def test_a_short_block_says_what_it_has_and_what_it_lacks(renderer: str) -> None:
    text = words(TEXTS[renderer]([short()]))
    assert "MFU 28.1 %" in text and "one step: no spread" in text
    assert f"unknown: {LACKS}" in text and "ended by KeyboardInterrupt in step 4" in text
    assert "What to fix first" not in text and "averaged" not in text


@both
def test_clocks_that_could_not_be_read_say_why(renderer: str) -> None:
    device = replace(resnet().device, nvml_because="NVML: driver not loaded")
    assert "clocks unknown: NVML: driver not loaded" in words(
        TEXTS[renderer]([replace(live(), device=device)])
    )


def test_a_faster_profiled_step_is_no_cost() -> None:
    sample = live()
    steps = replace(sample.steps, profiler_overhead_fraction=-0.01)
    assert "1.0 % less" in TEXTS["terminal"]([replace(sample, steps=steps)])


@pytest.mark.parametrize(("fraction", "is_rough"), [(-0.02, False), (-0.24, True), (0.15, True)])
def test_a_breakdown_of_steps_unlike_the_others_is_called_rough(fraction: float, is_rough: bool) -> None:
    report = replace(
        live(), waterfall=waterfall(0.15, {"other_kernels": (0.9, ""), "profiler": (fraction, "")})
    )
    said = "the breakdown is rough: a step takes 150 ms, a profiled one 180 ms"
    for text in TEXTS.values():
        assert (said in words(text([report]))) == is_rough


def test_profiled_steps_that_differ_are_nothing_to_fix() -> None:
    rows = waterfall(0.2, {"other_kernels": (0.3, ""), "profiler": (0.4, "")})
    text = TEXTS["terminal"]([replace(live(), waterfall=rows, findings=())])
    assert (
        "no change worth 3 % of the step follows from what the trace shows of: other kernels (30.0 %)"
        in words(text)
    )
    assert "profiler (40.0 %)" not in words(text)


@both
def test_what_fixes_give_back_is_said_alone_and_one_after_the_other(renderer: str) -> None:
    sample = live()
    first, second = sample.findings[:2]
    first = replace(first, recovered_s=0.05, step_time_after_s=0.1, mfu_after=0.4215, confidence="high")
    ladder = (LadderStep(first.code, 0.1, 0.4215), LadderStep(second.code, 0.08, None))
    report = replace(sample, mfu=0.281, findings=(first, second), ladder=ladder)
    text = words(TEXTS[renderer]([report]))
    assert "at best, alone: step 150 ms → 100 ms, MFU 28.1 % → 42.1 %" in text
    assert (
        "one after the other, at best: now 150 ms (28.1 %) → with 1: 100 ms (42.1 %) → and 2: 80.0 ms" in text
    )
    assert "one after" not in words(TEXTS[renderer]([replace(report, ladder=ladder[:1])]))


def test_json_has_the_live_fields() -> None:
    content = json.loads(render_json([live()]))
    assert content["schema_version"] == 1
    assert content["steps"]["profiler_overhead_fraction"] == 0.2
    assert content["device"]["sampled_clock_hz"] == 1.28e9
    assert content["flop"]["by_module"][0] == {
        "name": "blocks.0.mlp",
        "forward": 30.0,
        "backward": 60.0,
        "recomputed": 10.0,
    }
    ordinary = json.loads(render_json([resnet()]))
    assert ordinary["steps"]["unprofiled_count"] is None and ordinary["flop"]["by_module"] == []
