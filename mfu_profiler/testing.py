"""Assertions on a report, for a test suite that holds a training to its speed.

::

    def test_training_uses_the_gpu():
        with mfu_profiler.track(model) as run:
            train(steps=40)
        assert_mfu(run.report, at_least=0.35, loss_at_most={"data-loading": 0.05})
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mfu_profiler.analysis.gate import CAUSES, Limits, gate_results, loss_fraction
from mfu_profiler.analysis.report import Report
from mfu_profiler.render.names import shown_text
from mfu_profiler.units import mfu_percent_text, percent_text, time_text

__all__ = ["assert_mfu"]

_MOST_LOSSES = 3
_LEAST_LOSS = 0.001
_SUMS = frozenset(cause for cause, codes in CAUSES.items() if len(codes) > 1)


def assert_mfu(
    report: Report | None,
    *,
    at_least: float | None = None,
    step_time_at_most_s: float | None = None,
    loss_at_most: Mapping[str, float] | None = None,
) -> None:
    """Holds one report against limits; what is unknown keeps none.

    Args:
        report: of ``analyze``, or ``run.report``. None, a live run without a report, fails.
        at_least: MFU as a fraction, 0.35 for 35 %.
        step_time_at_most_s: in seconds.
        loss_at_most: cause, as ``report --fail-on`` names it, -> fraction of the step.

    Raises:
        AssertionError: a limit is not kept; says which, what was measured, and what was lost first.
        TypeError: no limit is given.
        OptionError: a limit makes no sense, or there is no such cause.

    """
    __tracebackhide__ = True
    limits = Limits(at_least, step_time_at_most_s, loss_at_most or {})
    if not limits:
        raise TypeError(
            "assert_mfu needs a limit: at_least=0.35, step_time_at_most_s=0.12 or loss_at_most={...}"
        )
    if report is None:
        raise AssertionError(
            "there is no report to hold against the limits: the run has not come to it, "
            "or none could be made; the log says why"
        )
    failures = [shown_text(result.message) for result in gate_results([report], limits) if not result.ok]
    if failures:
        raise AssertionError("\n  ".join(["; ".join(failures), *_context(report)]))


def _context(report: Report) -> Iterator[str]:
    """What was measured, and the largest losses."""
    mfu = "unknown" if report.mfu is None else mfu_percent_text(report.mfu)
    step = "of unknown length" if report.step_time_s is None else time_text(report.step_time_s)
    device = report.device.name or report.device.backend or "a device without a name"
    yield f"measured: MFU {mfu}, step {step}, on {shown_text(device)}"
    losses = {cause: loss_fraction(report, cause) for cause in CAUSES if cause not in _SUMS}
    known = sorted(
        ((loss, cause) for cause, loss in losses.items() if isinstance(loss, float) and loss >= _LEAST_LOSS),
        reverse=True,
    )
    largest = [f"{cause} {percent_text(loss)}" for loss, cause in known[:_MOST_LOSSES]]
    if largest:
        yield f"lost first: {', '.join(largest)}"
    elif report.partition_unknown_because:
        yield f"lost first: unknown, {shown_text(report.partition_unknown_because)}"
