"""The member ``mfu_profiler`` of a trace -> ``LiveFacts``.

The file may come from anywhere: what is missing, of the wrong type or out of range costs only itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mfu_profiler.trace.live import (
    LiveCeiling,
    LiveClocks,
    LiveDevice,
    LiveFacts,
    LiveFlop,
    LiveModule,
    LiveRun,
    LiveSettings,
    LiveStacks,
    Sampled,
)
from mfu_profiler.trace.loose import (
    amount,
    count,
    items,
    masked_column,
    members,
    positive,
    switch,
    text,
    texts,
    time_column,
)

__all__ = ["live_facts"]

_MOST_NAMES = 10_000
"""Precisions, modules, ops or pauses that are kept; no run has as many."""
_MOST_DEPTH = 1_000
"""Frames of one stack; Python's own limit."""
_NO_REASON = frozenset({"none", "idle", ""})
"""``idle``: the clock is low because there is no work."""


def live_facts(value: Any, base_ns: int) -> LiveFacts | None:
    """The facts, or None where the member is no object or holds nothing.

    Args:
        value: decoded JSON.
        base_ns: what Kineto's stamps are relative to, epoch ns; 0 where they are absolute.

    """
    parts = members(value)
    if not parts:
        return None
    return LiveFacts(
        library_version=text(parts.get("library_version")),
        settings=_settings(members(parts.get("settings"))),
        run=_run(members(parts.get("run"))),
        flop=_flop(members(parts.get("flop"))),
        device=_device(members(parts.get("device"))),
        ceiling=_ceiling(members(parts.get("ceiling"))),
        clocks=_clocks(members(parts.get("clocks")), base_ns),
        stacks=_stacks(members(parts.get("stacks")), base_ns),
    )


def _settings(part: Mapping[str, Any]) -> LiveSettings:
    tflops = positive(part.get("peak_tflops"))
    return LiveSettings(
        device=text(part.get("device")),
        peak_flop_per_s=None if tflops is None else positive(tflops * 1e12),
        precision=text(part.get("precision")),
        flop_per_step=positive(part.get("flop_per_step")),
    )


def _run(part: Mapping[str, Any]) -> LiveRun:
    lengths = [count(item) for item in items(part.get("step_times_ns"))]
    return LiveRun(
        model=text(part.get("model")),
        parameters=count(part.get("parameters")),
        trainable_parameters=count(part.get("trainable_parameters")),
        mode=text(part.get("mode")),
        boundary=text(part.get("boundary")),
        steps_done=count(part.get("steps_done")),
        step_times_ns=np.array([length for length in lengths if length], np.int64),
        step_clock=text(part.get("step_clock")),
        cores=count(part.get("cores")),
        data_wait_ns=count(part.get("data_wait_ns")),
        pauses_ns=_counts(part.get("pauses_ns")),
        wall_ns=count(part.get("wall_ns")),
        unfinished_step=count(part.get("unfinished_step")),
        ended=text(part.get("ended")),
        lacks=texts(part.get("lacks")),
        notes=texts(part.get("notes")),
    )


def _flop(part: Mapping[str, Any]) -> LiveFlop | None:
    if not part:
        return None
    parts = {name: amount(part.get(name)) for name in ("forward", "backward", "recomputed", "optimizer")}
    source = part.get("source")
    is_counted = source in ("counted", "shadow") and parts["forward"] is not None
    return LiveFlop(
        source=str(source) if is_counted else None,
        because=text(part.get("because")),
        step=count(part.get("step")),
        **{name: value or 0.0 for name, value in parts.items()},
        causal_model=positive(part.get("causal_model")),
        by_precision=_rates(part.get("by_precision")),
        by_module=_modules(part.get("by_module")),
        uncounted=_counts(part.get("uncounted")),
        varies=switch(part.get("varies")) or False,
        analytic=positive(members(part.get("transformer")).get("step_flop")),
    )


