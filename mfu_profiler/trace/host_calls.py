"""What a host-side call or annotation does, by its name: launches, waits, copies, collectives, steps.

Runtime calls (``cudaLaunchKernel``, ``hipStreamSynchronize``, ``urEnqueueKernelLaunch``) are looked up by
exact name; a name that the table lacks falls to a pattern of its family, so that a new variant of a known
call is still understood. Suffixes of version and per-thread stream (``cuMemAlloc_v2``, ``cudaMemcpy_ptds``)
are taken off first. No public source names the calls of MTIA, so those are ``"other"``.

>>> host_call_kind("cudaLaunchKernelExC_ptsz"), host_call_kind("cudaStreamWaitEvent")
('launch', 'event')
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal

__all__ = [
    "DATA_MARK",
    "EVALUATION_MARK",
    "SYNC_OPS",
    "HostCallKind",
    "host_call_kind",
    "is_blocking_copy",
    "is_collective_op",
    "is_data_loading",
    "is_graph_launch",
    "is_optimizer_step",
    "is_zero_grad",
    "step_number",
    "waits_for_device",
]

HostCallKind = Literal["launch", "sync", "copy", "allocate", "event", "other"]
"""``launch`` enqueues kernels; ``sync`` blocks the host until device work is done; ``copy`` enqueues or does
a memcpy or memset; ``event`` records, asks or orders and never blocks."""

DATA_MARK: Final = "mfu_profiler.data"
"""The annotation that the user's own ``run.data()`` span writes."""

EVALUATION_MARK: Final = "mfu_profiler.evaluation"
"""The annotation that ``track`` writes around evaluation between two profiled steps."""

# Sources: CUDA Runtime and Driver API reference; HIP API reference; Unified Runtime (UR) and Level Zero
# specifications; kineto libkineto/src/CuptiCbidRegistry.cpp and pytorch/kineto#1024 for what is recorded.
_GRAPH_LAUNCHES: Final = frozenset(
    {"cudaGraphLaunch", "cuGraphLaunch", "hipGraphLaunch", "urEnqueueCommandBufferExp", "urEnqueueGraphExp"}
)

_EXACT: Final[Mapping[HostCallKind, str]] = {
    "launch": """
        cudaLaunchKernel cudaLaunchKernelExC cudaLaunch
        cudaLaunchCooperativeKernel cudaLaunchCooperativeKernelMultiDevice
        cuLaunchKernel cuLaunchKernelEx cuLaunchCooperativeKernel cuLaunchCooperativeKernelMultiDevice
        hipLaunchKernel hipLaunchKernelExC hipExtLaunchKernel hipLaunchByPtr hipDrvLaunchKernelEx
        hipLaunchCooperativeKernel hipLaunchCooperativeKernelMultiDevice hipExtLaunchMultiKernelMultiDevice
        hipModuleLaunchKernel hipExtModuleLaunchKernel hipHccModuleLaunchKernel
        hipModuleLaunchCooperativeKernel
        urEnqueueKernelLaunch urEnqueueKernelLaunchWithArgsExp urEnqueueKernelLaunchCustomExp
        urEnqueueCooperativeKernelLaunchExp piEnqueueKernelLaunch
        zeCommandListAppendLaunchKernel zeCommandListAppendLaunchCooperativeKernel
        zeCommandQueueExecuteCommandLists
    """,
    "sync": """
        cudaDeviceSynchronize cudaStreamSynchronize cudaEventSynchronize cudaThreadSynchronize
        cuCtxSynchronize cuStreamSynchronize cuEventSynchronize
        hipDeviceSynchronize hipStreamSynchronize hipEventSynchronize hipCtxSynchronize
        urQueueFinish urEventWait piQueueFinish piEventsWait
        zeCommandQueueSynchronize zeCommandListHostSynchronize zeEventHostSynchronize zeFenceHostSynchronize
    """,
    "copy": """
        cudaMemcpy cudaMemcpyAsync cudaMemset cudaMemsetAsync cudaMemPrefetchAsync
        cuMemcpyHtoD cuMemcpyDtoH cuMemcpyHtoDAsync cuMemcpyDtoHAsync cuMemcpyDtoDAsync cuMemsetD32Async
        hipMemcpy hipMemcpyAsync hipMemcpyWithStream hipMemset hipMemsetAsync hipMemPrefetchAsync
        urEnqueueUSMMemcpy urEnqueueUSMMemcpy2D urEnqueueUSMFill urEnqueueUSMFill2D urEnqueueUSMPrefetch
        zeCommandListAppendMemoryCopy zeCommandListAppendMemoryFill
    """,
    "allocate": """
        cudaMalloc cudaMallocAsync cudaMallocManaged cudaMallocHost cudaHostAlloc cudaHostRegister
        cudaFree cudaFreeAsync cudaFreeHost cudaHostUnregister
        cuMemAlloc cuMemFree cuMemCreate cuMemRelease cuMemMap cuMemUnmap cuMemSetAccess
        cuMemAddressReserve cuMemAddressFree cuMemHostAlloc cuMemFreeHost
        hipMalloc hipMallocAsync hipMallocManaged hipExtMallocWithFlags hipHostMalloc hipHostRegister
        hipFree hipFreeAsync hipHostFree hipHostUnregister
        urUSMDeviceAlloc urUSMHostAlloc urUSMSharedAlloc urUSMFree
        zeMemAllocDevice zeMemAllocHost zeMemAllocShared zeMemFree
    """,
    "event": """
        cudaEventRecord cudaEventRecordWithFlags cudaEventQuery cudaEventElapsedTime
        cudaEventCreate cudaEventCreateWithFlags cudaEventDestroy cudaStreamWaitEvent cudaStreamQuery
        cuEventRecord cuEventQuery cuEventCreate cuEventDestroy cuStreamWaitEvent cuStreamQuery
        cuStreamWaitValue32 cuStreamWriteValue32
        hipEventRecord hipEventQuery hipEventElapsedTime hipEventCreateWithFlags hipEventDestroy
        hipStreamWaitEvent hipStreamQuery
        urEnqueueEventsWait urEnqueueEventsWaitWithBarrier urEventGetInfo zeEventQueryStatus
    """,
    # A host callback runs no kernel, though its name says "launch".
    "other": "cudaLaunchHostFunc cuLaunchHostFunc hipLaunchHostFunc",
}

