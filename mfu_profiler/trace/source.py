"""Where the bytes of a trace come from: a file, plain or compressed, a folder, or standard input.

A source is an iterator of byte blocks. Reading a file runs one block ahead in a thread of its own, because
reading and decompressing release the GIL while the decoder holds it.
"""

from __future__ import annotations

import gzip
import io
import stat
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from mfu_profiler.errors import TraceFormatError, TraceNotFoundError, TraceTooLargeError

__all__ = ["DEFAULT_MAX_BYTE", "Progress", "Source", "open_source"]

DEFAULT_MAX_BYTE = 4 * 2**30
"""Decompressed bytes above which a trace is refused, unless asked otherwise (a bomb, or a mistake)."""

BLOCK_BYTE = 2**20

Progress = Callable[[int, int | None], None]
"""Called with (bytes of the file read, bytes of the file or None where unknown)."""

_TRACE_SUFFIXES = (".json", ".json.gz", ".zip")
_REPORT_SUFFIX = ".report.json"
"""What ``track`` writes beside its trace is no trace."""
_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGIC = b"PK\x03\x04"


class _Stream(Protocol):
    def read1(self, size: int, /) -> bytes:
        """What one read of the file underneath gives; empty at the end."""


@dataclass
class Source:
    """Blocks of decompressed bytes, and what went wrong with the compression, if anything did.

    A context manager: leaving it closes the file.
    """

    name: str
    stream: _Stream
    max_byte: int
    size_byte: int | None = None
    """Size of the file on disk; None where it is no regular file (standard input, a pipe)."""
    raw: IO[bytes] | None = None
    """The file under ``stream``; its position tells the progress."""
    progress: Progress | None = None
    opened: ExitStack = field(default_factory=ExitStack)
    """What to close."""
    broken_because: str | None = field(default=None, init=False)
    """Set once the compressed data ends early or is corrupt; what came before is good."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.close()

    def blocks(self) -> Iterator[bytes]:
        """The blocks in order.

        Raises:
            TraceTooLargeError: more than ``max_byte`` decompressed bytes.
            TraceFormatError: corrupt compression before the first byte.

        """
        total = 0
        for block in self._blocks_ahead() if self.size_byte else iter(self._read, b""):
            total += len(block)
            if total > self.max_byte:
                more = 4 * max(self.max_byte, DEFAULT_MAX_BYTE)
                raise TraceTooLargeError(
                    f"{self.name}: more than {self.max_byte:,} bytes once decompressed.",
                    f"read it all the same:  report ... --max-bytes {more}",
                )
            if self.progress is not None:
                self.progress(self.raw.tell() if self.raw and self.size_byte else total, self.size_byte)
            yield block
        if total == 0 and self.broken_because:
            raise TraceFormatError(f"{self.name}: {self.broken_because}.", "copy or record the trace again")

    def _blocks_ahead(self) -> Iterator[bytes]:
        """The blocks of a file. Not for a pipe: its next block may never come, and Ctrl-C would wait."""
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self._read)
            while block := ahead.result():
                ahead = pool.submit(self._read)
                yield block

    def _read(self) -> bytes:
        """One block, whole unless it is the last. What precedes an error is kept."""
        parts: list[bytes] = []
        missing = BLOCK_BYTE
        try:
            while missing and not self.broken_because and (part := self.stream.read1(missing)):
                parts.append(part)
                missing -= len(part)
        except EOFError:
            self.broken_because = "the compressed file is cut off"
        except (zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
            self.broken_because = f"the compressed data is corrupt ({error})"
        except OSError as error:
            self.broken_because = f"it cannot be read ({error})"
        return parts[0] if len(parts) == 1 else b"".join(parts)


def open_source(path: str | Path, max_byte: int | None = None, progress: Progress | None = None) -> Source:
    """The source of a path, of ``-`` (standard input), or of a folder that holds one trace.

    Raises:
        TraceNotFoundError: nothing there, not readable, or a folder with no trace or several.
        TraceFormatError: an empty file; a zip file with no trace, several, or a password.

    """
    limit = DEFAULT_MAX_BYTE if max_byte is None else max_byte
    if str(path) == "-":
        stream = getattr(sys.stdin, "buffer", None)
        if stream is None:
            raise TraceNotFoundError("standard input is closed.", "give a file:  report trace.json.gz")
        return _unpacked(Source("standard input", stream, limit, None, stream, progress))
    file = Path(path)
    with ExitStack() as opened:
        try:
            if file.is_dir():
                file = _only_trace_in(file)
            stream = opened.enter_context(file.open("rb"))
            status = file.stat()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise TraceNotFoundError(
                f"{path}: {reason}.", "give a torch.profiler trace:  report trace.json.gz"
            ) from None
        size = status.st_size if stat.S_ISREG(status.st_mode) else None
        source = _unpacked(Source(str(file), stream, limit, size, stream, progress, opened))
        source.opened = opened.pop_all()
        return source


def _only_trace_in(folder: Path) -> Path:
    found = sorted(file for file in folder.iterdir() if _is_trace(file.name) and file.is_file())
    if len(found) == 1:
        return found[0]
    if not found:
        raise TraceNotFoundError(
            f"{folder}: the folder holds no trace (.json, .json.gz, .zip).",
            "record one with torch.profiler's export_chrome_trace, or name the file itself",
        )
    raise TraceNotFoundError(
        f"{folder}: the folder holds {len(found)} traces, and one report is of one trace.",
        f"name one:  report {found[0]}",
    )


def _unpacked(source: Source) -> Source:
    """The source with its stream decompressed, by the file's first bytes rather than its name."""
    file = source.raw
    assert file is not None
    if source.size_byte == 0:
        raise TraceFormatError(f"{source.name}: the file is empty.", "record the trace again")
    magic = file.peek(4)[:4] if isinstance(file, io.BufferedReader) else b""
    if magic.startswith(_GZIP_MAGIC):
        source.stream = source.opened.enter_context(gzip.GzipFile(fileobj=file))
    elif magic == _ZIP_MAGIC:
        if source.size_byte is None:
            raise TraceFormatError(
                f"{source.name}: a zip file cannot be read from a pipe.", "unzip -p trace.zip | report -"
            )
        _open_member(source, file)
    return source


def _open_member(source: Source, file: IO[bytes]) -> None:
    """Let the source read the only trace in a zip file."""
    try:
        archive = source.opened.enter_context(zipfile.ZipFile(file))
        members = [info for info in archive.infolist() if _is_trace(info.filename)]
        if len(members) != 1:
            raise TraceFormatError(
                f"{source.name}: the zip file holds {len(members)} traces (.json, .json.gz), not one.",
                "unpack it and name one of them",
            )
        if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NotImplementedError("neither stored nor deflated")
        member = source.opened.enter_context(archive.open(members[0]))
    except TraceFormatError:
        raise
    except Exception as error:  # zipfile raises what it stumbles over: struct.error, ValueError, ...
        raise TraceFormatError(
            f"{source.name}: the zip file cannot be read ({error}).", "unpack it first"
        ) from None
    source.stream = member  # type: ignore[assignment]  # typeshed: read1 is missing from IO
    if members[0].filename.endswith(".gz"):
        source.stream = source.opened.enter_context(gzip.GzipFile(fileobj=member))


def _is_trace(name: str) -> bool:
    """Whether a name is a trace's; macOS adds a hidden ``__MACOSX/._trace.json`` to each in a zip."""
    is_hidden = name.rpartition("/")[2].startswith(".")
    return name.endswith(_TRACE_SUFFIXES) and not name.endswith(_REPORT_SUFFIX) and not is_hidden
