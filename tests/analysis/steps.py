"""Training steps of 100 µs with ops that have shapes, for numbers that can be checked by eye.

A square matrix product of 1,000 is 2 GFLOP: 20 µs at 100 TFLOP/s, a fifth of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mfu_profiler.trace.timeline import Timeline

from .pictures import US, Activity, Host, assembled

STEP_US = 100
GEMM = "ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_32x5_nn"
NODE = "autograd::engine::evaluate_function: MmBackward0"
MUON = "Optimizer.step#Muon.step"
BF16, FP8 = "c10::BFloat16", "c10::Float8_e4m3fn"


@dataclass(frozen=True)
class Work:
    """One op and the kernel that it launches."""

    name: str = "aten::mm"
    dims: Sequence[Sequence[int]] | None = ((1000, 1000), (1000, 1000))
    kernel_us: int = 20
    kernel: str = GEMM
    dtype: str = BF16
    concrete: Sequence[str] | None = None
    sequence: int | None = None
    """Autograd sequence number."""
    node: int | None = None
    """Sequence number of the backward node that it runs in."""
    mark: str | None = None
    """The annotation that it runs in."""


def training(*work: Work, count: int = 3, device: str | None = "NVIDIA H100 80GB HBM3") -> Timeline:
    """``count`` equal steps, of which the last has no window; kernels run one after another."""
    marks, ops, calls, activities = [], [], [], []
    for k in range(count):
        begin = k * STEP_US * US
        marks.append(Host(f"ProfilerStep#{k}", begin, begin + STEP_US * US))
        at = begin + 20 * US
        for index, one in enumerate(work):
            start = begin + (2 + 2 * index) * US
            sequence = None if one.sequence is None else one.sequence + 1000 * k
            types = None if one.dims is None else [one.dtype] * len(one.dims)
            ops.append(Host(one.name, start + 200, start + 1800, 0, one.dims, types, one.concrete, sequence))
            if one.node is not None:
                ops.append(Host(NODE, start, start + 2 * US, sequence=one.node + 1000 * k))
            if one.mark is not None:
                marks.append(Host(one.mark, start, start + 2 * US))
            calls.append(Host("cudaLaunchKernel", start + 500, start + 1500))
            activities.append(Activity(one.kernel, at, at + one.kernel_us * US, len(calls) - 1))
            at += one.kernel_us * US
    return assembled(activities, calls, ops, marks, device=device)
