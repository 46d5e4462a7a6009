"""Small traces as ``track`` writes them: a few steps in numbers that can be checked by eye, and live facts.

A profiled step on the device, in µs (an H100, bf16; 320 GFLOP take 323 µs at its 989.4 TFLOP/s)::

    host    ├── ProfilerStep#k ───────────────────────────────────┤
              ├ aten::mm ┤   launch returns at 25
    device            ├──── gemm, 500 ────┤...... host-bound, 485 ......┤ launch 15 ┤
                      40                  540                         1025        1040
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mfu_profiler.analysis import Report, analyze
from tests.trace.make import H100, Layout, event, kernel, launch, mark, op, write_trace

BASE_NS = 1_700_000_000_000_000_000
"""What stamps are relative to."""
STEP_US = 1_000
KERNEL_US = 500
M, K, N = 4_000, 10_000, 4_000
FLOP = 2 * M * K * N
"""Of a step: 320 GFLOP."""
H100_BF16 = 989.4e12
MAIN = "10"
"""Id of the main thread in the traces of ``make``."""
FIRST_PROFILED = 20
Json = dict[str, Any]


def gpu_events(count: int = 5, *, shapes: bool = True, name: str = "sm90_gemm_bf16") -> list[Json]:
    """The profiled steps of a run on one GPU; the last has no window."""
    args: Json = {}
    if shapes:
        args = {"Input Dims": [[M, K], [K, N]], "Input type": ["c10::BFloat16", "c10::BFloat16"]}
    events = []
    for step in range(count):
        time = step * STEP_US * 1000
        events += [
            mark(f"ProfilerStep#{FIRST_PROFILED + step}", time, (STEP_US - 10) * 1000),
            op("aten::mm", time + 10_000, 50_000, **args),
            launch(step + 1, time + 20_000),
            kernel(step + 1, time + 40_000, KERNEL_US * 1000, name=name),
        ]
    return events


def cpu_events(count: int = 3, *, op_us: int = 500) -> list[Json]:
    """The profiled steps of a run on a CPU: a product in fp32, then bare host time."""
    events = []
    for step in range(count):
        time = step * STEP_US * 1000
        dims = {"Input Dims": [[100, 100], [100, 100]], "Input type": ["float", "float"]}
        events += [
            mark(f"ProfilerStep#{FIRST_PROFILED + step}", time, STEP_US * 1000),
            op("aten::mm", time + 100_000, op_us * 1000, **dims),
        ]
    return events


CPU_FLOP = 2 * 100**3
"""Of a CPU's step: 2 MFLOP."""


def marks_only(lengths_us: list[int]) -> list[Json]:
    """The trace of a block that was too short: its step marks."""
    starts = [sum(lengths_us[:index]) * 1000 for index in range(len(lengths_us))]
    return [
        event("user_annotation", f"ProfilerStep#{index + 1}", start, length * 1000)
        for index, (start, length) in enumerate(zip(starts, lengths_us, strict=True))
    ]


def flop_part(model: int = FLOP, **changes: Any) -> Json:
    """FLOP as counted live: a third of them forward."""
    forward = model // 3
    return {
        "source": "counted",
        "because": None,
        "step": 2,
        "forward": forward,
        "backward": model - forward,
        "recomputed": 0,
        "optimizer": 0,
        "causal_model": None,
        "by_precision": {"bf16": model},
        "by_module": [],
        "uncounted": {},
        "varies": False,
        "transformer": None,
    } | changes


def clocks_part(clocks_hz: list[float | None], at_us: list[int], **changes: Any) -> Json:
    """Samples at some times of the trace."""
    return {
        "interval_ns": 10**8,
        "time_ns": [BASE_NS + time * 1000 for time in at_us],
        "sm_clock_hz": clocks_hz,
        "power_w": [300.0] * len(clocks_hz),
        "temperature_c": [60.0] * len(clocks_hz),
        "utilization_fraction": [1.0] * len(clocks_hz),
        "throttle": ["none"] * len(clocks_hz),
        "cost_fraction": 0.0004,
        "because": None,
    } | changes


def stacks_part(samples: dict[int, list[str]], thread: str = MAIN) -> Json:
    """Stack samples: time in µs -> frames, innermost first."""
    frames = sorted({frame for stack in samples.values() for frame in stack})
    stacks = [[frames.index(frame) for frame in stack] for stack in samples.values()]
    return {
        "hertz": 150.0,
        "thread": thread,
        "frames": frames,
        "stacks": stacks,
        "time_ns": [BASE_NS + time * 1000 for time in samples],
        "stack": list(range(len(stacks))),
        "cost_fraction": 0.002,
        "because": None,
    }


def live_part(step_us: list[int] | None = None, **parts: Any) -> Json:
    """The member ``mfu_profiler``; ``parts`` replace whole parts, ``run_...`` single members of ``run``."""
    run: Json = {
        "model": "Gpt",
        "parameters": 1000,
        "trainable_parameters": 1000,
        "mode": "training",
        "boundary": "optimizer steps of AdamW",
        "steps_done": 27,
        "step_times_ns": [time * 1000 for time in step_us or []],
        "step_clock": "host",
        "pauses_ns": {},
        "wall_ns": 10**9,
        "first_profiled_step": FIRST_PROFILED,
        "ended": None,
        "lacks": [],
        "notes": [],
    }
    run |= {name.removeprefix("run_"): parts.pop(name) for name in list(parts) if name.startswith("run_")}
    whole: Json = {
        "version": 1,
        "library_version": "0.2.0",
        "settings": {"device": None, "peak_tflops": None, "precision": None, "flop_per_step": None},
        "run": run,
        "flop": None,
        "device": {"name": H100["name"], "index": 0, "backend": "cuda", "sm_count": 132},
        "ceiling": None,
        "clocks": None,
        "stacks": None,
    }
    return whole | parts


CPU = {"name": "AMD EPYC 7B13", "index": None, "backend": "cpu", "threads": 2}


def ceiling_part(fp32: float, **changes: Any) -> Json:
    """A measured peak in FLOP/s."""
    return {"flop_per_s": {"fp32": fp32}, "detail": "2 threads, matmul 2048", "notes": []} | changes


def members(live: Any, devices: list[Json] | None = None) -> Json:
    """Top-level members of a trace."""
    around: Json = {"schemaVersion": 1, "deviceProperties": [H100] if devices is None else devices}
    return around | {"mfu_profiler": live, "baseTimeNanoseconds": BASE_NS}


def live_report(
    folder: Path,
    live: Any,
    events: list[Json] | None = None,
    devices: list[Json] | None = None,
    **options: Any,
) -> Report:
    """The report of a trace with live facts, of a GPU unless said otherwise."""
    events = gpu_events() if events is None else events
    return analyze(write_trace(folder, events, Layout(), members(live, devices)), **options)


def cpu_report(folder: Path, live: Json, events: list[Json] | None = None, **options: Any) -> Report:
    """The report of a run on a CPU."""
    return live_report(folder, live, cpu_events() if events is None else events, [], **options)


def rows_of(found: Report) -> dict[str, float]:
    """Fractions of the waterfall by cause, without those that are nothing."""
    return {row.cause: round(row.fraction, 9) for row in found.waterfall if round(row.fraction, 9)}