_KIND_OF: Final[Mapping[str, HostCallKind]] = MappingProxyType(
    {name: kind for kind, names in _EXACT.items() for name in names.split()}
    | dict.fromkeys(_GRAPH_LAUNCHES, "launch")
)

# The order matters: "cudaEventSynchronize" waits, every other event call does not.
_FAMILIES: Final[tuple[tuple[re.Pattern[str], HostCallKind], ...]] = (
    (re.compile(r"^(?:cuda|cu|hip|ze)\w*Synchronize$"), "sync"),
    (re.compile(r"^(?:cuda|cu|hip)(?:Event|StreamWait|StreamWrite|StreamQuery)"), "event"),
    (re.compile(r"^(?:cuda|cu|hip)(?:Ext|Hcc|Drv|Module)*(?:Launch|GraphLaunch)"), "launch"),
    (re.compile(r"^(?:ur|pi)Enqueue\w*KernelLaunch|^zeCommandListAppendLaunch"), "launch"),
    (re.compile(r"^(?:cuda|cu|hip)(?:Drv)?Mem(?:cpy|set)"), "copy"),
    (re.compile(r"^(?:ur|pi)Enqueue(?:USM|Mem)|^zeCommandListAppend(?:Memory|Image)"), "copy"),
    (
        re.compile(r"^(?:cuda|hip)(?:Ext)?(?:Malloc|Free|Host(?:Alloc|Malloc|Free|Register|Unregister))"),
        "allocate",
    ),
    (
        re.compile(r"^(?:cuda|cu|hip)Mem(?:Alloc|Free|Create|Release|Map|Unmap|SetAccess|Address|Host|Pool)"),
        "allocate",
    ),
    (re.compile(r"^(?:ur|pi|piext)USM\w*(?:Alloc|Free)|^zeMem(?:Alloc|Free)"), "allocate"),
)

_SUFFIXES: Final = re.compile(r"(?:_v[0-9]{1,5}|_ptsz|_ptds|_spt|R[0-9]{4})$")
"""API version, per-thread default stream, HIP's revision of a structure (``hipGetDevicePropertiesR0600``)."""

_LONGEST_NAME: Final = 200
"""Characters. A longer name is no API call and no collective; this bounds what a hostile trace can cost."""

_BLOCKING: Final = """
    cudaMemcpy cudaMemcpy2D cudaMemcpy3D cudaMemcpyToSymbol cudaMemcpyFromSymbol cudaMemcpyToArray
    cudaMemcpyFromArray cudaMemcpy2DToArray cudaMemcpy2DFromArray
    cuMemcpy cuMemcpyHtoD cuMemcpyDtoH cuMemcpyHtoA cuMemcpyAtoH cuMemcpy2D cuMemcpy2DUnaligned cuMemcpy3D
    hipMemcpy hipMemcpyWithStream hipMemcpyHtoD hipMemcpyDtoH hipMemcpy2D hipMemcpy3D hipMemcpyParam2D
    hipMemcpyToSymbol hipMemcpyFromSymbol
"""
_BLOCKING_COPIES: Final = frozenset(_BLOCKING.split())
"""Copies without ``Async``, less device to device and peer, which return at once. ``hipMemcpyWithStream`` is
what ``tensor.item()`` calls on ROCm instead of an asynchronous copy and a wait. Memsets do not block.
Source: CUDA Runtime API, "API synchronization behavior"; HIP API; c10/cuda/CUDAFunctions.h."""

_DEVICE_WAITS: Final = frozenset(
    [
        "cudaDeviceSynchronize",
        "cudaThreadSynchronize",
        "cuCtxSynchronize",
        "hipDeviceSynchronize",
        "hipCtxSynchronize",
    ]
)
"""Source: CUDA Runtime and Driver API, HIP API."""

