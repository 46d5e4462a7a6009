"""What kind of work a device kernel does, by its name alone.

The facts stand in ``kernel_rules.py``; this module asks them. Kinds answer two questions of the analysis:
which kernels communicate (their time is no compute), and which execute no matmul FLOP by nature (their
FLOP are known to be zero, so they count as covered).

>>> kernel_kind("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float> >(int)")
'elementwise'
>>> has_no_flop("triton_poi_fused_addmm_gelu_0")
True
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, get_args

from mfu_profiler.trace.kernel_rules import KERNEL_RULES, KernelKind

__all__ = ["KERNEL_KINDS", "SEARCHED_LENGTH", "ZERO_FLOP_KINDS", "KernelKind", "has_no_flop", "kernel_kind"]

KERNEL_KINDS: Final[tuple[KernelKind, ...]] = get_args(KernelKind)
"""Every kind, ``"other"`` last."""

ZERO_FLOP_KINDS: Final[frozenset[KernelKind]] = frozenset(
    {"elementwise", "normalization", "softmax", "reduction", "optimizer", "embedding", "memory"}
)
"""Compute kinds that execute no matmul FLOP. Communication is not among them: it is no compute at all."""

SEARCHED_LENGTH: Final = 4_000
"""Characters of a name that are searched. The longest name in 31 real traces has 2,004, and what tells the
kind stands in front; the limit bounds the time that a hostile trace can cost."""

_INDUCTOR_WITHOUT_MATMUL: Final = re.compile(r"(?:^|_)triton_(?:poi|red|per|for|spl)_")
"""Pointwise, reduction, persistent reduction, foreach and split scan; not templates and "unknown".
Source: torch/_inductor/wrapper_benchmark.py, ``_kernel_category_choices``."""

_INDUCTOR_PRODUCT_AS_SUM: Final = re.compile(
    r"(?:^|_)triton_(?:red|per)_fused_\w*(?<![a-z])(?<!scaled_)(?<!grouped_)"
    r"(?:mm|bmm|mv|dot(?!_product))(?=_|$)(?!_backward)"
)
"""A product with a vector, which Inductor may write as multiply and sum; then the reduction has the FLOP.
``addmm`` does not count: in a reduction it is nearly always the bias of a product computed elsewhere.
Source: torch/_inductor/decomposition.py, ``mm`` and ``bmm`` under ``coordinate_descent_tuning``."""


@lru_cache(maxsize=65_536)
def kernel_kind(name: str) -> KernelKind:
    """The kind of a device kernel; ``"other"`` where no rule knows its name.

    A kernel that a library shares between two kinds of op is called what it is, not what it is used for:
    cuDNN's non-fused Winograd runs ``volta_sgemm``, and that is ``"matmul"`` here.
    """
    searched = _searched(name)
    for rule in KERNEL_RULES:
        if rule.pattern.search(searched):
            return rule.kind
    return "other"


def has_no_flop(name: str) -> bool:
    """Whether the name makes it certain that a compute kernel executes no matmul FLOP."""
    kind = kernel_kind(name)
    if kind != "triton-fused":
        return kind in ZERO_FLOP_KINDS
    searched = _searched(name)
    if not _INDUCTOR_WITHOUT_MATMUL.search(searched):
        return False
    return not _INDUCTOR_PRODUCT_AS_SUM.search(searched)


def _searched(name: str) -> str:
    return name[:SEARCHED_LENGTH].lower()
