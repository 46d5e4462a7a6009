"""Which findings there are and in which order.

Advice is given only where its own precondition is seen in the trace, and a finding only where its fix gives
back enough; where nobody can tell what it gives back, where there is advice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mfu_profiler.analysis.findings import device, host, waiting
from mfu_profiler.analysis.findings.inputs import FindingInputs
from mfu_profiler.analysis.findings.thresholds import LEAST_RECOVERED_FRACTION, LEAST_SHARE
from mfu_profiler.analysis.report import Finding

__all__ = ["findings"]

Make = Callable[[FindingInputs, float], Finding | None]
Share = Callable[[FindingInputs], float]


def findings(inputs: FindingInputs) -> tuple[Finding, ...]:
    """Findings, the one worth most first. A healthy run gets none."""
    worth: dict[Finding, float] = {}
    for code, (share_of, make) in _RULES.items():
        share = share_of(inputs)
        made = make(inputs, share) if share >= LEAST_SHARE[code] else None
        if made is None:
            continue
        predicted = made if inputs.predictions is None else inputs.predictions.of(made)
        fraction = _worth(predicted)
        predicted = _with_limit(inputs, predicted)
        if fraction >= LEAST_RECOVERED_FRACTION if _is_known(predicted) else predicted.advice:
            worth[predicted] = fraction
    ranked = sorted(worth, key=lambda finding: (not _is_known(finding), -worth[finding]))
    return tuple(one for place, one in enumerate(ranked) if not _repeats(inputs, one, ranked[:place]))


def _with_limit(inputs: FindingInputs, finding: Finding) -> Finding:
    """The finding, with what stands in the way of its fix."""
    predictions = inputs.predictions
    if predictions is None or inputs.evidence.is_cpu or predictions.host_limit_s(finding) is None:
        return finding
    said = "once that is fixed, the host's launches set the pace"
    return replace(finding, evidence=(*finding.evidence, said))


def _is_known(finding: Finding) -> bool:
    """Whether it can be told what the fix gives back; a bound from above is no reason to come first."""
    return finding.recovered_s is not None


def _repeats(inputs: FindingInputs, finding: Finding, before: list[Finding]) -> bool:
    """Whether a finding before has the same fix, as launch latency has that of a host that is late."""
    predictions = inputs.predictions
    cause = None if predictions is None else predictions.cause_of(finding)
    return cause is not None and any(predictions and predictions.cause_of(one) == cause for one in before)


def _worth(finding: Finding) -> float:
    """The smaller of what the fix gives back and what the partition gives its cause, of the step.

    A free host also hides a slow loader, but the loader is the cause.
    """
    if finding.recovered_s is None or finding.step_time_after_s is None:
        return finding.share_fraction
    step_s = finding.recovered_s + finding.step_time_after_s
    return min(finding.share_fraction, finding.recovered_s / step_s)


def _of_row(cause: str) -> Share:
    return lambda inputs: inputs.share(cause)


def _of_reason(reason: str) -> Share:
    return lambda inputs: inputs.idle_for(reason)


_RULES: dict[str, tuple[Share, Make]] = {
    "data_loading": (_of_row("idle_data_loading"), waiting.data_loading),
    "synchronization": (_of_row("idle_synchronization"), waiting.synchronization),
    "reading_back": (lambda inputs: inputs.held("reading_back"), waiting.reading_back),
    "communication": (_of_row("communication"), waiting.communication),
    "copy": (_of_row("copy"), waiting.copy),
    "host_bound": (_of_reason("dispatch"), host.host_bound),
    "launch": (_of_row("idle_launch"), host.launch),
    "garbage_collection": (_of_reason("garbage collection"), host.garbage_collection),
    "allocator": (_of_reason("allocator"), host.allocator),
    "compilation": (_of_reason("compilation"), host.compilation),
    "host_stall": (_of_reason("host stall"), host.host_stall),
    "outside_the_model": (_of_reason("no ops"), host.outside_the_model),
    "optimizer": (lambda inputs: inputs.held("optimizer"), host.optimizer),
    "attention": (lambda inputs: inputs.held("attention"), device.attention),
    "layout": (lambda inputs: inputs.held("layout"), device.layout),
    "recomputation": (lambda inputs: inputs.held("recomputation"), device.recomputation),
    "other_kernels": (device.kernels_share, device.other_kernels),
    "clocks": (_of_row("clocks"), device.clocks),
    "alignment": (device.alignment_share, device.alignment),
    "matmul": (device.matmul_share, device.matmul),
}
"""Code -> its share of the step, and what makes the finding of it."""
