"""A trace every name of which tries to break out of the page that shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.analysis.live import BASE_NS, FLOP, STEP_US, K, M, N, flop_part, live_part
from tests.trace.make import H100, JsonObject, Layout, event, kernel, launch, mark, op, trace_bytes

__all__ = ["EVIL", "LONG", "hostile_trace"]

_SURROGATE = "SURROGATE"
"""Stands for a lone surrogate, which only JSON's escape can hold."""
EVIL = (
    "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&lt;/script&gt;<!--]]>`|**b**[l](javascript:a)"
    "\x1b[31mred\x1b]0;owned\x07\x9b2J\r\n# heading\n\t\u202egnp.exe\u2066\u200b\u2028\ufeff\ufffe\\u0000"
    "{{7*7}}${x}%s[bold red]markup[/bold red]"
)
LONG = "void evil<" + "</script><script>" * 300 + "x" * 5_000 + ">(int)"
_NAME = EVIL + _SURROGATE
_STEPS = 4
_TEXTS: dict[str, Any] = {"Input Dims": _NAME, "Call stack": _NAME}
_SHAPES: dict[str, Any] = {"Input Dims": [[M, K], [K, N]], "Input type": ["c10::BFloat16"] * 2}


def hostile_trace(folder: Path, *, device: str | None = None, is_live: bool = True) -> Path:
    r"""Write the trace into a folder; the path to read, hostile as well: ``.../<script>\x1b...json``.

    Args:
        folder: need not be empty.
        device: its name; by default hostile, so that the MFU is unknown and the reason quotes it.
        is_live: with the facts of a live run, module names among them.

    """
    place = folder / "\"'><script>alert(1)<"
    place.mkdir(parents=True, exist_ok=True)
    path = place / "script>\x1b[31m\x9b\r\n\u202e\u200b&lt;`|[bold].json"
    text = trace_bytes(_events(), Layout(), _members(_NAME if device is None else device, is_live=is_live))
    path.write_bytes(text.replace(_SURROGATE.encode(), rb"\ud800"))
    return path


def _members(device: str, *, is_live: bool) -> JsonObject:
    around: JsonObject = {
        "schemaVersion": 1,
        "deviceProperties": [H100 | {"name": device}],
        "baseTimeNanoseconds": BASE_NS,
        "traceName": _NAME,
        "torch_version": _NAME,
        "distributedInfo": {"rank": 3, "world_size": 8, "backend": _NAME},
        _NAME: _NAME,
    }
    if not is_live:
        return around
    modules = [[name, FLOP // 3, FLOP // 6, 0] for name in (_NAME, LONG)]
    live = live_part(
        [STEP_US] * 10,
        run_model=_NAME,
        run_boundary=_NAME,
        run_notes=[_NAME, LONG],
        run_pauses_ns={_NAME: 1000},
        flop=flop_part(by_module=modules, uncounted={_NAME: 3}),
        device={"name": device, "index": 0, "backend": "cuda", "sm_count": 132},
    )
    return around | {"mfu_profiler": live}


def _events() -> list[JsonObject]:
    """A matmul, an elementwise kernel, a wait for data, a copy and a collective a step.

    ::

        host    ├ mm ┤├ evil::op ┤├──── loader ────┤├ copy_ ┤
        device      ├──── gemm ────┤├ evil ┤        ├ memcpy ┤├ nccl ┤
    """

    def collective(correlation: int, start_ns: int, **args: Any) -> JsonObject:
        name = f"ncclDevKernel_AllReduce{_NAME}"
        return kernel(correlation, start_ns, 90_000, name=name, **args)

    events: list[JsonObject] = [_named("process_name", 10, 0), _named("thread_name", 0, 7)]
    for step in range(_STEPS):
        begin, call = step * STEP_US * 1000, 10 * step
        events += [
            mark(f"ProfilerStep#{step}", begin, 990_000),
            mark(_NAME, begin, 900_000),
            mark(f"enumerate(DataLoader)#{_NAME}.__next__", begin + 150_000, 500_000),
            event("python_function", f"/home/{_NAME}/train.py(3): {_NAME}", begin, 980_000),
            event("python_function", f"nn.Module: {_NAME}", begin + 1_000, 970_000),
            event("python_function", f"nn.Module: {LONG}", begin + 60_000, 80_000),
            op("aten::mm", begin + 10_000, 40_000, **_SHAPES),
            launch(call, begin + 20_000),
            kernel(call, begin + 40_000, 350_000, name=f"sm90_gemm_bf16{_NAME}"),
            op(f"evil::{_NAME}", begin + 60_000, 80_000, **_TEXTS),
            launch(call + 1, begin + 70_000, name=f"cudaLaunchKernel{_NAME}"),
            kernel(call + 1, begin + 390_000, 90_000, name=LONG),
            launch(call + 2, begin + 80_000),
            kernel(call + 2, begin + 480_000, 50_000, name=f"elementwise_kernel<{_NAME}>"),
            op("aten::copy_", begin + 660_000, 40_000),
            launch(call + 3, begin + 670_000, name="cudaMemcpyAsync"),
            kernel(call + 3, begin + 700_000, 100_000, name=f"Memcpy HtoD {_NAME}", category="gpu_memcpy"),
            launch(call + 4, begin + 680_000),
            collective(call + 4, begin + 800_000, stream=f"7{_NAME}" if step % 2 else f"7{LONG}"),
        ]
    return events


def _named(what: str, pid: int, tid: int) -> JsonObject:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "ts": 0, "args": {"name": _NAME, "labels": LONG}}
