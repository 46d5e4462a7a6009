"""TensorBoard as users start it, on a free port of this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["GIVE_UP_S", "started_tensorboard", "wait_for"]

GIVE_UP_S = 60.0


@contextmanager
def started_tensorboard(logs: Path, scratch: Path) -> Iterator[str]:
    """Its address, ``http://127.0.0.1:PORT``, once it listens; it may still be reading.

    Args:
        logs: the folder of runs.
        scratch: for its own files and its log.

    """
    log = scratch / "log"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logs.name]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", "0", "--reload_interval", "1"],
            stdout=output,
            stderr=output,
            cwd=logs.parent,
            env=os.environ | {"TMPDIR": str(scratch)},
        ) as process,
    ):
        try:
            yield wait_for(lambda: _address(log, process), log.read_text)
        finally:
            process.terminate()
            try:
                process.wait(GIVE_UP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for(ask: Callable[[], Any], what_else: Callable[[], str]) -> Any:
    """The first answer that is something.

    Args:
        ask: again and again.
        what_else: said where none comes.

    """
    give_up_s = time.monotonic() + GIVE_UP_S
    while time.monotonic() < give_up_s:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.2)
    raise AssertionError(what_else())


def _address(log: Path, process: subprocess.Popen[bytes]) -> str | None:
    assert process.poll() is None, log.read_text()
    found = re.search(r"TensorBoard \S+ at (http://127\.0\.0\.1:\d+)", log.read_text())
    return None if found is None else found[1]
