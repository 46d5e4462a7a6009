"""What to fix first: causes whose share of the step is worth it, largest first, with evidence and advice.

Thresholds are those of xprof (input-bound from 5 %, launch from 3 %) and torch-tb-profiler (communication
from 10 %) where they have one. Advice is given only where its own precondition is seen in the trace.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mfu_profiler.analysis.evidence import Evidence
from mfu_profiler.analysis.report import Finding, HostIdle, KernelRow, Partition, WaterfallRow
from mfu_profiler.kernel_names import short_kernel_name
from mfu_profiler.units import byte_text, count_text, percent_text, time_text

__all__ = ["FindingInputs", "findings"]

FLOP_KINDS = ("matmul", "attention", "convolution")

SHORT_KERNEL_S = 20e-6
"""Kernels about as short as their launches take: the host can hardly keep ahead."""
NOTABLE_REASON = 0.02
"""Smaller shares of the step get no advice of their own."""
MANY_OPTIMIZER_LAUNCHES = 100
"""More launches than any fused or foreach optimizer needs."""
FUSED_OPTIMIZERS = frozenset({"Adam", "AdamW", "SGD", "Adagrad"})
"""``fused=True`` since torch 2.0 (Adam, AdamW), 2.3 (SGD) and 2.4 (Adagrad)."""
FOREACH_OPTIMIZERS = frozenset(
    {"ASGD", "Adadelta", "Adafactor", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop"}
)
"""``foreach=True`` (torch.optim, "Algorithms")."""
LONGEST_NAME = 44
NOTABLE_PAGEABLE_BYTE = 1e6
"""Smaller copies cost their latency, pinned or not."""
FUSABLE_KINDS = ("elementwise", "normalization", "softmax", "reduction", "memory")
LAYOUT_KERNEL = re.compile(r"nchwToNhwc|nhwcToNchw|batched_transpose|SubTensorOp", re.IGNORECASE)
"""Helpers of cuDNN and MIOpen that convert between NCHW and NHWC."""
NOTABLE_LAYOUT = 0.10
SHORT_MATMUL_S = 50e-6
"""A matrix product this short hardly fills a large device: launch and tail weigh as much."""
POOR_MATMUL_FRACTION = 0.4
"""Distance to the achievable rate alone is no finding; less than this of peak is."""


@dataclass(frozen=True, slots=True)
class FindingInputs:
    """What findings are made of."""

    partition: Partition
    waterfall: tuple[WaterfallRow, ...]
    host_idle: tuple[HostIdle, ...]
    kernels: tuple[KernelRow, ...]
    """Longest first."""
    evidence: Evidence

    def longest_kernels(self, *kinds: str, others: bool = False) -> tuple[str, ...]:
        """Up to three kernels of some kinds (or of all others), with counts and times."""
        sums: dict[str, tuple[float, float, float]] = {}
        for row in self.kernels:
            if (row.kind in kinds) is not others:
                name = short_kernel_name(row.name)
                count, time_s, fraction = sums.get(name, (0.0, 0.0, 0.0))
                sums[name] = (count + row.count, time_s + row.time_s, fraction + row.time_fraction)
        longest = sorted(sums.items(), key=lambda item: -item[1][1])[:3]
        return tuple(
            f"{count_text(count)} {_cut(name)} a step, {time_text(time_s)} ({percent_text(fraction)})"
            for name, (count, time_s, fraction) in longest
        )

    def share(self, cause: str) -> float:
        """A row of the waterfall; 0 where it is absent."""
        return sum(row.fraction for row in self.waterfall if row.cause == cause)


def findings(inputs: FindingInputs) -> tuple[Finding, ...]:
    """Findings, largest share first. A healthy run gets none."""
    made = [make(inputs, share) for share, make in _candidates(inputs)]
    rows = [finding for finding in made if finding is not None]
    return tuple(sorted(rows, key=lambda finding: -finding.share_fraction))


def _candidates(
    inputs: FindingInputs,
) -> Iterable[tuple[float, Callable[[FindingInputs, float], Finding | None]]]:
    part = inputs.partition
    for share, least, make in (
        (part.idle_data_loading, 0.05, _data_loading),
        (part.idle_synchronization, 0.03, _synchronization),
        (part.idle_host, 0.05, _host_bound),
        (part.idle_launch, 0.03, _launch),
        (part.communication, 0.10, _communication),
        (part.copy, 0.03, _copy),
        (inputs.share("recomputation"), 0.05, _recomputation),
        (inputs.share("other_kernels"), 0.15, _other_kernels),
    ):
        if share >= least:
            yield share, make
    busy = inputs.share("matmul_inefficiency")
    useful = inputs.share("mfu") + inputs.share("recomputation") + inputs.share("optimizer_matmul")
    if busy >= 0.10 and useful and useful / (useful + busy) < POOR_MATMUL_FRACTION:
        yield busy, _matmul


def _cut(name: str) -> str:
    """A kernel's name in a sentence: both ends tell."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 13]}…{name[-12:]}"


