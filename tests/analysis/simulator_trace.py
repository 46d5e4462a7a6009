"""The file that torch.profiler would have written of a simulated training, in Kineto's JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..trace.make import JsonObject, event, microseconds, write_trace
from .pictures import COLLECTIVE_KERNEL, LOADER
from .simulator import AUTOGRAD, MAIN, Activity, Call, Log, Work

START_NS = 5_319_204_117_338_093
"""Of the trace: as long as real stamps are."""
PROCESS, THREADS, STREAMS = 4021, {MAIN: 4021, AUTOGRAD: 4187}, (7, 20)
A100 = {"id": 0, "name": "NVIDIA A100-SXM4-80GB", "totalGlobalMem": 85051572224, "numSms": 108}
A100 |= {"computeMajor": 8, "computeMinor": 0}
PEAK_FLOP_PER_NS = 312e3
"""Of bf16, dense. Source: NVIDIA A100 datasheet."""
PINNED_BYTE_PER_NS = 20
MATMUL_FRACTION = 0.6
"""Of peak: what a simulated matrix product reaches."""
ALIGNED = 64
NODE = "autograd::engine::evaluate_function: MmBackward0"
NAMES: Mapping[Work, tuple[str, str, str]] = {
    "matmul": ("kernel", "ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_32x5_nn", "aten::mm"),
    "elementwise": (
        "kernel",
        "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, "
        "std::array<char*, 3ul> >(int, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul>)",
        "aten::add",
    ),
    "collective": ("kernel", COLLECTIVE_KERNEL, "record_param_comms"),
    "pageable copy": ("gpu_memcpy", "Memcpy HtoD (Pageable -> Device)", "aten::copy_"),
    "pinned copy": ("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", "aten::copy_"),
}
"""Category and name on the device, and the op that launches it."""


def write_simulated(log: Log, folder: Path) -> Path:
    """Write the trace into an empty folder; the path to read.

    It begins with a step. Device work that was launched before and still runs then has no launch record.
    """
    begin_ns = log.steps[log.recorded_from][0]
    correlation_of = {call: index for index, call in enumerate(log.calls, start=1)}
    events = [*_marks(log, begin_ns)]
    for call, correlation in correlation_of.items():
        if call.start_ns >= begin_ns:
            events.append(_on_host("cuda_runtime", call.name, call.start_ns, call, correlation=correlation))
    for activity in log.activities:
        if activity.call.start_ns >= begin_ns:
            events += _host_events(activity, correlation_of[activity.call])
        if activity.end_ns > begin_ns:
            events.append(_on_device(activity, correlation_of[activity.call]))
    members = {"schemaVersion": 1, "deviceProperties": [A100], "record_shapes": 1}
    return write_trace(folder, events, members=members)


def _marks(log: Log, begin_ns: int) -> Iterator[JsonObject]:
    spans = [(f"ProfilerStep#{number}", *step, MAIN) for number, step in enumerate(log.steps)]
    spans += [(LOADER, *load) for load in log.loads]
    for name, start_ns, end_ns, thread in spans:
        if start_ns >= begin_ns:
            place = {"pid": PROCESS, "tid": THREADS[thread]}
            yield event("user_annotation", name, START_NS + start_ns, end_ns - start_ns, **place)


def _on_host(category: str, name: str, start_ns: int, call: Call, **args: Any) -> JsonObject:
    """Something that ends with a call."""
    return event(
        category,
        name,
        START_NS + start_ns,
        call.end_ns - start_ns,
        pid=PROCESS,
        tid=THREADS[call.thread],
        args=args,
    )


def _host_events(activity: Activity, correlation: int) -> Iterator[JsonObject]:
    """The op that launched it, the node of backward that this is in, and the arrow to it."""
    call, length_ns, op = activity.call, activity.end_ns - activity.start_ns, NAMES[activity.work][2]
    yield _on_host("cpu_op", op, call.since_ns, call, **_shapes(activity.work, length_ns))
    if call.thread == AUTOGRAD:
        yield _on_host("cpu_op", NODE, call.since_ns, call, **{"Sequence number": correlation})
    arrow = {"cat": "ac2g", "name": "ac2g", "id": correlation}
    at_call = {"pid": PROCESS, "tid": THREADS[call.thread], "ts": microseconds(START_NS + call.start_ns)}
    at_activity = {"pid": 0, "tid": STREAMS[activity.stream]}
    yield arrow | at_call | {"ph": "s"}
    yield arrow | at_activity | {"ph": "f", "bp": "e", "ts": microseconds(START_NS + activity.start_ns)}


def _on_device(activity: Activity, correlation: int) -> JsonObject:
    stream, length_ns = STREAMS[activity.stream], activity.end_ns - activity.start_ns
    category, name, _ = NAMES[activity.work]
    args = {"device": 0, "stream": stream, "correlation": correlation}
    if category == "gpu_memcpy":
        args["bytes"] = length_ns * PINNED_BYTE_PER_NS
    return event(category, name, START_NS + activity.start_ns, length_ns, pid=0, tid=stream, args=args)


def _shapes(work: Work, length_ns: int) -> JsonObject:
    """Of the op; of a matrix product those of square ones."""
    if work != "matmul":
        return {"Input Dims": [[length_ns]], "Input type": ["float"]}
    side = product_side(length_ns)
    return {"Input Dims": [[side, side]] * 2, "Input type": ["c10::BFloat16"] * 2}


def product_side(length_ns: int) -> int:
    """Rows of the square matrices whose product takes this long; aligned, as those of a tuned model."""
    return int((length_ns * PEAK_FLOP_PER_NS * MATMUL_FRACTION / 2) ** (1 / 3)) // ALIGNED * ALIGNED
