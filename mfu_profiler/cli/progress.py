"""A progress bar while a large trace is read, on stderr and only on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["LEAST_BYTES", "Progress", "reading_progress"]

LEAST_BYTES = 50_000_000
"""A smaller file is read before a bar would be seen."""

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes done and the bytes in total, if that is known."""


@contextmanager
def reading_progress(path: str) -> Iterator[Progress | None]:
    """Yields what the reader calls, or None where no bar is wanted."""
    if not (sys.stderr.isatty() and os.path.isfile(path) and os.path.getsize(path) > LEAST_BYTES):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=os.path.getsize(path))

        def update(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield update