def _modules(value: Any) -> tuple[LiveModule, ...]:
    rows = []
    for item in items(value)[:_MOST_NAMES]:
        if not isinstance(item, list) or len(item) != 4 or not isinstance(item[0], str):
            continue
        forward, backward, recomputed = (amount(flop) for flop in item[1:])
        if forward is not None and backward is not None and recomputed is not None:
            rows.append(LiveModule(text(item[0]) or "", forward, backward, recomputed))
    return tuple(rows)


def _device(part: Mapping[str, Any]) -> LiveDevice | None:
    if not part:
        return None
    capability = [count(item) for item in items(part.get("compute_capability"))]
    major, minor = capability if len(capability) == 2 else (None, None)
    return LiveDevice(
        name=text(part.get("name")),
        index=count(part.get("index")),
        backend=text(part.get("backend")),
        sm_count=count(part.get("sm_count")) or None,
        memory_byte=count(part.get("memory_byte")) or None,
        compute_capability=None if major is None or minor is None else (major, minor),
        gfx=text(part.get("gfx")),
        power_limit_w=positive(part.get("power_limit_w")),
        default_power_limit_w=positive(part.get("default_power_limit_w")),
        driver=text(part.get("driver")),
        nvml_because=text(part.get("nvml_because")),
    )


def _ceiling(part: Mapping[str, Any]) -> LiveCeiling | None:
    rates = _rates(part.get("flop_per_s"))
    if not rates:
        return None
    return LiveCeiling(rates, text(part.get("detail")), texts(part.get("notes")))


def _clocks(part: Mapping[str, Any], base_ns: int) -> LiveClocks | None:
    if not part:
        return None
    times, has_time = time_column(items(part.get("time_ns")), base_ns)
    reasons = items(part.get("throttle"))
    reasons += [None] * (len(times) - len(reasons))

    def sampled(name: str) -> Sampled:
        value, has = masked_column(items(part.get(name)), positive)
        if len(value) != len(times):  # nothing tells which sample is missing
            value, has = np.zeros(len(times)), np.zeros(len(times), np.bool_)
        return Sampled(value[has_time], has[has_time])

    return LiveClocks(
        time_ns=times[has_time],
        sm_clock_hz=sampled("sm_clock_hz"),
        power_w=sampled("power_w"),
        throttle=tuple(_reasons(reasons[row]) for row in np.flatnonzero(has_time).tolist()),
        because=text(part.get("because")),
    )


def _reasons(value: Any) -> frozenset[str]:
    return frozenset(word.strip() for word in (text(value) or "").split(",")) - _NO_REASON


def _stacks(part: Mapping[str, Any], base_ns: int) -> LiveStacks | None:
    frames = [text(item) or "" for item in items(part.get("frames"))]
    stacks = tuple(_stack(item, len(frames)) for item in items(part.get("stacks")))
    times, has_time = time_column(items(part.get("time_ns")), base_ns)
    rows, has_row = time_column(items(part.get("stack")), 0)
    if len(times) != len(rows) or not len(times):
        return None
    chosen = np.flatnonzero(has_time & has_row & (rows < len(stacks)))
    chosen = chosen[np.argsort(times[chosen], kind="stable")]
    thread = part.get("thread")
    return LiveStacks(
        thread=str(thread) if count(thread) is not None else text(thread),
        frames=tuple(frames),
        stacks=stacks,
        time_ns=times[chosen],
        stack=rows[chosen],
    )


def _stack(value: Any, frame_count: int) -> tuple[int, ...]:
    """Rows of the frames; those that are none are left out."""
    rows = [count(item) for item in items(value)[:_MOST_DEPTH]]
    return tuple(row for row in rows if row is not None and row < frame_count)


def _rates(value: Any) -> dict[str, float]:
    """Positive numbers by name."""
    pairs = [(text(name), positive(rate)) for name, rate in list(members(value).items())[:_MOST_NAMES]]
    return {name: rate for name, rate in pairs if name is not None and rate is not None}


def _counts(value: Any) -> dict[str, int]:
    """Whole numbers above 0 by name."""
    pairs = [(text(name), count(number)) for name, number in list(members(value).items())[:_MOST_NAMES]]
    return {name: number for name, number in pairs if name is not None and number}
