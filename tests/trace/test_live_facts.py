"""The member ``mfu_profiler``: typed where it is right, and what is wrong costs only itself."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfu_profiler.trace.live import LiveFacts
from mfu_profiler.trace.read_live import live_facts
from mfu_profiler.trace.reader import read_trace
from tests.trace.make import Layout, pack, steps, trace_bytes, write_trace

BASE_NS = 1_700_000_000_000_000_000
WHOLE: dict[str, Any] = {
    "version": 1,
    "library_version": "0.2.0",
    "settings": {"device": "NVIDIA A30", "peak_tflops": 165, "precision": "bf16", "flop_per_step": 7.5e12},
    "run": {
        "model": "Gpt",
        "parameters": 10_745_088,
        "trainable_parameters": 10_000_000,
        "mode": "training",
        "boundary": "optimizer steps of AdamW",
        "steps_done": 27,
        "step_times_ns": [95_000_000, 96_000_000],
        "step_clock": "host",
        "pauses_ns": {"evaluation": 123, "other": 0},
        "wall_ns": 999,
        "unfinished_step": 28,
        "ended": "KeyboardInterrupt in step 28",
        "lacks": ["nothing"],
        "notes": ["a", "b"],
    },
    "flop": {
        "source": "counted",
        "because": None,
        "step": 2,
        "forward": 10,
        "backward": 20,
        "recomputed": 3,
        "optimizer": 1,
        "causal_model": 25,
        "by_precision": {"bf16": 30, "fp32": 4},
        "by_module": [["blocks.0.attention", 1, 2, 0], ["", 9, 18, 3]],
        "uncounted": {"mylib::op": 3},
        "varies": True,
        "transformer": {"parameters": 5, "step_flop": 31},
    },
    "device": {
        "name": "NVIDIA A100-SXM4-80GB",
        "index": 0,
        "backend": "cuda",
        "sm_count": 108,
        "memory_byte": 85_899_345_920,
        "compute_capability": [8, 0],
        "gfx": None,
        "power_limit_w": 300.0,
        "default_power_limit_w": 400.0,
        "driver": "535.104.05",
        "nvml_because": None,
    },
    "ceiling": {"flop_per_s": {"fp32": 9.7e10}, "detail": "2 threads, matmul 2048", "notes": ["slow"]},
    "clocks": {
        "time_ns": [BASE_NS + 5, BASE_NS + 9],
        "sm_clock_hz": [1.41e9, None],
        "power_w": [300.0, 290.0],
        "throttle": ["power cap, thermal", "none"],
        "because": "sampling ended early",
    },
    "stacks": {
        "thread": "10",
        "frames": ["/home/me/train.py(42): step", "/home/me/train.py(7): main"],
        "stacks": [[0, 1], [1]],
        "time_ns": [BASE_NS + 8, BASE_NS + 4],
        "stack": [0, 1],
    },
}


def changed(*path: str, value: Any) -> dict[str, Any]:
    whole: Any = copy.deepcopy(WHOLE)
    holder = whole
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    return dict(whole)


def facts(value: Any) -> LiveFacts:
    found = live_facts(value, BASE_NS)
    assert found is not None
    return found


def test_every_part_is_read() -> None:
    found = facts(WHOLE)
    assert found.settings.peak_flop_per_s == 165e12 and found.settings.flop_per_step == 7.5e12
    assert found.run.step_times_ns.tolist() == [95_000_000, 96_000_000]
    assert found.run.pauses_ns == {"evaluation": 123} and found.run.ended == "KeyboardInterrupt in step 28"
    assert found.flop is not None and (found.flop.model, found.flop.hardware) == (30, 34)
    assert found.flop.analytic == 31 and found.flop.varies and found.flop.uncounted == {"mylib::op": 3}
    assert [(row.name, row.forward) for row in found.flop.by_module] == [("blocks.0.attention", 1), ("", 9)]
    assert found.device is not None and found.device.compute_capability == (8, 0)
    assert found.ceiling is not None and found.ceiling.flop_per_s == {"fp32": 9.7e10}


def test_times_are_those_of_the_timeline_and_samples_are_in_order() -> None:
    found = facts(WHOLE)
    assert found.clocks is not None and found.stacks is not None
    assert found.clocks.time_ns.tolist() == [5, 9]
    assert (found.stacks.time_ns.tolist(), found.stacks.stack.tolist()) == ([4, 8], [1, 0])


def test_a_quantity_without_a_value_is_masked_and_reasons_are_told_apart() -> None:
    clocks = facts(WHOLE).clocks
    assert clocks is not None
    both = np.ones(2, np.bool_)
    assert clocks.sm_clock_hz.mean(both) == 1.41e9 and clocks.power_w.mean(both) == 295.0
    assert clocks.sm_clock_hz.mean(~both) is None
    assert clocks.throttle == (frozenset({"power cap", "thermal"}), frozenset())


@pytest.mark.parametrize("value", [None, [], {}, "x", 7, True, [WHOLE]])
def test_what_is_no_object_gives_no_facts(value: Any) -> None:
    assert live_facts(value, 0) is None


@pytest.mark.parametrize("part", ["flop", "device", "ceiling", "clocks", "stacks"])
@pytest.mark.parametrize("value", [None, 7, "x", [1], {}])
def test_a_broken_part_costs_only_itself(part: str, value: Any) -> None:
    found, whole = facts(changed(part, value=value)), facts(WHOLE)
    assert getattr(found, part) is None
    others = {"flop", "device", "ceiling"} - {part}
    assert all(getattr(found, name) == getattr(whole, name) for name in others)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("settings", "peak_tflops"), -1),
        (("settings", "flop_per_step"), float("nan")),
        (("run", "model"), 7),
        (("run", "steps_done"), 1.5),
        (("run", "wall_ns"), "999"),
        (("run", "ended"), ""),
        (("flop", "causal_model"), True),
        (("flop", "step"), -2),
        (("device", "sm_count"), 0),
        (("device", "power_limit_w"), float("inf")),
        (("device", "compute_capability"), [9]),
    ],
)
def test_a_wrong_value_is_none_and_the_rest_stands(path: tuple[str, str], value: Any) -> None:
    found, whole = facts(changed(*path, value=value)), facts(WHOLE)
    part, name = path
    name = {"peak_tflops": "peak_flop_per_s"}.get(name, name)
    assert getattr(getattr(found, part), name) is None
    assert getattr(getattr(whole, part), name) is not None


def test_wrong_entries_of_a_list_are_left_out() -> None:
    times = [10, -1, None, "x", 2.5, float("nan"), True, 2**70, 20]
    assert facts(changed("run", "step_times_ns", value=times)).run.step_times_ns.tolist() == [10, 20]
    modules = [["a", 1, 2, 0], ["b", 1], [7, 1, 2, 3], "c", ["d", -1, 2, 3]]
    found = facts(changed("flop", "by_module", value=modules)).flop
    assert found is not None and [row.name for row in found.by_module] == ["a"]
    frames = facts(changed("stacks", "stacks", value=[[0, 99, -1, "x"], 7])).stacks
    assert frames is not None and frames.stacks == ((0,), ())


def test_columns_of_another_length_are_as_if_absent() -> None:
    clocks = facts(changed("clocks", "sm_clock_hz", value=[1e9])).clocks
    assert clocks is not None and not clocks.sm_clock_hz.has.any() and clocks.power_w.has.all()
    assert facts(changed("stacks", "stack", value=[0])).stacks is None


def test_a_source_that_is_unknown_counts_nothing() -> None:
    found = facts(changed("flop", "source", value="guessed")).flop
    assert found is not None and found.source is None


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
PATHS = [(part, name) for part, values in WHOLE.items() if isinstance(values, dict) for name in values]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PATHS), ANY), max_size=6), st.integers(0, 2**62))
def test_no_value_anywhere_raises(changes: list[tuple[tuple[str, str], Any]], base_ns: int) -> None:
    whole = copy.deepcopy(WHOLE)
    for (part, name), value in changes:
        whole[part][name] = value
    found = live_facts(whole, base_ns)
    assert found is not None and len(found.run.step_times_ns) <= 4


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(list(WHOLE)), ANY) | ANY)
def test_no_object_raises(value: Any) -> None:
    live_facts(value, 0)


# In a file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("members_after", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_member_is_found_wherever_it_stands(tmp_path: Path, members_after: bool, seed: int) -> None:
    members = {"schemaVersion": 1, "mfu_profiler": WHOLE, "baseTimeNanoseconds": BASE_NS}
    layout = Layout(members_after=members_after, shuffle_seed=seed)
    (found,) = read_trace(write_trace(tmp_path, steps(3), layout, members))
    assert found.live is not None and found.live.run.model == "Gpt"
    assert found.live.clocks is not None and found.live.clocks.time_ns.tolist() == [5, 9]


def test_a_value_of_megabytes_is_read_whole(tmp_path: Path) -> None:
    count = 100_000
    clocks = {"time_ns": [BASE_NS + n for n in range(count)], "sm_clock_hz": [1e9] * count}
    members = {"mfu_profiler": WHOLE | {"clocks": clocks}, "baseTimeNanoseconds": BASE_NS}
    assert len(json.dumps(members)) > 2**21
    (found,) = read_trace(write_trace(tmp_path, steps(3), Layout(), members))
    assert found.live is not None and found.live.clocks is not None
    assert len(found.live.clocks) == count and len(found.ops) == 3


def test_nan_in_the_value_costs_only_itself(tmp_path: Path) -> None:
    text = trace_bytes(steps(3), Layout(), {"mfu_profiler": WHOLE}).replace(b"7500000000000.0", b"NaN")
    assert b"NaN" in text
    (found,) = read_trace(pack(tmp_path, text))
    assert found.live is not None and found.live.settings.flop_per_step is None
    assert found.live.settings.peak_flop_per_s == 165e12


def test_stamps_without_a_base_are_absolute(tmp_path: Path) -> None:
    (found,) = read_trace(write_trace(tmp_path, steps(3), Layout(), {"mfu_profiler": WHOLE}))
    assert found.live is not None and found.live.clocks is not None
    assert found.live.clocks.time_ns.tolist() == [BASE_NS + 5, BASE_NS + 9]


def test_an_ordinary_trace_has_no_live_facts(tmp_path: Path) -> None:
    (found,) = read_trace(write_trace(tmp_path, steps(3)))
    assert found.live is None


def test_in_a_merged_file_one_process_facts_are_nobodys(tmp_path: Path) -> None:
    events = [*steps(3, pid=10, device=0), *steps(3, pid=11, device=1, start_ns=50_000)]
    found = read_trace(write_trace(tmp_path, events, Layout(), {"mfu_profiler": WHOLE}))
    assert [timeline.live for timeline in found] == [None, None]


def test_the_facts_of_one_device_are_not_those_of_another_and_flop_are_of_all(tmp_path: Path) -> None:
    events = [*steps(3, device=0), *steps(3, device=1)]
    zero, one = read_trace(write_trace(tmp_path, events, Layout(), {"mfu_profiler": WHOLE}))
    assert zero.live is not None and zero.live.device is not None and zero.live.flop is None
    assert one.live is not None and one.live.device is None and one.live.clocks is None


def test_endless_lists_and_texts_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfu_profiler.trace.loose.MOST_ITEMS", 10)
    whole = changed("run", "step_times_ns", value=[1] * 100)
    whole["run"]["model"] = "x" * 10_000
    found = facts(whole)
    assert (
        len(found.run.step_times_ns) == 10 and found.run.model is not None and len(found.run.model) == 2_000
    )
