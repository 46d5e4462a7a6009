"""What ``verify`` found, for a terminal and as JSON: prediction, outcome, error, and what each rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mfu_profiler.analysis.verifying.verification import SCHEMA_VERSION, FindingChange, RunInfo, Verification
from mfu_profiler.render.causes import cause_words
from mfu_profiler.render.comparing.words import place_text, signed_percent
from mfu_profiler.render.console import LEAST_WIDTH, new_console, written_text
from mfu_profiler.render.console_parts import GAP, facts_table, print_heading
from mfu_profiler.render.names import fitted, shown_text
from mfu_profiler.render.page import Fact
from mfu_profiler.render.plain_json import plain_json
from mfu_profiler.units import flop_text, mfu_percent_text, percent_text, time_text

__all__ = ["render_verification", "render_verification_json"]

_NUMBER_WIDTH = 1
_UNKNOWN = "unknown"
_FATES: Mapping[str, str] = MappingProxyType({"new": "new in AFTER", "unknown": "AFTER does not tell"})
"""Where the word alone says too little."""


def render_verification_json(verifications: Sequence[Verification]) -> str:
    """The fields; unknown is ``null``. Several are a list, ``verifications``."""
    if len(verifications) == 1:
        return plain_json(verifications[0])
    return plain_json({"schema_version": SCHEMA_VERSION, "verifications": verifications})


def render_verification(verifications: Sequence[Verification], *, color: bool, width: int = 80) -> str:
    """The comparisons as text of at most ``max(width, 60)`` columns.

    Args:
        verifications: in the order in which they are shown; several get a heading each.
        color: whether to write ANSI colour codes.
        width: columns of the terminal.

    """
    console = new_console(color=color, width=max(width, LEAST_WIDTH))
    for one in verifications:
        if len(verifications) > 1:
            print_heading(console, fitted(f"── {place_text(one.before)} ──", console.width))
        _print(console, one)
    return written_text(console)


def _print(console: Console, one: Verification) -> None:
    console.print(facts_table(_headline(one), bold_labels=True))
    if one.findings:
        print_heading(console, "Findings", "what each holds of a step, before → after")
        _print_findings(console, one)
    print_heading(console, "What was compared")
    console.print(facts_table(tuple(_compared(one)), bold_labels=False))


def _print_findings(console: Console, one: Verification) -> None:
    """Title and times of a finding on one line, what became of it below."""
    for number, change in enumerate(one.findings, start=1):
        table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False, expand=True)
        for width in (0, _NUMBER_WIDTH):
            table.add_column(width=width, justify="right", no_wrap=True)
        table.add_column(overflow="fold", ratio=1)
        table.add_column(justify="right", no_wrap=True)
        style = "bold" if change.code in one.fixed else ""
        times = f"{_time(change.time_before_s)} → {_after(change, _time(change.time_after_s))}"
        table.add_row("", str(number), Text(shown_text(change.title), style=style), Text(times, style=style))
        console.print(table)
        about = Text(_about(one, change), style="dim", overflow="fold")
        console.print(Padding(about, (0, 0, 0, 2 * GAP + _NUMBER_WIDTH)))


def _about(one: Verification, change: FindingChange) -> str:
    """``data loading: fixed, 32.3 % → 0.5 % of the step; predicted 119 ms``."""
    fate: str = change.fate
    if change.code in one.fixed:
        fate = "fixed" if fate == "gone" else "fixed in part"
    shares = f"{_percent(change.share_before)} → {_percent(change.share_after)} of the step"
    if change.share_after is None:
        shares = f"{_percent(change.share_before)} of the step → {_after(change, _UNKNOWN)}"
    text = f"{_words(change.code)}: {_FATES.get(fate, fate)}, {shares}"
    if change.fate == "new":
        return text
    predicted = change.predicted_step_time_s
    return f"{text}; {'no prediction' if predicted is None else f'predicted {time_text(predicted)}'}"


def _after(change: FindingChange, text: str) -> str:
    """What a cause holds in AFTER, or that it is no finding there, which may be all that is known."""
    return "no finding" if change.fate == "gone" and change.time_after_s is None else text


def _words(code: str) -> str:
    return shown_text(code.replace("_", " "), 40)


def _headline(one: Verification) -> tuple[Fact, ...]:
    return (
        Fact("fixed", tuple(_fixed(one))),
        Fact("before", (_step(one.before),)),
        Fact("predicted", tuple(_predicted(one))),
        Fact("achieved", (_step(one.after),)),
        _error(one),
        Fact("MFU", (_mfu(one),)),
    )


def _fixed(one: Verification) -> Iterator[str]:
    """The titles of what was fixed, or why there are none."""
    for code in one.fixed:
        yield next(shown_text(change.title) for change in one.findings if change.code == code)
    if not one.fixed:
        is_any = any(change.fate != "new" for change in one.findings)
        yield (
            "nothing: no finding of BEFORE holds notably less time in AFTER"
            if is_any
            else "nothing: BEFORE has no finding"
        )


def _step(run: RunInfo) -> str:
    """``step 128 ms, median of 4 steps (124 ms to 161 ms, mean 136 ms)``."""
    step = run.step
    if step.typical_s is None:
        return "step time unknown"
    about = []
    if step.fastest_s is not None and step.slowest_s is not None and step.count > 1:
        about.append(f"{time_text(step.fastest_s)} to {time_text(step.slowest_s)}")
    if step.reported_s is not None and time_text(step.reported_s) != time_text(step.typical_s):
        about.append(f"mean {time_text(step.reported_s)}")
    text = f"step {time_text(step.typical_s)}, {shown_text(step.basis, 60)}"
    return f"{text} ({', '.join(about)})" if about else text


def _predicted(one: Verification) -> Iterator[str]:
    if one.predicted_step_time_s is None:
        yield "no step time for this fix" if one.fixed else "nothing that was put to the test"
        return
    start_s = one.before.step.reported_s
    if start_s is not None and one.before.step.typical_s is not None:
        start_s = None if time_text(start_s) == time_text(one.before.step.typical_s) else start_s
    of = "this cause" if len(one.predicted_for) == 1 else "these causes"
    if len(one.predicted_for) < len(one.fixed):
        of = f"{', '.join(map(_words, one.predicted_for))} alone"
    start = "" if start_s is None else f", from a mean of {time_text(start_s)}"
    is_estimate = any(
        change.confidence == "medium" for change in one.findings if change.code in one.predicted_for
    )
    best = "at best, an estimate" if is_estimate else "at best"
    yield f"step {time_text(one.predicted_step_time_s)} {best}, without {of}{start}"
    if one.work_ratio not in (None, 1.0) and one.error_fraction is not None:
        ratio = one.work_ratio or 1.0
        expected = time_text(one.predicted_step_time_s * ratio)
        yield f"AFTER's step has {ratio:.3g} times the FLOP: {expected} for it"


def _error(one: Verification) -> Fact:
    if one.error_fraction is None:
        because = shown_text(one.error_unknown_because or "the report does not say why")
        return Fact("error", (f"unknown: {because}",), alarm=bool(one.fixed))
    sign = one.error_fraction
    side = "too short" if sign < 0 else "too long" if sign > 0 else "exact"
    lines = [f"{signed_percent(sign)}: the prediction was {side} (predicted / achieved - 1)"]
    other = one.error_of_reported_fraction
    if other is not None and signed_percent(other) != signed_percent(sign):
        lines.append(f"{signed_percent(other)} against the mean step")
    return Fact("error", tuple(lines))


def _mfu(one: Verification) -> str:
    """``28.2 % before, 41.7 % predicted, 36.6 % achieved (of its mean step)``."""
    predicted = "" if one.predicted_mfu is None else f", {mfu_percent_text(one.predicted_mfu)} predicted"
    text = f"{_mfu_percent(one.before.mfu)} before{predicted}, {_mfu_percent(one.after.mfu)} achieved"
    step = one.after.step
    is_other = one.after.mfu is not None and step.reported_s is not None and step.typical_s is not None
    if is_other and time_text(step.reported_s or 0.0) != time_text(step.typical_s or 0.0):
        text += " (of its mean step)"
    return text


def _compared(one: Verification) -> Iterator[Fact]:
    for label, run in (("BEFORE", one.before), ("AFTER", one.after)):
        flop = run.model_flop_per_step
        yield Fact(
            label,
            (
                shown_text(run.path, 200),
                f"{place_text(run)}; {'FLOP unknown' if flop is None else f'{flop_text(flop)} a step'}",
            ),
        )
    grown = [f"{shown_text(cause_words(row.cause)[0], 40)} +{time_text(row.more_s)}" for row in one.grown]
    foreseen = (
        [f"longer than before, as no prediction of a fix foresees: {', '.join(grown)}"] if grown else []
    )
    lines = (*foreseen, *one.notes)
    if lines:
        yield Fact("notes", tuple(shown_text(line) for line in lines))


def _mfu_percent(fraction: float | None) -> str:
    return _UNKNOWN if fraction is None else mfu_percent_text(fraction)


def _percent(fraction: float | None) -> str:
    return _UNKNOWN if fraction is None else percent_text(fraction)


def _time(seconds: float | None) -> str:
    return _UNKNOWN if seconds is None else time_text(seconds)
