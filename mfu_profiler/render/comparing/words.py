"""Two step times in words: what changed, by which cause, and whether it is more than noise."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mfu_profiler.analysis.comparing.comparison import REST, CauseChange, ComparedRun, PairComparison, Verdict
from mfu_profiler.analysis.verifying.verification import RunInfo
from mfu_profiler.render.causes import cause_words
from mfu_profiler.render.names import shown_text
from mfu_profiler.render.page import Fact
from mfu_profiler.units import count_text, mfu_percent_text, percent_text, points_text, time_text

__all__ = [
    "cause_label",
    "change_text",
    "headline_sentence",
    "mfu_facts",
    "place_text",
    "signed_percent",
    "signed_time",
    "step_fact",
    "work_fact",
]

_LABELS: Mapping[str, str] = MappingProxyType({"mfu": "useful work at peak", REST: "without a cause"})
_VERDICTS: Mapping[Verdict, str] = MappingProxyType(
    {
        "no difference": "no difference",
        "within the noise": "within the noise of the steps",
        "faster": "faster",
        "slower": "slower",
        "no spread": "one step: no spread, so nobody can tell it from noise",
        "unknown": "unknown",
    }
)
_UNKNOWN = "unknown"
_MOST_NAMED = 3
_NAMED_FRACTION = 0.25
"""Of the largest change: causes that changed by less are in the table alone."""
_LABEL_WIDTH = 40


def cause_label(cause: str) -> str:
    """What a row of the waterfall is called here."""
    return _LABELS.get(cause) or shown_text(cause_words(cause)[0], _LABEL_WIDTH)


def place_text(run: ComparedRun | RunInfo) -> str:
    """``rank 0 · device 1 · NVIDIA H100``."""
    parts = [
        f"rank {count_text(run.rank)}" if run.rank is not None else "",
        f"device {count_text(run.device_index)}" if run.device_index is not None else "",
        shown_text(run.device, 80) if run.device else "unnamed device",
    ]
    return " · ".join(filter(None, parts))


def signed_time(seconds: float) -> str:
    """``+1.20 ms``."""
    return f"{'+' if seconds > 0 else ''}{time_text(seconds)}"


def signed_percent(fraction: float) -> str:
    """``+5.0 %``."""
    return f"{'+' if fraction > 0 else ''}{percent_text(fraction)}"


def headline_sentence(pair: PairComparison) -> str:
    """``176 ms → 136 ms, 40.3 ms (22.9 %) faster: data loading 56.7 ms → 693 µs; against it ...``."""
    before_s, after_s = pair.a.step.reported_s, pair.b.step.reported_s
    if pair.is_equal:
        return f"no difference: step {_time(before_s)} in both"
    if before_s is None or after_s is None or pair.change_s is None:
        return f"unknown: {'A' if before_s is None else 'B'} has no step time"
    times = f"{time_text(before_s)} → {time_text(after_s)}"
    share = "" if pair.change_fraction is None else f" ({percent_text(abs(pair.change_fraction))})"
    amount = f"{time_text(abs(pair.change_s))}{share}"
    how = {
        "no difference": "no difference in step time",
        "within the noise": f"{signed_time(pair.change_s)} is within the noise of the steps",
        "no spread": f"{amount} {'more' if pair.change_s > 0 else 'less'}, noise unknown",
    }.get(pair.verdict, f"{amount} {_VERDICTS[pair.verdict]}")
    causes = _named_causes(pair)
    return f"{times}, {how}{': ' if causes else ''}{causes}"


def _named_causes(pair: PairComparison) -> str:
    """The causes that made the change, the largest first, then the largest one against it.

    Where the step time is the same, or the change is noise, the largest change of any cause.
    """
    moved = [row for row in pair.causes if row.change_s and row.cause != "profiler"]
    if not moved or pair.change_s is None:
        return ""
    if pair.verdict in ("within the noise", "no difference"):
        return f"the largest change is in {_cause_text(moved[0])}"
    along = [row for row in moved if (row.change_s > 0) == (pair.change_s > 0)]
    against = [row for row in moved if (row.change_s > 0) != (pair.change_s > 0)]
    least_s = _NAMED_FRACTION * abs(along[0].change_s) if along else 0.0
    said = [_cause_text(row) for row in along[:_MOST_NAMED] if abs(row.change_s) >= least_s]
    if against and abs(against[0].change_s) >= least_s:
        said.append(f"against it {_cause_text(against[0])}")
    return "; ".join(said)


def _cause_text(row: CauseChange) -> str:
    return f"{cause_label(row.cause)} {time_text(row.time_a_s)} → {time_text(row.time_b_s)}"


def change_text(pair: PairComparison) -> str:
    """``-22.9 %``, with a mark where it is noise or nobody can tell."""
    if pair.is_equal or pair.verdict == "no difference":
        return "no difference"
    if pair.change_s is None:
        return _UNKNOWN
    change = (
        signed_time(pair.change_s) if pair.change_fraction is None else signed_percent(pair.change_fraction)
    )
    mark = {"within the noise": " noise", "no spread": " ?"}.get(pair.verdict, "")
    return f"{change}{mark}"


def step_fact(pair: PairComparison) -> Fact:
    """Both step times, their difference, and whether the steps' spread explains it."""
    before_s, after_s = pair.a.step.reported_s, pair.b.step.reported_s
    times = f"{_time(before_s)} → {_time(after_s)}"
    lines = [f"A: {_basis(pair.a)}; B: {_basis(pair.b)}"]
    if pair.change_s is None:
        return Fact("step", (times, *lines), alarm=True)
    verdict = _VERDICTS[pair.verdict]
    if pair.change_s == 0:
        return Fact("step", (times, verdict, *lines))
    share = "" if pair.change_fraction is None else f" ({signed_percent(pair.change_fraction)})"
    noise = "" if pair.noise_s is None else f" (± {time_text(pair.noise_s)})"
    return Fact("step", (times, f"{signed_time(pair.change_s)}{share}, {verdict}{noise}", *lines))


