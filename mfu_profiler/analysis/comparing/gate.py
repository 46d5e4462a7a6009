"""A gate on a comparison: no run's step may be longer than the first one's by more than a limit.

What may be noise passes. What cannot be judged does not, nor does a difference whose noise is unknown.
"""

from __future__ import annotations

from mfu_profiler.analysis.comparing.compare import run_label
from mfu_profiler.analysis.comparing.comparison import ComparedRun, Comparison, NotCompared, PairComparison
from mfu_profiler.analysis.gate import GateResult
from mfu_profiler.units import percent_beside, time_text

__all__ = ["regression_results"]

_ROUNDING = 1e-9
"""A step longer by the limit and this is longer by the limit."""


def regression_results(found: Comparison, limit: float) -> tuple[GateResult, ...]:
    """One for each rank and device of the first run in each other run.

    Args:
        found: the runs.
        limit: of (step time / first run's step time - 1).

    """
    with_place = len(found.pairs) + len(found.not_compared) >= len(found.names)
    results = [_result(pair, limit, with_place=with_place) for pair in found.pairs]
    return (*results, *(_missing(one) for one in found.not_compared if one.run == 0))


def _result(pair: PairComparison, limit: float, *, with_place: bool) -> GateResult:
    place = _place(pair.a) if with_place else ""
    name = ", ".join(filter(None, [f"step time of {run_label(pair.b.run)}", place]))
    ok, message = _verdict(pair, limit)
    change = pair.change_fraction
    is_doubtful = ok and change is not None and change > limit + _ROUNDING
    return GateResult(name, ok, f"{name}: {message}", is_doubtful)


def _missing(one: NotCompared) -> GateResult:
    name = f"step time of {run_label(one.other)}, {one.place}"
    return GateResult(name, ok=False, message=f"{name}: unknown, only A has {one.place}")


def _place(run: ComparedRun) -> str:
    rank = None if run.rank is None else f"rank {run.rank}"
    device = None if run.device_index is None else f"device {run.device_index}"
    return " ".join(filter(None, (rank, device))) or "without rank and device"


def _verdict(pair: PairComparison, limit: float) -> tuple[bool, str]:
    before_s, after_s = pair.a.step.reported_s, pair.b.step.reported_s
    most = f"the limit of {percent_beside(limit)}"
    if before_s is None or after_s is None:
        missing = "A" if before_s is None else run_label(pair.b.run)
        return False, f"cannot be held against {most}: {missing} has no step time"
    if pair.change_s == 0:
        return True, f"{time_text(after_s)}, no difference"
    change = pair.change_fraction
    if change is None:
        return False, f"cannot be held against {most}: A's step time is 0"
    side = "longer" if change > 0 else "shorter"
    measured = (
        f"{time_text(after_s)} is {percent_beside(abs(change), limit)} {side} than A's {time_text(before_s)}"
    )
    if change <= limit + _ROUNDING:
        return True, f"{measured}, {'within' if change > 0 else 'not over'} {most}"
    over = f"{measured}, over {most}"
    if pair.verdict == "within the noise":
        return True, f"{over}, but within the noise of the steps (± {time_text(pair.noise_s or 0.0)})"
    if pair.noise_s is None:
        return False, f"{over}; one step: no spread, so nobody can tell it from noise"
    return False, f"{over} and beyond the noise of the steps (± {time_text(pair.noise_s)})"
