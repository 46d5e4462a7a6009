"""Findings of what runs on the device: kernels that could be fewer, shorter, or of better shapes."""

from __future__ import annotations

from mfu_profiler.analysis.findings.advice import COMPILE_SINCE, since
from mfu_profiler.analysis.findings.alignment import misaligned
from mfu_profiler.analysis.findings.inputs import FindingInputs
from mfu_profiler.analysis.fixes.kernels import LAYOUT_KERNEL
from mfu_profiler.analysis.replay.relief import Cause
from mfu_profiler.analysis.report import Finding, KernelRow
from mfu_profiler.units import count_text, percent_text

__all__ = [
    "alignment",
    "alignment_share",
    "attention",
    "clocks",
    "kernels_share",
    "layout",
    "matmul",
    "matmul_share",
    "other_kernels",
    "recomputation",
]

FLOP_KINDS = ("matmul", "attention", "convolution")
FUSABLE_KINDS = ("elementwise", "normalization", "softmax", "reduction", "memory")
OTHERS: tuple[Cause, ...] = ("optimizer", "attention", "layout", "reading_back")
"""Causes that have findings of their own."""
SHORT_MATMUL_S = 50e-6
"""A matrix product this short hardly fills a large device: launch and tail weigh as much."""
POOR_MATMUL_FRACTION = 0.4
"""Distance to the achievable rate alone is no finding; less than this of peak is."""


def attention(inputs: FindingInputs, share: float) -> Finding:
    """Softmax between two batched products."""
    return Finding(
        "attention",
        "attention is spelled out: its matrix of scores goes through memory",
        share,
        (
            f"{count_text(inputs.fixes.softmaxes)} softmax a step between two batched products of its size;"
            f" what lies between them takes {percent_text(share)} of the step",
        ),
        tuple(
            since(
                inputs.evidence.timeline,
                "torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=...)",
                2,
                0,
            )
        ),
    )


def layout(inputs: FindingInputs, share: float) -> Finding:
    """Conversions between NCHW and NHWC."""
    return Finding(
        "layout",
        "kernels convert between memory formats around convolutions",
        share,
        inputs.kernels_where(_converts_layout),
        ("model.to(memory_format=torch.channels_last), and the inputs as well",),
    )


def _converts_layout(row: KernelRow) -> bool:
    return LAYOUT_KERNEL.search(row.name) is not None


def recomputation(inputs: FindingInputs, share: float) -> Finding:
    """Activation checkpointing."""
    return Finding(
        "recomputation",
        "activations are computed twice",
        share,
        (f"{percent_text(inputs.share('recomputation'))} of peak goes into FLOP that were executed before",),
        ("checkpoint fewer layers, if memory allows, or only the cheap ones (selective checkpointing)",),
    )


def kernels_share(inputs: FindingInputs) -> float:
    """Kernels without matrix products, without those that a finding of their own is about."""
    return inputs.share("other_kernels") - sum(map(inputs.computed, OTHERS))


def other_kernels(inputs: FindingInputs, share: float) -> Finding:
    """Elementwise kernels, normalizations and the like."""
    others = [row for row in inputs.kernels if row.kind not in ("communication", *FLOP_KINDS)]
    fusable = sum(row.time_s for row in others if row.kind in FUSABLE_KINDS)
    advice = []
    if fusable > sum(row.time_s for row in others) / 2 and not inputs.evidence.is_compiled():
        what = "torch.compile(model) fuses elementwise kernels and normalizations"
        advice += since(inputs.evidence.timeline, what, *COMPILE_SINCE)
    return Finding(
        "other_kernels",
        "kernels without matrix products",
        share,
        inputs.longest_kernels("communication", *FLOP_KINDS, others=True),
        tuple(advice),
    )


def clocks(inputs: FindingInputs, share: float) -> Finding | None:
    """The device's clock is held down."""
    clock = inputs.clock
    if clock is None or clock.because is None or clock.clock_hz is None:
        return None
    watts = f" at {clock.power_w:,.0f} W" if clock.power_w is not None else ""
    is_power = "power" in clock.because
    change = "see nvidia-smi -q -d POWER; a limit below the default is raised with nvidia-smi -pl WATTS"
    cool = "see nvidia-smi -q -d TEMPERATURE,PERFORMANCE; check cooling and what else runs in the chassis"
    return Finding(
        "clocks",
        f"the device's clock is held down: {clock.because}",
        share,
        (f"{clock.clock_hz / 1e6:,.0f} MHz on average{watts}",),
        (change if is_power else cool,),
    )


def alignment_share(inputs: FindingInputs) -> float:
    """The largest of them: one product may have several such dimensions."""
    return max((one.fraction for one in misaligned(inputs.fixes.steps)), default=0.0) * inputs.stretch


def alignment(inputs: FindingInputs, share: float) -> Finding | None:
    """Products whose dimensions do not fit the device's tiles."""
    places = misaligned(inputs.fixes.steps)[:3]
    return Finding(
        "alignment",
        "dimensions of matrix products are not divisible by what tensor cores read at once",
        share,
        tuple(place.text for place in places),
        tuple(place.advice for place in places),
    )


def matmul_share(inputs: FindingInputs) -> float:
    """What products lose, where they run far below peak; else 0."""
    lost = inputs.share("matmul_inefficiency")
    useful = inputs.share("mfu") + inputs.share("recomputation") + inputs.share("optimizer_matmul")
    return lost if useful and lost > 0 and useful / (useful + lost) < POOR_MATMUL_FRACTION else 0.0


def matmul(inputs: FindingInputs, share: float) -> Finding | None:
    """Slow matrix products, if the trace shows a reason: distance to the peak alone is no finding."""
    rows = [row for row in inputs.kernels if row.kind in FLOP_KINDS and not _converts_layout(row)]
    short_s = sum(row.time_s for row in rows if row.time_s < row.count * SHORT_MATMUL_S)
    if short_s <= sum(row.time_s for row in rows) / 2:
        return None
    return Finding(
        "matmul",
        "matrix products run far below peak",
        share,
        inputs.kernels_where(rows.__contains__),
        ("most are short: a larger batch or wider layers fill the device",),
    )
