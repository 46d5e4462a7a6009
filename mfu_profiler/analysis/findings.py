"""What to fix first: causes whose share of the step is worth it, with evidence, advice and what it gives.

Thresholds are those of xprof (input-bound from 5 %, launch from 3 %) and torch-tb-profiler (communication
from 10 %) where they have one. Advice is given only where its own precondition is seen in the trace.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mfu_profiler.analysis.evidence import Evidence
from mfu_profiler.analysis.host_findings import dispatch_advice, host_bound
from mfu_profiler.analysis.replay.predictions import Predictions
from mfu_profiler.analysis.report import Finding, HostIdle, KernelRow, WaterfallRow
from mfu_profiler.kernel_names import short_kernel_name
from mfu_profiler.units import byte_text, count_text, percent_text, time_text

__all__ = ["FindingInputs", "findings"]

FLOP_KINDS = ("matmul", "attention", "convolution")

LEAST_RECOVERED_FRACTION = 0.03
"""Of the step: a fix that gives back less is not worth a reader's time."""
LONGEST_NAME = 44
NOTABLE_PAGEABLE_BYTE = 1e6
"""Smaller copies cost their latency, pinned or not."""
FUSABLE_KINDS = ("elementwise", "normalization", "softmax", "reduction", "memory")
NOTABLE_MORE_WAITING = 1.2
"""Unprofiled steps that wait for data so many times as long as profiled ones."""
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

    waterfall: tuple[WaterfallRow, ...]
    host_idle: tuple[HostIdle, ...]
    kernels: tuple[KernelRow, ...]
    """Longest first."""
    evidence: Evidence
    predictions: Predictions | None = None
    """None where the replay is not usable."""

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
    """Findings, the one worth most first. A healthy run gets none."""
    made = [make(inputs, share) for share, make in _candidates(inputs)]
    worth = {}
    for finding in filter(None, made):
        predicted = finding if inputs.predictions is None else inputs.predictions.of(finding)
        fraction = _worth(predicted)
        is_known = predicted.recovered_s is not None
        if fraction >= LEAST_RECOVERED_FRACTION if is_known else predicted.advice:
            worth[predicted] = fraction
    return tuple(sorted(worth, key=lambda finding: -worth[finding]))


def _worth(finding: Finding) -> float:
    """The smaller of what the fix gives back and what the partition gives its cause, of the step.

    A free host also hides a slow loader, but the loader is the cause.
    """
    if finding.recovered_s is None or finding.step_time_after_s is None:
        return finding.share_fraction
    step_s = finding.recovered_s + finding.step_time_after_s
    return min(finding.share_fraction, finding.recovered_s / step_s)


def _candidates(
    inputs: FindingInputs,
) -> Iterable[tuple[float, Callable[[FindingInputs, float], Finding | None]]]:
    for cause, least, make in (
        ("idle_data_loading", 0.05, _data_loading),
        ("idle_synchronization", 0.03, _synchronization),
        ("idle_host", 0.05, _host_bound),
        ("idle_launch", 0.03, _launch),
        ("communication", 0.10, _communication),
        ("copy", 0.03, _copy),
        ("recomputation", 0.05, _recomputation),
        ("other_kernels", 0.15, _other_kernels),
    ):
        share = inputs.share(cause)
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
    places = inputs.evidence.sampled_at("idle_data_loading")
    more_s = inputs.evidence.unprofiled_wait_s()
    if more_s is not None and more_s > NOTABLE_MORE_WAITING * count * each_s:
        places = (
            f"an unprofiled step waits {time_text(more_s)}: profiled ones found batches that were prepared"
            " while the profiler started",
            *places,
        )
    if inputs.evidence.marks_data_itself():
        waits = f"{count:.3g} run.data() a step, {time_text(each_s)} each"
        prepare = "prepare the next batch while the device computes, in a thread or process of its own"
        return Finding("data_loading", "the device waits for data", share, (waits, *places), (prepare,))
    evidence = f"{count:.3g} next() a step, {time_text(each_s)} each"
    if in_main:
        title = "the main process loads the data while the device waits"
        pinned = "" if inputs.evidence.is_cpu else " pin_memory=True,"  # nothing is copied to a CPU
        advice: tuple[str, ...] = (
            f"DataLoader(..., num_workers={inputs.evidence.workers()},{pinned} persistent_workers=True)",
        )
        evidence += ", in the main process (num_workers=0)"
    else:
        title = "the data loader's workers do not keep up"
        advice = (
            "more workers, or less work in each:  DataLoader(..., num_workers=..., prefetch_factor=4)",
            "move decoding or augmentation to the device, or prepare the data once",
        )
    return Finding("data_loading", title, share, (evidence, *places), advice)


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
    return host_bound(inputs.evidence, inputs.host_idle, share)


def _launch(inputs: FindingInputs, share: float) -> Finding:
    launches, _ = inputs.evidence.launches()
    return Finding(
        "launch",
        "each launch takes its time to reach an idle device",
        share,
        (f"{count_text(launches)} launches a step",),
        tuple(dispatch_advice(inputs.evidence)),
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
