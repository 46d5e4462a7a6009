"""Findings of waits: for data, for the device, for copies, for other ranks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mfu_profiler.analysis.findings.inputs import FindingInputs
from mfu_profiler.analysis.report import Finding
from mfu_profiler.units import byte_text, count_text, percent_text, time_text

__all__ = ["communication", "copy", "data_loading", "reading_back", "synchronization"]

NOTABLE_PAGEABLE_BYTE = 1e6
"""Smaller copies cost their latency, pinned or not."""
NOTABLE_MORE_WAITING = 1.2
"""Unprofiled steps that wait for data so many times as long as profiled ones."""
_PREFETCHING: Mapping[str, str] = MappingProxyType(
    {
        "FullyShardedDataParallel": "FSDP prefetches:  FSDP(..., forward_prefetch=True), larger units",
        "FSDP::": "fully_shard prefetches:  set_modules_to_forward_prefetch, larger units",
    }
)
"""Part of the annotations of each FSDP (torch/distributed/fsdp) -> what overlaps its collectives."""


def data_loading(inputs: FindingInputs, share: float) -> Finding:
    """The loader in the main process, workers that do not keep up, or the user's own ``run.data()``."""
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


def synchronization(inputs: FindingInputs, share: float) -> Finding:
    """The host waited for the device, which then ran dry."""
    worst = inputs.evidence.worst_syncs()
    text = " ".join(worst)
    advice = []
    if "DeviceSynchronize" in text:
        advice.append("remove torch.cuda.synchronize() from the loop; time with events instead")
    if inputs.evidence.reads_back():
        advice.append("read values back less often: .item(), .cpu() and printing wait for the device")
    if inputs.evidence.sizes_on_host():
        advice.append("avoid results whose size depends on values: nonzero, masked_select, x[mask], unique")
    if inputs.evidence.pageable_byte() >= NOTABLE_PAGEABLE_BYTE:
        advice.append('pinned copies do not block:  pin_memory=True, x.to("cuda", non_blocking=True)')
    return Finding(
        "synchronization", "the host waits for the device, which then runs dry", share, worst, tuple(advice)
    )


def reading_back(inputs: FindingInputs, share: float) -> Finding | None:
    """Values that the step computes only to look at them."""
    reads, places = inputs.evidence.reads_in(inputs.fixes.reliefs["reading_back"].host)
    if not reads:
        return None
    return Finding(
        "reading_back",
        "work that only looks at the training: values are computed and read on the host, one by one",
        share,
        (f"{count_text(reads)} .item(), bool() or equal() a step on values that no gradient needs", *places),
        (
            "leave it out, or do it every N steps",
            "else one value for all tensors:  torch.stack([...]).sum().item(), torch.nn.utils.get_total_norm",
        ),
    )


def copy(inputs: FindingInputs, share: float) -> Finding:
    """Copies that nothing runs beside."""
    pageable = inputs.evidence.pageable_byte()
    copies = inputs.evidence.copies()
    advice = []
    if not any("DtoD" in line for line in copies[:1]):  # the largest
        advice.append("copy while computing: on a stream of its own, one batch ahead")
    if pageable >= NOTABLE_PAGEABLE_BYTE:
        advice.insert(
            0,
            f"{byte_text(pageable)} a step come from pageable memory:  DataLoader(pin_memory=True) and"
            ' x.to("cuda", non_blocking=True)',
        )
    return Finding("copy", "copies run while nothing computes", share, copies, tuple(advice))


def communication(inputs: FindingInputs, share: float) -> Finding:
    """Collectives that nothing computes beside."""
    advice = ["compare the ranks' reports: a slow rank shows as communication on the others"]
    passes = inputs.evidence.passes_per_update("DistributedDataParallel")
    reduces = any("AllReduce" in row.name or "Generic" in row.name for row in inputs.kernels)
    if passes and reduces:
        advice.append("DDP overlaps buckets with backward: try another bucket_cap_mb")
    if passes > 1:
        advice.append(
            f"{passes:.3g} backward passes to one update:  with model.no_sync() in all but the last"
        )
    advice += [change for mark, change in _PREFETCHING.items() if inputs.evidence.names_any(mark)]
    exposed = sum(row.time_fraction for row in inputs.kernels if row.kind == "communication")
    hidden = f"{percent_text(share)} of the step runs alone, of {percent_text(exposed)} in collectives"
    return Finding(
        "communication",
        "collectives run while nothing computes",
        share,
        (
            *((hidden,) if exposed > share else ()),
            *inputs.longest_kernels("communication"),
            "a collective's time includes waiting for the slowest rank",
        ),
        tuple(advice),
    )
