"""Traces for the rules: equal training steps of a few events, written as Kineto JSON and read as any trace.

Times are in µs from the start of a step. A trace drawn event by event has gaps where the host is late::

    host    ├── ProfilerStep#k ─────────────┤        runs(GEMM, 10, 15, 615): launched at 10, on the
    device     ├──── gemm ────┤..............         device from 15 to 615
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mfu_profiler.analysis import Report, analyze
from mfu_profiler.analysis.report import Finding
from tests.analysis.live import BASE_NS
from tests.trace.make import H100, JsonObject, Layout, event, write_trace

A100 = {"id": 0, "name": "NVIDIA A100-SXM4-80GB", "totalGlobalMem": 85_100_000_000, "numSms": 108}
A100 |= {"computeMajor": 8, "computeMinor": 0}
V100 = {"id": 0, "name": "Tesla V100-SXM2-32GB", "totalGlobalMem": 34_000_000_000, "numSms": 80}
V100 |= {"computeMajor": 7, "computeMinor": 0}

GEMM = "ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_32x5_nn"
GEMM_FP32 = "ampere_sgemm_128x64_nn"
GEMM_TF32 = "ampere_tf32gemm_128x128_nn"
ADD = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float> >(int)"
SOFTMAX = "void (anonymous namespace)::softmax_warp_forward<float, float, float, 10, false, false>(float*)"
NCCL = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
CONVOLVES = "sm80_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x64"
TRITON = "triton_poi_fused_add_gelu_0"
PAGEABLE, PINNED = "Memcpy HtoD (Pageable -> Device)", "Memcpy HtoD (Pinned -> Device)"
IN_MAIN = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"
IN_WORKERS = "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__"
NODE = "autograd::engine::evaluate_function: MmBackward0"
ADAMW = "Optimizer.step#AdamW.step"
BF16 = "c10::BFloat16"
MAIN, AUTOGRAD = 10, 11
SQUARE = ((1000, 1000), (1000, 1000))
Dims = Sequence[Sequence[int]]


def ns(time_us: float) -> int:
    """Whole."""
    return round(time_us * 1000)


class Training:
    """``count`` equal steps; the last has no window of its own on a device.

    Args:
        step_us: length of a step on the device.
        host_us: on the host, where it runs ahead.

    """

    def __init__(self, step_us: float = 1_000, host_us: float | None = None, count: int = 4) -> None:
        self.step_us, self.count = step_us, count
        self.host_us = step_us if host_us is None else host_us
        self._host: list[JsonObject] = []
        self._device: list[JsonObject] = []
        self._correlation = 0
        self._before: list[JsonObject] = []

    def op(
        self,
        name: str,
        start: float,
        end: float,
        dims: Dims | None = None,
        dtype: str = "float",
        *,
        sequence: int | None = None,
        thread: int = MAIN,
        concrete: Sequence[str] | None = None,
    ) -> None:
        """A ``cpu_op``; its sequence number counts from the start of the step."""
        args: JsonObject = {}
        if dims is not None:
            args |= {"Input Dims": [list(shape) for shape in dims], "Input type": [dtype] * len(dims)}
        if concrete is not None:
            args["Concrete Inputs"] = list(concrete)
        if sequence is not None:
            args["Sequence number"] = sequence
        self._add("cpu_op", name, start, end, args, thread)

    def mark(self, name: str, start: float, end: float) -> None:
        """A ``user_annotation``."""
        self._add("user_annotation", name, start, end)

    def python(self, name: str, start: float, end: float) -> None:
        """A ``python_function``, as recorded with stacks."""
        self._add("python_function", name, start, end)

    def call(self, name: str, start: float, end: float) -> None:
        """A runtime call that nothing on the device belongs to."""
        self._correlation += 1
        self._add("cuda_runtime", name, start, end, {"correlation": self._correlation})

    def runs(
        self,
        kernel: str,
        launch: float,
        start: float,
        end: float,
        *,
        call: str = "cudaLaunchKernel",
        returns: float | None = None,
        stream: int = 7,
        thread: int = MAIN,
        category: str = "kernel",
        byte: int | None = None,
    ) -> None:
        """Something on the device, launched by a call of 2 µs unless that ``returns`` later."""
        self.call(call, launch, launch + 2 if returns is None else returns)
        self._host[-1]["tid"] = thread
        args: JsonObject = {"device": 0, "stream": stream, "correlation": self._correlation}
        if byte is not None:
            args["bytes"] = byte
        stamps = event(category, kernel, ns(start), ns(end - start), pid=0, tid=stream, args=args)
        self._device.append(stamps)

    def also_runs(self, kernel: str, start: float, end: float) -> None:
        """Something more that the last call launched, as a graph does."""
        first = self._device[-1]
        fields = {"pid": first["pid"], "tid": first["tid"], "args": first["args"]}
        self._device.append(event("kernel", kernel, ns(start), ns(end - start), **fields))

    def copies(
        self, name: str, launch: float, start: float, end: float, byte: int, returns: float | None = None
    ) -> None:
        """A copy by ``cudaMemcpyAsync``."""
        call, category = "cudaMemcpyAsync", "gpu_memcpy"
        self.runs(name, launch, start, end, call=call, returns=returns, category=category, byte=byte)

    def began_with(self, kernel: str, start: float, end: float) -> None:
        """The end of what was launched before the trace began."""
        args = {"device": 0, "stream": 7, "correlation": 0}
        self._before.append(event("kernel", kernel, ns(start), ns(end - start), pid=0, tid=7, args=args))

    def events(self) -> list[JsonObject]:
        """Of all steps."""
        found = list(self._before)
        for step in range(self.count):
            found.append(
                event("user_annotation", f"ProfilerStep#{step}", ns(step * self.host_us), ns(self.host_us))
            )
            found += [_moved(one, step, ns(step * self.host_us)) for one in self._host]
            found += [_moved(one, step, ns(step * self.step_us)) for one in self._device]
        return found

    def report(
        self,
        folder: Path,
        *,
        device: JsonObject | None = H100,
        torch: str | None = "2.6.0",
        live: JsonObject | None = None,
        **options: Any,
    ) -> Report:
        """As anybody gets it: by way of a file."""
        around: JsonObject = {"schemaVersion": 1, "deviceProperties": [] if device is None else [device]}
        around |= {} if torch is None else {"pytorch_version": torch}
        around |= {} if live is None else {"mfu_profiler": live, "baseTimeNanoseconds": BASE_NS}
        return analyze(write_trace(folder, self.events(), Layout(), around), **options)

    def _add(
        self,
        category: str,
        name: str,
        start: float,
        end: float,
        args: JsonObject | None = None,
        thread: int = MAIN,
    ) -> None:
        length_ns = ns(end) - ns(start)
        self._host.append(event(category, name, ns(start), length_ns, tid=thread, args=args or {}))


def _moved(one: JsonObject, step: int, by_ns: int) -> JsonObject:
    args = dict(one["args"])
    for name in ("correlation", "Sequence number"):
        if name in args:
            args[name] += 10_000 * step
    start = int(one["ts"] * 1000) + by_ns
    return event(one["cat"], one["name"], start, int(one["dur"] * 1000)) | {
        "pid": one["pid"],
        "tid": one["tid"],
        "args": args,
    }


def codes(report: Report) -> set[str]:
    """Of the findings."""
    return {finding.code for finding in report.findings}


def found(report: Report, code: str) -> Finding:
    """The finding with a code."""
    return next(finding for finding in report.findings if finding.code == code)


def advice(report: Report, code: str) -> str:
    """Its advice as one text; empty where the finding is absent."""
    return "\n".join(line for finding in report.findings if finding.code == code for line in finding.advice)


def evidence(report: Report, code: str) -> str:
    """Its evidence as one text; empty where the finding is absent."""
    return "\n".join(line for finding in report.findings if finding.code == code for line in finding.evidence)
