"""The code blocks of the README and of the docs, and the commands that they hold."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .conftest import REPOSITORY

__all__ = ["PAGES", "Block", "blocks", "commands", "inline_commands"]

PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md")))

_FENCE = re.compile(r"^(?P<indent> *)(?P<marks>```+|~~~+)(?P<info>.*)$")
_INLINE = re.compile(r"`([^`\n]*?-m mfu_profiler[^`\n]*)`")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    """Of its opening fence."""
    language: str
    """Empty where none is given."""
    text: str

    @property
    def place(self) -> str:
        """``docs/cli.md:12``."""
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """All fenced blocks of a page, indented ones too."""
    opened: re.Match[str] | None = None
    start, lines = 0, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if opened is None:
            if fence is not None:
                opened, start, lines = fence, number, []
        elif fence is not None and fence["marks"] == opened["marks"] and not fence["info"].strip():
            language = opened["info"].strip().split(maxsplit=1)[0] if opened["info"].strip() else ""
            yield Block(page, start, language, "\n".join(lines) + "\n")
            opened = None
        else:
            lines.append(line.removeprefix(opened["indent"]))
    assert opened is None, f"{page}:{start}: the block is never closed"


def commands(text: str) -> list[list[str]]:
    """The words of each command of a shell text: lines, joined where a backslash ends them, cut at ``&&``."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        for command in line.split("&&"):
            words = shlex.split(command, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words.pop(0)
            if words:
                found.append(words)
    return found


def inline_commands(page: Path) -> list[str]:
    """Our commands in the running text of a page."""
    return [match[1] for match in _INLINE.finditer(page.read_text(encoding="utf-8"))]
