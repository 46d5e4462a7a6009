"""Writing: whole files, text on stdout, errors on stderr. Nothing here computes."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

from mfu_profiler.errors import OptionError

__all__ = [
    "Target",
    "check_targets",
    "discard_stdout",
    "print_error",
    "print_failures",
    "print_notes",
    "print_text",
    "stdout_color",
    "terminal_width",
    "write_target",
    "write_whole",
]

MOST_COLUMNS = 80
_STDOUT = "-"
_PLAIN = str.maketrans(
    {**dict.fromkeys("█▉▊▋▌", "#"), **dict.fromkeys("▍▎▏", "."), "░": "+", "·": "|", "─": "-"}
    | {"→": "->", "…": "...", "±": "+-", "≥": ">=", "µ": "u"}
)
"""For an output that holds no Unicode."""


@dataclass(frozen=True, slots=True)
class Target:
    """One ``--json``, ``--markdown`` or another option that names an output."""

    format: str
    """The option without its dashes, e.g. ``json``."""
    path: str | None
    """A file, ``-`` for stdout, or None where it is not wanted."""

    @property
    def is_stdout(self) -> bool:
        """Whether the text is printed instead of the terminal report."""
        return self.path == _STDOUT

    @property
    def place(self) -> str:
        """Where it goes in the end, links followed."""
        return _STDOUT if self.is_stdout else os.path.realpath(str(self.path))


def check_targets(targets: Sequence[Target], *, trace: str, force: bool) -> None:
    """Refuses before the trace is read what could not be written afterwards.

    Raises:
        OptionError: an existing file without ``force``, a missing folder, two outputs in one place,
            the trace itself.

    """
    taken: dict[str, str] = {}
    for target in targets:
        other = taken.setdefault(target.place, target.format)
        if other != target.format:
            raise OptionError(
                f"--{other} and --{target.format} cannot go to the same place",
                "give one of them another FILE",
            )
    for target in targets:
        if not target.is_stdout:
            _check_file(target, trace=trace, force=force)


def _check_file(target: Target, *, trace: str, force: bool) -> None:
    place, shown = target.place, target.path
    folder = os.path.dirname(place)
    if os.path.isdir(place):
        raise OptionError(f"cannot write {shown}: it is a folder")
    if os.path.exists(place) and _is_read_from(place, trace):
        raise OptionError(f"will not overwrite {shown}: it is the trace")
    _check_absent(target, force=force)
    if not os.path.isdir(folder):
        raise OptionError(f"cannot write {shown}: no such folder: {folder}")
    if not os.access(folder, os.W_OK | os.X_OK) and not _is_special(place):
        raise OptionError(f"cannot write {shown}: no permission to write in {folder}")


def _is_read_from(place: str, trace: str) -> bool:
    """Whether an existing file is the trace, one of the folder of traces, or what standard input reads."""
    try:
        if trace == _STDOUT:
            return os.path.samestat(os.stat(place), os.fstat(0))
        if os.path.isdir(trace):
            return os.path.samefile(os.path.dirname(place), trace)
        return os.path.samefile(place, trace)
    except OSError:
        return False


def _check_absent(target: Target, *, force: bool) -> None:
    if not force and os.path.lexists(target.place) and not _is_special(target.place):
        raise OptionError(f"will not overwrite {target.path} without --force")


def write_target(target: Target, text: str, *, force: bool) -> None:
    """Writes one output; a file is whole or untouched.

    Raises:
        OptionError: the file cannot be written, or appeared since it was checked.
        BrokenPipeError: it is a pipe that nobody reads any more.

    """
    if target.is_stdout:
        print_text(text)
        return
    _check_absent(target, force=force)
    try:
        write_whole(target.place, text.encode())
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OptionError(f"cannot write {target.path}: {error.strerror or error}") from error


def write_whole(place: str, content: bytes) -> None:
    """Writes a file by renaming, so that it is whole or untouched.

    Raises:
        OSError: it cannot be written.

    """
    if _is_special(place):
        with open(place, "wb") as special:
            special.write(content)
        return
    temporary = os.path.join(os.path.dirname(place), f".mfu_profiler-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
        os.replace(temporary, place)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def _is_special(place: str) -> bool:
    """Whether it is a device or a pipe, such as ``/dev/null``: written to, never replaced."""
    try:
        mode = os.stat(place).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def print_text(text: str) -> None:
    """Text on stdout, in plain characters where its encoding holds no others.

    Raises:
        OptionError: stdout is closed or full.
        BrokenPipeError: nobody reads it any more.

    """
    stdout: TextIO | None = sys.stdout
    if stdout is None:
        raise OptionError("cannot write to stdout: it is closed")
    try:
        stdout.write(_encodable(text, stdout.encoding))
        stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_stdout()
        raise OptionError(f"cannot write to stdout: {error.strerror or error}") from error


def print_error(message: str, *hints: str) -> None:
    """One ``error: ...`` line on stderr and its hints below; names in it are made visible."""
    from mfu_profiler.render.names import shown_text

    _print_lines([f"error: {shown_text(message)}", *(f"  {shown_text(hint)}" for hint in hints)])


def print_failures(messages: Sequence[str]) -> None:
    """One ``failed: ...`` line on stderr for each limit that is not kept; names are made visible."""
    from mfu_profiler.render.names import shown_text

    if messages:
        _print_lines([f"failed: {shown_text(message)}" for message in messages])


def print_notes(messages: Sequence[str]) -> None:
    """One ``note: ...`` line on stderr for each limit that is kept only as far as anybody can tell."""
    from mfu_profiler.render.names import shown_text

    if messages:
        _print_lines([f"note: {shown_text(message)}" for message in messages])


def _print_lines(lines: Sequence[str]) -> None:
    with suppress(OSError):  # there may be nobody to tell
        sys.stderr.write(_encodable("\n".join(lines) + "\n", sys.stderr.encoding))
        sys.stderr.flush()


def discard_stdout() -> None:
    """After a broken pipe: lets the interpreter flush into nothing instead of complaining at exit."""
    with suppress(OSError, ValueError):  # stdout may be no file, as in tests
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def stdout_color(environment: Mapping[str, str]) -> bool:
    """Colour only on a terminal that has it, and never against ``NO_COLOR`` (https://no-color.org)."""
    return sys.stdout.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def terminal_width() -> int:
    """Columns of the terminal, at most 80."""
    return min(MOST_COLUMNS, shutil.get_terminal_size((MOST_COLUMNS, 24)).columns)


def _encodable(text: str, encoding: str | None) -> str:
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        plain = text.translate(_PLAIN)
        return plain.encode(encoding or "ascii", "backslashreplace").decode(encoding or "ascii")
    return text
