"""A trace with any nonsense in its member ``mfu_profiler`` gives a report, and every renderer shows it."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.analysis import analyze
from mfu_profiler.render import render_json, render_markdown, render_terminal
from tests.trace.make import Layout, write_trace

from .live import (
    CPU,
    ceiling_part,
    clocks_part,
    cpu_events,
    flop_part,
    gpu_events,
    live_part,
    marks_only,
    members,
    stacks_part,
)

CASES = 150
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2**63,
    2**70,
    1e300,
    -1e300,
    1e-300,
    0.5,
    "",
    "x",
    "bf16",
    "cpu",
)
ODD += (
    "cuda",
    [],
    {},
    [[]],
    [1, [2]],
    {"a": {"b": -1}},
    ["\ud800".encode("utf-8", "replace").decode()],
    "\u202e",
)
STACKS = stacks_part({700: ["/me/train.py(42): step"], 1_700: ["<built-in>", "/me/train.py(9): main"]})
TRACES: tuple[tuple[Any, Any], ...] = (
    (
        live_part([800, 900], flop=flop_part(), clocks=clocks_part([1.4e9] * 3, [900, 1_900, 2_900])),
        gpu_events(),
    ),
    (live_part([800], flop=flop_part(varies=True), stacks=STACKS), gpu_events(shapes=False)),
    (live_part([800], device=CPU, ceiling=ceiling_part(20e9), stacks=STACKS), cpu_events()),
    (live_part(flop=flop_part(), run_ended="X in step 3"), marks_only([900, 800, 700])),
)


def change(value: Any, rng: random.Random) -> None:
    """Replace, remove or double one member, anywhere."""
    while isinstance(value, (dict, list)) and value:
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if isinstance(value[key], (dict, list)) and value[key] and rng.random() < 0.7:
            value = value[key]
            continue
        if rng.random() < 0.2:
            del value[key]
        else:
            value[key] = copy.deepcopy(
                rng.choice((*ODD, value[rng.choice(list(value))] if isinstance(value, dict) else 7))
            )
        return


@pytest.mark.parametrize("kind", range(len(TRACES)))
def test_no_value_of_the_member_breaks_a_report(tmp_path: Path, kind: int) -> None:
    live, events = TRACES[kind]
    for case in range(CASES):
        print("case", case)  # shown where one fails
        rng = random.Random(case)
        changed = copy.deepcopy(live)
        for _ in range(rng.choice((1, 2, 5, 20))):
            change(changed, rng)
        if case < len(ODD):
            changed = ODD[case]
        report = analyze(write_trace(tmp_path, events, Layout(), members(changed, [])))
        if report.waterfall:
            size = max(1.0, (report.steps.profiler_overhead_fraction or 0) + 1)
            assert sum(row.fraction for row in report.waterfall[1:]) == pytest.approx(1, abs=1e-9 * size)
        assert report.mfu is None or 0 <= report.mfu <= 1
        json.loads(render_json([report]))
        render_markdown([report])
        render_terminal([report], color=False)
