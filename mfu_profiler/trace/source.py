"""Where the bytes of a trace come from: a file, plain or compressed, a folder, or standard input.

A source is an iterator of byte blocks. Reading runs one block ahead in a thread of its own, because
reading and decompressing release the GIL while the decoder holds it.
"""

from __future__ import annotations

import gzip
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from mfu_profiler.errors import TraceFormatError, TraceNotFoundError, TraceTooLargeError

__all__ = ["DEFAULT_MAX_BYTE", "Progress", "Source", "open_source"]

DEFAULT_MAX_BYTE = 4 * 2**30
"""Decompressed bytes above which a trace is refused, unless asked otherwise (a bomb, or a mistake)."""

BLOCK_BYTE = 8 * 2**20

Progress = Callable[[int, int | None], None]
"""Called with (bytes of the file read, bytes of the file or None where unknown)."""

_TRACE_SUFFIXES = (".json", ".json.gz", ".zip")
_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGIC = b"PK\x03\x04"


@dataclass
class Source:
    """Blocks of decompressed bytes, and what went wrong with the compression, if anything did."""

    name: str
    stream: IO[bytes]
    max_byte: int
    size_byte: int | None = None
    """Size of the file on disk; None for standard input."""
    raw: IO[bytes] | None = None
    """The compressed file under ``stream``; its position tells the progress."""
    progress: Progress | None = None
    broken_because: str | None = field(default=None, init=False)
    """Set once the compressed data ends early or is corrupt; what came before is good."""

    def blocks(self) -> Iterator[bytes]:
        """The blocks in order.

        Raises:
            TraceTooLargeError: more than ``max_byte`` decompressed bytes.
            TraceFormatError: corrupt compression before the first byte.

        """
        total = 0
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self._read)
            while block := ahead.result():
                total += len(block)
                if total > self.max_byte:
                    raise TraceTooLargeError(
                        f"{self.name}: more than {self.max_byte:,} bytes once decompressed.",
                        f"read it all the same:  report ... --max-bytes {4 * self.max_byte}",
                    )
                ahead = pool.submit(self._read)
                self._report_progress()
                yield block
        if total == 0 and self.broken_because:
            raise TraceFormatError(f"{self.name}: {self.broken_because}.", "copy or record the trace again")

    def _read(self) -> bytes:
        if self.broken_because:
            return b""
        try:
            return self.stream.read(BLOCK_BYTE)
        except EOFError:
            self.broken_because = "the compressed file is cut off"
        except (zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError) as error:
            self.broken_because = f"the compressed data is corrupt ({error})"
        except (RuntimeError, OSError) as error:
            self.broken_because = f"it cannot be read ({error})"
        return b""

    def _report_progress(self) -> None:
        if self.progress is not None:
            position = (self.raw or self.stream).tell() if self.size_byte else 0
            self.progress(position, self.size_byte)


def open_source(path: str | Path, max_byte: int | None = None, progress: Progress | None = None) -> Source:
    """The source of a path, of ``-`` (standard input), or of a folder that holds one trace.

    Raises:
        TraceNotFoundError: nothing there, not readable, or a folder with no trace or several.
        TraceFormatError: a zip file with no trace, several, or a password.

    """
    limit = DEFAULT_MAX_BYTE if max_byte is None else max_byte
    if str(path) == "-":
        return _unpacked("standard input", sys.stdin.buffer, limit, None, progress)
    file = Path(path)
    try:
        if file.is_dir():
            file = _only_trace_in(file)
        stream = file.open("rb")
        size = file.stat().st_size
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise TraceNotFoundError(
            f"{path}: {reason}.", "give a torch.profiler trace:  report trace.json.gz"
        ) from None
    return _unpacked(str(file), stream, limit, size, progress)


def _only_trace_in(folder: Path) -> Path:
    found = sorted(
        file for file in folder.iterdir() if file.name.endswith(_TRACE_SUFFIXES) and file.is_file()
    )
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


def _unpacked(
    name: str, stream: IO[bytes], max_byte: int, size: int | None, progress: Progress | None
) -> Source:
    """The source, by the file's first bytes rather than its name."""
    peekable: IO[bytes] = stream
    magic = peekable.peek(4)[:4] if hasattr(peekable, "peek") else b""
    if magic.startswith(_GZIP_MAGIC):
        unpacked: IO[bytes] = gzip.GzipFile(fileobj=stream)  # type: ignore[assignment]  # typeshed: read only
        return Source(name, unpacked, max_byte, size, stream, progress)
    if magic == _ZIP_MAGIC and size is not None:
        return Source(name, _only_member_of(name, stream), max_byte, size, stream, progress)
    if size == 0:
        raise TraceFormatError(f"{name}: the file is empty.", "record the trace again")
    return Source(name, stream, max_byte, size, None, progress)


def _only_member_of(name: str, stream: IO[bytes]) -> IO[bytes]:
    try:
        archive = zipfile.ZipFile(stream)
        members = [info for info in archive.infolist() if info.filename.endswith(_TRACE_SUFFIXES[:2])]
        if len(members) != 1:
            raise TraceFormatError(
                f"{name}: the zip file holds {len(members)} traces (.json, .json.gz), not one.",
                "unpack it and name one of them",
            )
        member = archive.open(members[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise TraceFormatError(f"{name}: the zip file cannot be read ({error}).", "unpack it first") from None
    if members[0].filename.endswith(".gz"):
        return gzip.GzipFile(fileobj=member)  # type: ignore[return-value]  # typeshed: read only
    return member
