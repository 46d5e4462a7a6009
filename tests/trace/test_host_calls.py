"""Names of runtime calls, host ops and annotations, and what each one means."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.trace.host_calls import (
    DATA_MARK,
    SYNC_OPS,
    HostCallKind,
    host_call_kind,
    is_blocking_copy,
    is_collective_op,
    is_data_loading,
    is_graph_launch,
    is_optimizer_step,
    is_zero_grad,
    step_number,
)

CALLS: dict[str, str] = {
    "launch": """
        cudaLaunchKernel cudaLaunchKernel_ptsz cudaLaunchKernelExC cudaLaunchCooperativeKernel cudaGraphLaunch
        cuLaunchKernel cuLaunchKernelEx cuLaunchKernelEx_ptsz cuGraphLaunch
        hipLaunchKernel hipExtLaunchKernel hipModuleLaunchKernel hipExtModuleLaunchKernel hipGraphLaunch
        urEnqueueKernelLaunch urEnqueueKernelLaunchWithArgsExp piEnqueueKernelLaunch
        zeCommandListAppendLaunchKernel zeCommandListAppendLaunchKernelWithArguments
    """,
    "sync": """
        cudaDeviceSynchronize cudaStreamSynchronize cudaStreamSynchronize_ptsz cudaEventSynchronize
        cuCtxSynchronize cuStreamSynchronize hipDeviceSynchronize hipStreamSynchronize hipEventSynchronize
        urQueueFinish urEventWait zeCommandListHostSynchronize
    """,
    "copy": """
        cudaMemcpy cudaMemcpyAsync cudaMemcpyAsync_ptsz cudaMemcpy2DAsync cudaMemcpyPeerAsync cudaMemsetAsync
        cuMemcpyDtoDAsync_v2 cuMemcpyHtoD_v2_ptds cuMemsetD8Async hipMemcpyAsync hipMemcpyWithStream
        hipMemsetAsync hipMemcpyDtoHAsync urEnqueueUSMMemcpy urEnqueueUSMFill zeCommandListAppendMemoryCopy
    """,
    "allocate": """
        cudaMalloc cudaMallocAsync cudaMallocFromPoolAsync cudaFree cudaHostAlloc cudaFreeHost
        cudaHostRegister cuMemAlloc_v2 cuMemCreate cuMemMap cuMemUnmap cuMemSetAccess
        cuMemAddressReserve cuMemRelease
        hipMalloc hipFree hipHostMalloc hipExtMallocWithFlags urUSMDeviceAlloc urUSMFree
    """,
    "event": """
        cudaEventQuery cudaEventRecord cudaEventRecordWithFlags cudaStreamWaitEvent cudaEventElapsedTime
        cudaEventCreateWithFlags cudaEventDestroy cudaStreamQuery cuEventRecord cuStreamWaitValue64_v2
        hipStreamWaitEvent hipEventDestroy hipEventQuery
    """,
    "other": """
        cudaFuncSetAttribute cudaFuncGetAttributes cudaStreamIsCapturing cudaStreamGetPriority INVALID
        cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags cudaStreamGetCaptureInfo_v2 cudaPeekAtLastError
        cudaGetDriverEntryPoint cudaThreadExchangeStreamCaptureMode cudaPointerGetAttributes
        cudaDriverGetVersion hipGetDevicePropertiesR0600 hipPointerGetAttribute
        hipStreamGetDevice cudaMemGetInfo
        cudaLaunchHostFunc cudaGraphInstantiate cudaStreamCreateWithPriority aten::mm
    """,
}


@pytest.mark.parametrize(
    ("call", "kind"), [(call, kind) for kind, calls in CALLS.items() for call in calls.split()]
)
def test_a_call_has_its_kind(call: str, kind: str) -> None:
    assert host_call_kind(call) == kind


@pytest.mark.parametrize(
    "call", ["cudaGraphLaunch", "cudaGraphLaunch_ptsz", "cuGraphLaunch", "hipGraphLaunch"]
)
def test_a_graph_launch_is_told_from_a_kernel_launch(call: str) -> None:
    assert is_graph_launch(call)
    assert not is_graph_launch("cudaLaunchKernel")
    assert not is_graph_launch("cudaGraphInstantiate")


@pytest.mark.parametrize("call", ["cudaMemcpy", "cudaMemcpy2D", "cuMemcpyDtoH_v2", "hipMemcpyWithStream"])
def test_a_copy_that_returns_when_it_is_done_blocks(call: str) -> None:
    assert is_blocking_copy(call)


@pytest.mark.parametrize(
    "call",
    [
        "cudaMemcpyAsync",
        "cudaMemcpyPeer",
        "cuMemcpyDtoD_v2",
        "cudaMemset",
        "cudaMemsetAsync",
        "hipMemcpyAsync",
    ],
)
def test_asynchronous_copies_device_copies_and_memsets_do_not_block(call: str) -> None:
    assert not is_blocking_copy(call)


def test_reading_an_element_is_a_sync_and_adding_is_not() -> None:
    assert {"aten::item", "aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero"} <= set(SYNC_OPS)
    assert "aten::add" not in SYNC_OPS
    assert all(SYNC_OPS.values())


@pytest.mark.parametrize(
    "name",
    [
        "record_param_comms",
        "nccl:all_reduce",
        "nccl:_all_gather_base",
        "gloo:all_reduce",
        "xccl::allreduce",
        "c10d::allreduce_",
        "_c10d_functional::all_to_all_single",
        "_c10d_functional::wait_tensor",
        "vllm::all_reduce",
        "symm_mem::multimem_all_reduce_",
    ],
)
def test_a_collective_is_known_on_the_host(name: str) -> None:
    assert is_collective_op(name)


@pytest.mark.parametrize(
    "name",
    [
        "aten::mm",
        "aten::scatter_reduce",
        "symm_mem::fused_all_gather_matmul",
        "torch.distributed.ddp.reducer::copy_bucket_to_grad",
        "DistributedDataParallel.forward",
        "FSDP::pre_forward",
        "all_reduce my gradients",
    ],
)
def test_what_only_mentions_communication_is_no_collective(name: str) -> None:
    assert not is_collective_op(name)


@pytest.mark.parametrize(
    "name",
    [
        "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__",
        "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__",
        "enumerate(DataLoader)#_StatefulMultiProcessingDataLoaderIter.__next__",
        "enumerate(DataPipe)#MapperIterDataPipe",
        DATA_MARK,
    ],
)
def test_waiting_for_input_is_data_loading(name: str) -> None:
    assert is_data_loading(name)


@pytest.mark.parametrize(
    "name", ["aten::item", "ProfilerStep#3", "## wait_for_batch ##", "mfu_profiler.data2"]
)
def test_waiting_for_something_else_is_not_data_loading(name: str) -> None:
    assert not is_data_loading(name)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("ProfilerStep#0", 0),
        ("ProfilerStep#12", 12),
        ("ProfilerStep #7", 7),
        ("ProfilerStep#", None),
        ("ProfilerStep#1x", None),
        ("ProfilerStep#" + "9" * 5000, None),
        ("step 3", None),
    ],
)
def test_a_step_mark_gives_its_number(name: str, step: int | None) -> None:
    assert step_number(name) == step


def test_an_optimizer_step_is_no_zeroing_of_gradients() -> None:
    step, zeroing = "Optimizer.step#AdamW.step", "Optimizer.zero_grad#AdamW.zero_grad"
    assert (is_optimizer_step(step), is_zero_grad(step)) == (True, False)
    assert (is_optimizer_step(zeroing), is_zero_grad(zeroing)) == (False, True)
    assert not is_optimizer_step("Optimizer.steps")


@given(st.text(max_size=300) | st.from_regex(r"(cuda|cu|hip|ur|ze)[A-Z]\w{0,40}"))
def test_any_name_has_a_listed_kind_and_every_question_an_answer(name: str) -> None:
    assert host_call_kind(name) in get_args(HostCallKind)
    predicates = (is_graph_launch, is_blocking_copy, is_collective_op, is_data_loading, is_optimizer_step)
    assert all(predicate(name) in (True, False) for predicate in predicates)
    assert step_number(name) is None or name.startswith("ProfilerStep")


def test_calls_that_share_a_correlation_with_an_activity_enqueued_it(recorded: Recorded) -> None:
    """Kernels were launched, memcpys and memsets copied, but for graphs, which may contain all three."""
    expected = {"kernel": "launch", "memcpy": "copy", "memset": "copy"}
    wrong = {
        (activity, call)
        for activity, call in recorded.causes
        if host_call_kind(call) != expected[activity] and not is_graph_launch(call)
    }
    assert wrong == set()
    assert {("kernel", "cuLaunchKernelEx"), ("kernel", "hipExtModuleLaunchKernel")} <= recorded.causes
    assert ("memset", "cudaMemsetAsync") in recorded.causes


def test_no_call_of_a_real_trace_that_waits_allocates_or_launches_is_unknown(recorded: Recorded) -> None:
    unknown = {call for call in recorded.calls if host_call_kind(call) == "other"}
    assert "cudaFuncSetAttribute" in unknown
    assert not [
        call for call in unknown if any(word in call for word in ("Synch", "Malloc", "Free", "Launch"))
    ]


class Recorded(NamedTuple):
    """What real traces recorded."""

    calls: set[str]
    causes: set[tuple[str, str]]
    """Kind of activity, and a call with the same correlation."""


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    calls: set[str] = set()
    causes: set[tuple[str, str]] = set()
    for events in _traces():
        by_correlation = {
            event.correlation: event.name
            for event in events
            if event.category in ("cuda_runtime", "cuda_driver", "runtime")
        }
        calls.update(by_correlation.values())
        causes.update(
            (event.category, by_correlation[event.correlation])
            for event in events
            if event.category in ("kernel", "memcpy", "memset") and event.correlation in by_correlation
        )
    return Recorded(calls, causes)


class _Arguments(msgspec.Struct):
    correlation: int | None = None


class _Event(msgspec.Struct):
    name: Any = ""
    cat: str | None = None
    args: _Arguments | None = None

    @property
    def category(self) -> str:
        return (self.cat or "").lower().removeprefix("gpu_")

    @property
    def correlation(self) -> int | None:
        return self.args.correlation if self.args else None


class _Trace(msgspec.Struct, rename={"events": "traceEvents"}):
    events: list[_Event]


def _traces() -> Iterator[list[_Event]]:
    folder = Path(__file__).resolve().parents[3] / "shared" / "traces"
    if not (folder / "index.csv").is_file():
        message = f"real traces are not at {folder}"
        if os.environ.get("MFU_PROFILER_REQUIRE_SHARED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    for path in [*sorted(folder.glob("*.json.gz")), *sorted(folder.glob("*/rank0.json.gz"))]:
        with gzip.open(path) as file:
            data = file.read()
        if data.lstrip()[:1] == b"[":
            yield msgspec.json.decode(data, type=list[_Event])
        else:
            yield msgspec.json.decode(data, type=_Trace).events