def _basis(run: ComparedRun) -> str:
    """``5 steps ± 2.4 %``."""
    spread = run.step.spread_fraction
    if run.step.count == 1:
        return "one step"
    about = "" if spread is None else f" ± {percent_text(spread)}"
    return f"{count_text(run.step.count)} steps{about}"


def work_fact(pair: PairComparison) -> Fact | None:
    """Step times for the same work, where a step of B does other work; None where it does the same."""
    ratio, before_s, after_s = pair.work_ratio, pair.a.step.reported_s, pair.b.step.reported_s
    if ratio is None or ratio == 1 or not before_s or after_s is None:
        return None
    per_work_s = after_s / ratio
    change = signed_percent(per_work_s / before_s - 1)
    lines = (
        f"B's step does {ratio:.3g} times the FLOP of A's",
        f"for A's FLOP: {time_text(before_s)} → {time_text(per_work_s)} ({change})",
    )
    return Fact("work", lines)


def mfu_facts(pair: PairComparison) -> tuple[Fact, ...]:
    """MFU and HFU, in points."""
    shares = (("MFU", pair.a.mfu, pair.b.mfu), ("HFU", pair.a.hfu, pair.b.hfu))
    facts = []
    for label, before, after in shares:
        change = ""
        if before is not None and after is not None:
            change = ", no difference" if before == after else f", {points_text(after - before)}"
        facts.append(Fact(label, (f"{_percent(before)} → {_percent(after)}{change}",)))
    return tuple(facts)


def _percent(fraction: float | None) -> str:
    return _UNKNOWN if fraction is None else mfu_percent_text(fraction)


def _time(seconds: float | None) -> str:
    return _UNKNOWN if seconds is None else time_text(seconds)