SYNC_OPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "aten::item": "one element is read on the host",
        "aten::_local_scalar_dense": "the copy and the wait inside aten::item",
        "aten::is_nonzero": "a condition on a tensor: aten::item",
        "aten::nonzero": "the length of the result is read on the host",
        "aten::masked_select": "the length of the result: aten::nonzero",
        "aten::_unique2": "the length of the result",
        "aten::unique_consecutive": "the length of the result",
        "aten::unique_dim": "the length of the result",
        "aten::repeat_interleave": "the sum of the repeats, unless output_size is given",
        "aten::bincount": "the largest value is read to size the result",
        "aten::equal": "the verdict is read on the host",
    }
)
"""Host ops that wait for the device, and why. Where calls were recorded they contain the waiting call; on
tensors that live on the host they wait for nothing.
Source: the CUDA implementations in pytorch aten/src/ATen/native/cuda."""

_COLLECTIVES: Final = re.compile(
    r"^(?:record_param_comms$"
    r"|(?:nccl|rccl|gloo|mpi|ucc|xccl|hccl):"
    r"|(?:_c10d_functional_autograd|_c10d_functional|c10d_functional|c10d)::"
    r"|\w+::(?:\w+_)?(?:all_reduce|all_gather|reduce_scatter|all_to_all)(?:_[a-z0-9]*)*$)"
)
"""Source: torch/csrc/distributed/c10d (ParamCommsUtils, ProcessGroup*, Ops, Functional, symm_mem);
``vllm::all_reduce`` and ``symm_mem::multimem_all_reduce_`` from trace tracelens_b200_tp."""

_COMPUTES_TOO: Final = re.compile(r"matmul|gemm")
"""``symm_mem::fused_all_gather_matmul`` computes while it communicates, so it is no plain collective."""

_LOADER: Final = re.compile(r"^enumerate\(Data(?:Loader|Pipe)\)")
"""``enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__``, torchdata's ``_Stateful...``, data pipes.
Source: torch/utils/data/dataloader.py, ``_profile_name``; torch/utils/data/datapipes/_hook_iterator.py."""

_STEP: Final = re.compile(r"^ProfilerStep ?#([0-9]{1,18})$")
"""Source: torch/profiler/profiler.py, ``step``."""


@lru_cache(maxsize=8_192)
def host_call_kind(name: str) -> HostCallKind:
    """What a runtime or driver call does to the device; ``"other"`` where it only asks or sets something."""
    if len(name) > _LONGEST_NAME:
        return "other"
    base = _base(name)
    if (known := _KIND_OF.get(base)) is not None:
        return known
    return next((kind for pattern, kind in _FAMILIES if pattern.match(base)), "other")


def is_graph_launch(name: str) -> bool:
    """Whether a call launches a whole graph, so that many kernels share its correlation id."""
    return _base(name) in _GRAPH_LAUNCHES


def is_blocking_copy(name: str) -> bool:
    """Whether a copy call returns only when the copy is done.

    An ``Async`` copy from or to pageable memory blocks as well, which only the activity's name tells
    (``Memcpy HtoD (Pageable -> Device)``); and a plain ``cudaMemcpy`` from device to device does not.
    """
    return _base(name) in _BLOCKING_COPIES


def waits_for_device(name: str) -> bool:
    """Whether a call waits for all streams of the device, not for one of them or an event."""
    return _base(name) in _DEVICE_WAITS


def is_collective_op(name: str) -> bool:
    """Whether a host op or annotation is a collective, a point-to-point transfer, or the wait for one."""
    if len(name) > _LONGEST_NAME:
        return False
    return _COLLECTIVES.match(name) is not None and _COMPUTES_TOO.search(name) is None


def is_data_loading(name: str) -> bool:
    """Whether an annotation spans the wait for input: a loader's ``__next__``, the user's ``run.data()``."""
    return name == DATA_MARK or _LOADER.match(name) is not None


def step_number(name: str) -> int | None:
    """The number of a ``ProfilerStep#12`` mark, None for other names. Step 0 is a mark: compare with None."""
    found = _STEP.match(name)
    return int(found.group(1)) if found else None


def is_optimizer_step(name: str) -> bool:
    """Whether an annotation spans an optimizer step: ``Optimizer.step#AdamW.step``, of any class.

    Source: torch/optim/optimizer.py, ``profile_hook_step``.
    """
    return name.startswith("Optimizer.step#")


def is_zero_grad(name: str) -> bool:
    """Whether an annotation spans the zeroing of gradients: ``Optimizer.zero_grad#AdamW.zero_grad``."""
    return name.startswith("Optimizer.zero_grad#")


def _base(name: str) -> str:
    """The call without version suffixes, of which driver calls may carry two (``cuMemcpyHtoD_v2_ptds``)."""
    return _SUFFIXES.sub("", _SUFFIXES.sub("", name))
