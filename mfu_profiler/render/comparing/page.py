"""What a comparison says, before anyone decides how it looks: numbers are text, names are inert.

Terminal and Markdown lay out the same ``CompareDocument``, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mfu_profiler.analysis.comparing.compare import run_label
from mfu_profiler.analysis.comparing.comparison import ComparedRun, Comparison, PairComparison
from mfu_profiler.analysis.gate import GateResult
from mfu_profiler.render.comparing.rows import (
    CauseLine,
    ChangeTable,
    cause_lines,
    causes_note,
    change_table,
)
from mfu_profiler.render.comparing.words import (
    cause_label,
    change_text,
    headline_sentence,
    mfu_facts,
    place_text,
    step_fact,
    work_fact,
)
from mfu_profiler.render.names import shown_text
from mfu_profiler.render.page import Fact, Overview
from mfu_profiler.units import mfu_percent_text, percent_text, time_text

__all__ = ["CompareDocument", "ComparePage", "compare_document"]

_NAME_WIDTH = 200
_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ComparePage:
    """Two runs on one rank and device, in words."""

    heading: str
    """Rank and device, for a page among several."""
    sentence: str
    """What changed, and by which cause most."""
    headline: tuple[Fact, ...]
    causes_heading: str
    causes: tuple[CauseLine, ...]
    """The largest change first; the last row is the step."""
    causes_note: str
    """Causes that did not change, or why there are none; may be empty."""
    findings_heading: str
    findings: tuple[Fact, ...]
    ops: ChangeTable
    kernels: ChangeTable
    setting_heading: str
    setting: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class CompareDocument:
    """All of a comparison."""

    overview: Overview | None
    """One row a run, rank and device; None where one page says it all."""
    overview_note: str
    pages: tuple[ComparePage, ...]
    """Of two runs; more have the table alone."""
    gate_heading: str
    gate: tuple[Fact, ...]
    """What was held against a limit; empty without one."""
    runs_heading: str
    runs: tuple[Fact, ...]


def compare_document(found: Comparison, results: Sequence[GateResult], top: int) -> CompareDocument:
    """Everything that is said of a comparison.

    Args:
        found: of two or more runs.
        results: of the gate, where there is one.
        top: how many ops and how many kernels each page lists.

    """
    is_pair = len(found.names) == 2
    with_overview = len(found.runs) > 2
    return CompareDocument(
        overview=_overview(found) if with_overview else None,
        overview_note=_overview_note(found) if with_overview else "",
        pages=tuple(_page(pair, top) for pair in found.pairs) if is_pair else (),
        gate_heading="Limit",
        gate=tuple(
            Fact("passed" if result.ok else "failed", (shown_text(result.message),), alarm=not result.ok)
            for result in results
        ),
        runs_heading="What was compared",
        runs=tuple(_runs(found)),
    )


def _page(pair: PairComparison, top: int) -> ComparePage:
    work = work_fact(pair)
    findings = tuple(
        Fact(
            "new" if finding.is_new else "gone",
            (f"{shown_text(finding.title, 300)} ({percent_text(finding.share_fraction)})",),
        )
        for finding in pair.findings
    )
    other_device = "another device: its kernels have other names, so the ops tell more"
    return ComparePage(
        heading=place_text(pair.a),
        sentence=headline_sentence(pair),
        headline=(step_fact(pair), *([] if work is None else [work]), *mfu_facts(pair)),
        causes_heading="What changed, by cause",
        causes=cause_lines(pair),
        causes_note=causes_note(pair),
        findings_heading="Findings of one run only",
        findings=findings,
        ops=change_table("Ops by shape", "op", pair.ops, pair.most_rows, top),
        kernels=change_table(
            "Kernels", "kernel", pair.kernels, pair.most_rows, top, other_device * pair.is_other_device
        ),
        setting_heading="What else differs",
        setting=tuple(Fact(one.what, (f"{_setting(one.a)} → {_setting(one.b)}",)) for one in pair.settings),
    )


def _setting(text: str | None) -> str:
    return _UNKNOWN if text is None else shown_text(text, 100)


def _overview(found: Comparison) -> Overview:
    partners = {pair.b: pair for pair in found.pairs}
    return Overview(
        heading=f"{len(found.names)} runs",
        columns=("run", "step", "spread", "MFU", "HFU", "largest loss", "against A"),
        rows=tuple(_row(run, partners, with_place=len(found.runs) > len(found.names)) for run in found.runs),
    )


_Partners = Mapping[ComparedRun, PairComparison]
"""A run -> the pair that holds it against the first."""


def _row(run: ComparedRun, partners: _Partners, *, with_place: bool) -> tuple[str, ...]:
    pair = partners.get(run)
    loss = "-"
    if run.largest_loss is not None and run.largest_loss_fraction is not None:
        label = shown_text(cause_label(run.largest_loss), 24)
        loss = f"{label} {percent_text(run.largest_loss_fraction)}"
    spread = run.step.spread_fraction
    return (
        f"{run_label(run.run)} {_place(run)}".strip() if with_place else run_label(run.run),
        _UNKNOWN if run.step.reported_s is None else time_text(run.step.reported_s),
        "-" if spread is None else f"± {percent_text(spread)}",
        _UNKNOWN if run.mfu is None else mfu_percent_text(run.mfu),
        _UNKNOWN if run.hfu is None else mfu_percent_text(run.hfu),
        loss,
        "-" if run.run == 0 else "no partner" if pair is None else change_text(pair),
    )


def _place(run: ComparedRun) -> str:
    if run.rank is not None:
        return f"rank {run.rank}"
    return "" if run.device_index is None else f"device {run.device_index}"


def _overview_note(found: Comparison) -> str:
    verdicts = {pair.verdict for pair in found.pairs}
    said = []
    if "within the noise" in verdicts:
        said.append("noise: within the noise of the steps")
    if "no spread" in verdicts:
        said.append("?: one step: no spread, so nobody can tell it from noise")
    return "; ".join(said)


def _runs(found: Comparison) -> list[Fact]:
    """Name and device of each run, what sets it apart from the first, and what had no partner."""
    facts = []
    for number, name in enumerate(found.names):
        runs = [run for run in found.runs if run.run == number]
        devices = dict.fromkeys(shown_text(run.device or "unnamed device", 80) for run in runs)
        lines = [shown_text(name, _NAME_WIDTH), *([place_text(runs[0])] if len(runs) == 1 else devices)]
        pairs = [pair for pair in found.pairs if pair.b.run == number]
        others = dict.fromkeys(one.what for pair in pairs for one in pair.settings)
        if others and len(found.names) > 2:
            lines.append(f"other than A: {', '.join(others)}")
        facts.append(Fact(run_label(number), tuple(lines)))
    alone = tuple(
        f"{shown_text(one.place, 80)} only in {run_label(one.run)}, not in {run_label(one.other)}"
        for one in found.not_compared
    )
    return [*facts, *([Fact("not compared", alone)] if alone else [])]
