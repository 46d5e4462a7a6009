"""Matrix products with dimensions that tensor cores cannot read in whole pieces.

Only dimensions of the weights count, which are the second operand of a product in the forward pass; how many
tokens there are is the data's.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from mfu_profiler.analysis.fixes.steps import Steps
from mfu_profiler.analysis.op_roles import EVALUATE_FUNCTION
from mfu_profiler.units import percent_text

__all__ = ["Misaligned", "misaligned"]

Float64 = npt.NDArray[np.float64]

_MULTIPLE = {"fp16": 8, "bf16": 8, "fp8": 16}
"""Elements in 16 bytes. Source: NVIDIA, "Matrix Multiplication Background User's Guide", table 1.
TF32 is left out: cuBLAS pads its operands for it, and four elements are rarely missed."""
_WEIGHT = {"aten::mm": 1, "aten::addmm": 2, "aten::_scaled_mm": 1}
"""Product of activations and weights -> place of the weights among its arguments."""
VOCABULARY = 10_000
"""An indivisible dimension this large is a vocabulary: padded to 64, as nanoGPT does (50257 -> 50304)."""


@dataclass(frozen=True, slots=True)
class Misaligned:
    """Products with one dimension that does not fit."""

    size: int
    multiple: int
    product: str
    """One of them in words."""
    fraction: float
    """Of the averaged steps, in all products that have this dimension."""

    @property
    def text(self) -> str:
        """For the evidence."""
        share = percent_text(self.fraction)
        return f"{self.size} is no multiple of {self.multiple}: {self.product}, {share} of the step with such"

    @property
    def advice(self) -> str:
        """The padded size."""
        is_vocabulary = self.size > VOCABULARY
        multiple = 64 if is_vocabulary else self.multiple
        padded = -(-self.size // multiple) * multiple
        return f"pad {'the vocabulary' if is_vocabulary else 'it'}: {self.size} → {padded}"


def misaligned(steps: Steps) -> tuple[Misaligned, ...]:
    """What does not fit, by its share of the averaged steps."""
    ran, work = steps.ran, steps.work
    rows = np.flatnonzero(ran.item.has_flop & (work.share_ns > 0))
    share_ns = np.bincount(ran.item.cost[rows], weights=work.share_ns[rows], minlength=len(ran.costs.op))
    weights: dict[int, tuple[int, str]] = {}
    held: dict[int, float] = {}
    for signature, precision, is_forward, fraction in _products(steps, share_ns / steps.times.averaged_ns):
        multiple = _MULTIPLE[precision]
        name, shapes = _product(steps, signature)
        place = _WEIGHT.get(name)
        for size in {size for shape in shapes for size in shape if size > 1 and size % multiple}:
            held[size] = held.get(size, 0.0) + fraction
            if place is not None and is_forward and len(shapes) > place and size in shapes[place]:
                operands = " x ".join(
                    str(shape).replace(", ", ",") for shape in shapes[place - 1 : place + 1]
                )
                weights.setdefault(size, (multiple, f"{name} {operands}"))
    found = [Misaligned(size, multiple, product, held[size]) for size, (multiple, product) in weights.items()]
    return tuple(sorted(found, key=lambda one: -one.fraction))


def _products(steps: Steps, share: Float64) -> list[tuple[int, str, bool, float]]:
    """(Signature, precision, whether in a forward pass, share) of products on tensor cores, each once.

    Args:
        steps: of the trace.
        share: of the averaged steps, of each row of costs.

    """
    costs, precisions = steps.ran.costs, steps.ran.precisions
    engine = steps.ops_named(lambda name: name.startswith(EVALUATE_FUNCTION))
    _, in_backward = steps.nesting.parent_among(costs.op, engine)
    signatures = steps.ops.signature[costs.op].tolist()
    totals: dict[tuple[int, str, bool], float] = {}
    for cost in np.flatnonzero(share).tolist():
        precision = precisions[cost]
        if precision in _MULTIPLE:
            key = signatures[cost], precision, not in_backward[cost]
            totals[key] = totals.get(key, 0.0) + float(share[cost])
    return [(*key, fraction) for key, fraction in totals.items()]


def _product(steps: Steps, signature: int) -> tuple[str, list[list[int]]]:
    """Name and shapes of an op; no shapes where they cannot be read."""
    raw = steps.timeline.signatures[signature]
    try:
        shapes = msgspec.json.decode(raw.dims) if raw.dims else []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        shapes = []
    plain = [shape if _is_shape(shape) else [] for shape in shapes] if isinstance(shapes, list) else []
    return steps.timeline.names[raw.name], plain


def _is_shape(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(size, int) for size in value)