def _data_loading(inputs: FindingInputs, share: float) -> Finding:
    count, each_s, in_main = inputs.evidence.loader()
    evidence = f"{count:.3g} next() a step, {time_text(each_s)} each"
    if in_main:
        title = "the main process loads the data while the device waits"
        advice: tuple[str, ...] = (
            "DataLoader(..., num_workers=4, pin_memory=True, persistent_workers=True)",
        )
        evidence += ", in the main process (num_workers=0)"
    else:
        title = "the data loader's workers do not keep up"
        advice = (
            "more workers, or less work in each:  DataLoader(..., num_workers=2x, prefetch_factor=4)",
            "move decoding or augmentation to the device, or prepare the data once",
        )
    return Finding("data_loading", title, share, (evidence,), advice)


def _synchronization(inputs: FindingInputs, share: float) -> Finding:
    worst = inputs.evidence.worst_syncs()
    text = " ".join(worst)
    advice = []
    if "DeviceSynchronize" in text:
        advice.append("remove torch.cuda.synchronize() from the loop; time with events instead")
    if inputs.evidence.reads_back():
        advice.append("read values back less often: .item(), .cpu() and printing wait for the device")
    if inputs.evidence.pageable_byte() >= NOTABLE_PAGEABLE_BYTE:
        advice.append('pinned copies do not block:  pin_memory=True, x.to("cuda", non_blocking=True)')
    return Finding(
        "synchronization", "the host waits for the device, which then runs dry", share, worst, tuple(advice)
    )


def _host_bound(inputs: FindingInputs, share: float) -> Finding:
    evidence = inputs.evidence
    launches, between_s = evidence.launches()
    texts = [f"{count_text(launches)} launches a step, {time_text(between_s)} apart (median)"]
    texts += [
        f"{row.phase}: {row.reason}, {percent_text(row.fraction)} of the step" for row in inputs.host_idle[:2]
    ]
    by_reason: dict[str, float] = {}
    for row in inputs.host_idle:
        by_reason[row.reason] = by_reason.get(row.reason, 0.0) + row.fraction
    advice = [text for reason, text in _HOST_ADVICE.items() if by_reason.get(reason, 0.0) >= NOTABLE_REASON]
    dispatch = by_reason.get("dispatch", 0.0)
    if dispatch >= 0.03 and evidence.median_kernel_s() < SHORT_KERNEL_S:
        texts.append(f"half of the kernels take under {time_text(max(evidence.median_kernel_s(), 1e-6))}")
        advice += _dispatch_advice(evidence)
    in_optimizer = sum(row.fraction for row in inputs.host_idle if row.phase == "optimizer")
    if in_optimizer >= NOTABLE_REASON and evidence.optimizer_launches() > MANY_OPTIMIZER_LAUNCHES:
        advice += _optimizer_advice(evidence)
    return Finding("host_bound", "the device waits for launches", share, tuple(texts), tuple(advice))


_HOST_ADVICE = {
    "allocator": "stop cudaMalloc/cudaFree:  PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
    "compilation": "torch.compile is still compiling: profile later steps, or mark dynamic shapes",
    "garbage collection": "gc.disable() in the loop and gc.collect() every N steps",
    "host stall": "the host process was held up: check cores, CPU affinity and other processes",
    "no ops": "look at what the loop does between steps: no op and no data loader runs there",
}


def _dispatch_advice(evidence: Evidence) -> list[str]:
    if evidence.uses_graphs():
        return ["capture more of the step in graphs, or use a larger batch"]
    if evidence.is_compiled():
        return ['torch.compile(model, mode="reduce-overhead") captures graphs; a larger batch helps too']
    return ["torch.compile(model), CUDA graphs, or a larger batch: fewer and longer kernels"]


