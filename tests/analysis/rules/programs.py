"""Whole steps for the rules, from a list of ops and what each launches.

A step that is ``filled`` has kernels end to end, launched ahead, so that only shorter kernels make its step
shorter; the host waits until the last kernel of the step begins, and has time to launch the next ones::

    host    ├ op ┤ ├ op ┤├ op ┤├── synchronize ──┤├ op ┤
    device      ├─ gemm ─┤├─ add ─┤├─ add ─┤├ tail ┤├─ gemm of the next step ─
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from .made import BF16, CONVOLVES, GEMM, NODE, Dims, Training


@dataclass(frozen=True)
class Work:
    """One op, and the kernel that it launches on a device."""

    name: str = "aten::mm"
    us: float = 100
    """Of the kernel; of the op on a CPU."""
    kernel: str = GEMM
    dims: Dims | None = None
    dtype: str = BF16
    concrete: Sequence[str] | None = None
    sequence: int | None = None
    node: int | None = None
    """Sequence number of the backward node that it runs in."""
    mark: str | None = None
    """The annotation that it runs in; neighbours of one name share one."""


OP_US = 8.0
"""Of host time for one op of a ``filled`` step."""
TAIL_US = 40
"""The last kernel of a filled step, of a kind that no rule is about; the device is so far behind the host."""
TAIL = Work("aten::embedding_dense_backward", TAIL_US, "embedding_backward_kernel")


def filled(*work: Work, count: int = 4, ahead: int = 0) -> Training:
    """Steps of a device that never waits; they take the time of the kernels, and ``TAIL_US`` more.

    Args:
        work: of a step, in order.
        count: of steps.
        ahead: steps that the host is ahead of the device, beside ``TAIL_US``.

    """
    work = (*work, TAIL)
    step_us = sum(one.us for one in work)
    made = Training(step_us, count=count)
    made.began_with(TAIL.kernel, 1, TAIL_US + ahead * step_us)
    starts = [2.0, *(TAIL_US + 1.0 + OP_US * index for index in range(len(work) - 1))]
    device_us = TAIL_US + ahead * step_us
    for at, one in zip(starts, work, strict=True):
        _nest(made, one, at, at + OP_US)
        launch = at + 3
        if launch > device_us:
            raise ValueError(f"{one.name} is launched at {launch} µs, too late for {device_us}")
        made.runs(one.kernel, launch, device_us, device_us + one.us)
        device_us += one.us
    made.call("cudaStreamSynchronize", starts[-1] + OP_US, step_us)
    _annotate(made, work, starts, [OP_US] * len(work))
    return made


def on_a_cpu(*work: Work, gap_us: float = 0.0, count: int = 3) -> Training:
    """Steps of a CPU: ops one after the other, then a gap."""
    lengths = [one.us for one in work]
    starts = [2.0 + sum(lengths[:index]) for index in range(len(work))]
    made = Training(2.0 + sum(lengths) + gap_us, count=count)
    for at, one in zip(starts, work, strict=True):
        _nest(made, one, at, at + one.us)
    _annotate(made, work, starts, lengths)
    return made


def _nest(made: Training, one: Work, start: float, end: float) -> None:
    """The op, 0.1 µs inside of its backward node on both sides if it has one."""
    if one.node is not None:
        made.op(NODE, start, end, sequence=one.node)
        start, end = start + 0.1, end - 0.1
    made.op(one.name, start, end, one.dims, one.dtype, sequence=one.sequence, concrete=one.concrete)


def _annotate(
    made: Training, work: Sequence[Work], starts: Sequence[float], lengths: Sequence[float]
) -> None:
    for name, group in groupby(range(len(work)), lambda index: work[index].mark):
        rows = list(group)
        if name is not None:
            made.mark(name, starts[rows[0]], starts[rows[-1]] + lengths[rows[-1]] - 0.1)


def convolution(us: float, kernel: str = CONVOLVES) -> Work:
    """8 images of 64 x 56 x 56, 64 filters of 3 x 3, in bf16."""
    dims = ((8, 64, 56, 56), (64, 64, 3, 3), (), (), (), (), (), (), ())
    concrete = ("", "", "[1, 1]", "[1, 1]", "[1, 1]", "1", "False", "False", "True")
    return Work("aten::cudnn_convolution", us, kernel, dims, concrete=concrete)
