"""Reports as GitHub Markdown, for an issue, a pull request or a wiki: the same words as the terminal.

Names from a trace become code spans, prose is escaped: no HTML, link, mention or table of theirs comes alive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mfu_profiler.analysis.report import Report
from mfu_profiler.render.bars import bar
from mfu_profiler.render.names import fitted_names
from mfu_profiler.render.page import Fact, Fix, KernelLine, Loss, Overview, Page
from mfu_profiler.render.pages import overview, page

__all__ = ["code_span", "escaped", "facts_list", "markdown_table", "render_markdown"]

_BAR_WIDTH = 20
_NAME_WIDTH = 80
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_ACTIVE = re.compile(
    r"[&<>\\`*\[\]|~#]"  # HTML, escapes, code, emphasis, links, tables, strike-through, headings and issues
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis; an underscore inside a word is none
    r"|:(?=//)|(?<=www)\."  # bare addresses, which GitHub would link
    r"|^[-+=](?=\s)|(?<=^\d)[.)](?=\s)"  # a list inside a list
)
_MENTION = re.compile(r"@(?=\w)")


def render_markdown(reports: Sequence[Report], *, top: int = 10) -> str:
    """The reports as one document; several get a summary table first.

    Args:
        reports: in the order in which they are shown.
        top: how many kernels each report lists.

    """
    summary = overview(reports)
    blocks = [] if summary is None else _overview_blocks(summary)
    for report in reports:
        blocks += _page_blocks(page(report, top))
    return "\n\n".join(blocks) + "\n"


def escaped(text: str) -> str:
    """Prose in which nothing is Markdown, HTML, a link or a mention."""
    shown = _ACTIVE.sub(lambda match: _inert(match[0]), text)
    return _MENTION.sub("`@`", shown)


def code_span(text: str) -> str:
    """A name as code, also inside a table; with entities where backticks could not hold it."""
    if not text.strip():
        return ""
    if not re.search(r"[<>&|`\\]", text):
        return f"`{text}`"
    return f"<code>{escaped(text)}</code>"


def _inert(character: str) -> str:
    if character == ":":
        return "&#58;"
    return _ENTITIES.get(character, f"\\{character}")


def _overview_blocks(summary: Overview) -> list[str]:
    heading = f"## {escaped(summary.heading)}"
    return (
        [heading, markdown_table(summary.columns, "r" * len(summary.columns), summary.rows)]
        if summary.rows
        else [heading]
    )


def _page_blocks(content: Page) -> list[str]:
    losses = [_losses(content.losses)] if content.losses else []
    fixes = [_fixes(content.fixes)] if content.fixes else []
    blocks = [f"## {escaped(content.heading)}", facts_list(content.headline)]
    blocks += [f"### {escaped(content.losses_heading)}", *losses, *_note(content.losses_note)]
    if content.losses_details:
        blocks.append(facts_list(content.losses_details))
    if content.fixes or content.fixes_note:
        blocks += [f"### {escaped(content.fixes_heading)}", *_note(content.fixes_aside), *fixes]
        blocks += [*_note(content.fixes_ladder), *_note(content.fixes_note)]
    if content.options:
        blocks += [f"### {escaped(content.options_heading)}", facts_list(content.options)]
    if content.kernels:
        blocks += [f"### {escaped(content.kernels_heading)}", _kernels(content.kernels, content.rate_unit)]
    return [*blocks, f"### {escaped(content.provenance_heading)}", facts_list(content.provenance)]


def _note(note: str) -> list[str]:
    return [escaped(note)] if note else []


def facts_list(facts: Sequence[Fact]) -> str:
    """A list item for each, its label in bold."""
    return "\n".join(
        f"- **{escaped(fact.label)}**: {'<br>'.join(escaped(line) for line in fact.lines)}" for fact in facts
    )


def _losses(losses: Sequence[Loss]) -> str:
    full = max(abs(loss.fraction) for loss in losses)
    rows = (
        (loss.label, bar(loss.fraction, full, _BAR_WIDTH), loss.percent, loss.time, loss.detail)
        for loss in losses
    )
    return markdown_table(("cause", "", "of the step", "time", ""), "llrrl", rows)


def _fixes(fixes: Sequence[Fix]) -> str:
    lines: list[str] = []
    for number, fix in enumerate(fixes, start=1):
        lines.append(f"{number}. **{escaped(fix.title)}** ({escaped(fix.share)})")
        lines += [f"   - {escaped(line)}" for line in filter(None, (fix.gain, *fix.evidence))]
        lines += [f"   - → {escaped(line)}" for line in fix.advice]
    return "\n".join(lines)


def _kernels(kernels: Sequence[KernelLine], unit: str) -> str:
    names = fitted_names([kernel.name for kernel in kernels], _NAME_WIDTH)
    rows = (
        (
            code_span(name),
            kernel.kind,
            kernel.calls,
            kernel.time,
            kernel.rate,
            kernel.of_peak,
            code_span(kernel.origin),
        )
        for name, kernel in zip(names, kernels, strict=True)
    )
    columns = ("kernel", "kind", "calls", "time", unit, "of peak", "called by")
    return markdown_table(columns, "llrrrrl", rows, raw=frozenset({0, 6}))


def markdown_table(
    columns: Sequence[str], alignment: str, rows: Iterable[Sequence[str]], raw: frozenset[int] = frozenset()
) -> str:
    """A table whose cells are escaped, except in the ``raw`` columns, which are Markdown already.

    Args:
        columns: its head.
        alignment: ``l`` or ``r`` for each column.
        rows: cells of each row.
        raw: columns by number.

    """
    lines = [_row(columns), _row(["---:" if side == "r" else "---" for side in alignment])]
    for row in rows:
        lines.append(_row([cell if index in raw else escaped(cell) for index, cell in enumerate(row)]))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