def _optimizer_advice(evidence: Evidence) -> list[str]:
    """Torch's own optimizers take ``fused`` or ``foreach``; of others nothing is known but the count."""
    name = evidence.optimizer_name()
    option = "fused" if name in FUSED_OPTIMIZERS else "foreach" if name in FOREACH_OPTIMIZERS else None
    change = (
        f"{name}(..., {option}=True)"
        if option
        else "update all parameters at once (torch._foreach_*, torch.compile)"
    )
    return [f"{count_text(evidence.optimizer_launches())} launches in the optimizer:  {change}"]


def _launch(inputs: FindingInputs, share: float) -> Finding:
    launches, _ = inputs.evidence.launches()
    return Finding(
        "launch",
        "each launch takes its time to reach an idle device",
        share,
        (f"{count_text(launches)} launches a step",),
        tuple(_dispatch_advice(inputs.evidence)),
    )


def _communication(inputs: FindingInputs, share: float) -> Finding:
    advice = ["compare the ranks' reports: a slow rank shows as communication on the others"]
    if inputs.evidence.names_any("DistributedDataParallel"):
        advice.append("DDP overlaps buckets with backward: other bucket_cap_mb; no_sync() when accumulating")
    if inputs.evidence.names_any("FSDP"):
        advice.append("FSDP overlaps by prefetching: forward_prefetch, backward_prefetch, larger units")
    return Finding(
        "communication",
        "collectives run while nothing computes",
        share,
        (
            *inputs.longest_kernels("communication"),
            "a collective's time includes waiting for the slowest rank",
        ),
        tuple(advice),
    )


def _copy(inputs: FindingInputs, share: float) -> Finding:
    pageable = inputs.evidence.pageable_byte()
    advice = ["copy while computing: on a stream of its own, one batch ahead"]
    if pageable >= NOTABLE_PAGEABLE_BYTE:
        advice.insert(
            0,
            f"{byte_text(pageable)} a step come from pageable memory:  DataLoader(pin_memory=True) and"
            ' x.to("cuda", non_blocking=True)',
        )
    return Finding(
        "copy", "copies run while nothing computes", share, inputs.evidence.copies(), tuple(advice)
    )


def _recomputation(inputs: FindingInputs, share: float) -> Finding:
    return Finding(
        "recomputation",
        "activations are computed twice",
        share,
        (f"{percent_text(share)} of peak goes into FLOP that were executed before",),
        ("checkpoint fewer layers, if memory allows, or only the cheap ones (selective checkpointing)",),
    )


def _other_kernels(inputs: FindingInputs, share: float) -> Finding:
    others = [row for row in inputs.kernels if row.kind not in ("communication", *FLOP_KINDS)]
    fusable = sum(row.time_s for row in others if row.kind in FUSABLE_KINDS)
    advice = []
    if fusable > sum(row.time_s for row in others) / 2 and not inputs.evidence.is_compiled():
        advice.append("torch.compile(model) fuses elementwise kernels and normalizations")
    return Finding(
        "other_kernels",
        "kernels without matrix products",
        share,
        inputs.longest_kernels("communication", *FLOP_KINDS, others=True),
        tuple(advice),
    )


def _matmul(inputs: FindingInputs, share: float) -> Finding | None:
    """Slow matrix products, if the trace shows a reason: distance to the peak alone is no finding."""
    rows = [row for row in inputs.kernels if row.kind in FLOP_KINDS]
    time_s = sum(row.time_s for row in rows)
    layout_s = sum(row.time_s for row in rows if LAYOUT_KERNEL.search(row.name))
    short_s = sum(row.time_s for row in rows if row.time_s < row.count * SHORT_MATMUL_S)
    advice = []
    if layout_s > NOTABLE_LAYOUT * time_s:
        advice.append(
            f"{percent_text(layout_s / time_s, 0)} of it changes layouts:  "
            "model.to(memory_format=torch.channels_last), inputs as well"
        )
    if short_s > time_s / 2:
        advice.append("most are short: a larger batch or wider layers fill the device")
    if not advice:
        return None
    return Finding(
        "matmul",
        "matrix products run far below peak",
        share,
        inputs.longest_kernels(*FLOP_KINDS),
        tuple(advice),
    )
