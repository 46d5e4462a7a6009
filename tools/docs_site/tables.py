"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["cell", "escaped", "table"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset()) -> str:
    """A pipe table; every row as long as its head.

    Args:
        head: titles of the columns.
        rows: their cells, Markdown already.
        right: indices of columns that are aligned to the right.

    """
    rule = ["--:" if index in right else "---" for index in range(len(head))]
    lines = [head, rule, *rows]
    if any(len(line) != len(head) for line in lines):
        raise ValueError("a row of another length than the head")
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def cell(text: str) -> str:
    """Plain text as one cell, on one line."""
    return escaped(" ".join(text.split()))


def escaped(text: str) -> str:
    """Plain text: what Markdown or HTML would read as markup stands for itself."""
    return "".join(f"&#{ord(sign)};" if sign in _MARKUP else sign for sign in text)


_MARKUP = frozenset("\\`*_{}[]<>#|~&")
