"""Measured matmul rates, kept between runs: the peak of a CPU, and what a GPU reaches of its datasheet's.

One file, ``$XDG_CACHE_HOME/mfu_profiler/ceilings.json`` (``~/.cache`` where that is not set)::

    {"version": 1, "ceilings": {"AMD EPYC 9654 AVX512, torch 2.13.0+cpu, 2 threads": {
        "flop_per_s": {"fp32": 9.7e10}, "detail": "2 threads, matmul 1024", "notes": [],
        "measured_at_s": 1.8e9}}}

A cache that is corrupt, foreign, unreadable or unwritable is as if absent: the rate is measured again.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from mfu_profiler.hardware.spec import Precision

__all__ = ["Ceiling", "CeilingKey", "measuring_alone", "read_ceiling", "write_ceiling"]

_FILE = "ceilings.json"
_MOST_BYTES = 1_000_000
"""A larger file is none of ours."""
_MOST_ENTRIES = 100
"""The oldest go first; each torch version and thread count has its own."""
_LATEST_S = 253_402_300_799.0
"""The last second of the year 9999, beyond which no calendar reads."""
_PATIENCE_S = 10.0
"""A measurement takes a second or two; whoever waits longer than this waits for something else."""
_POLL_S = 0.05
_UNSETTLED_S = 3_600.0
"""How long a rate is kept that was measured on a busy machine and is likely too low."""

_Rate = Annotated[float, msgspec.Meta(gt=0, le=1e20)]


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The best rate at which a device was seen to multiply matrices."""

    flop_per_s: Mapping[Precision, float]
    """By the precision of the operands; without those that were not measured, so it may be empty."""

    detail: str
    """How it was measured, such as ``2 threads, matmul 1024``."""

    notes: tuple[str, ...]
    """What the rates do not say, such as ``bf16 has no native support on this CPU``."""

    measured_at_s: float
    """When, in seconds of the Unix epoch."""

    is_settled: bool = True
    """False where other work took part of the device: the rate may be too low, and is kept for an hour."""

    def to_json(self) -> dict[str, Any]:
        """The member ``ceiling`` of a trace, as plain values."""
        return {"flop_per_s": dict(self.flop_per_s), "detail": self.detail, "notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class CeilingKey:
    """What a ceiling holds for; where one of these differs, it is measured anew."""

    device: str
    """Model of the CPU or name of the accelerator, with what tells two of one name apart."""

    torch_version: str
    """For example ``2.13.0+cpu``."""

    threads: int | None = None
    """Threads that torch computes with; None for an accelerator."""

    settings: str = ""
    """Settings of torch that change the rate, such as ``fp32 as tf32``; empty for the usual ones."""

    @property
    def text(self) -> str:
        """The key in the file, made for people to read."""
        threads = "" if self.threads is None else f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        parts = (self.device, f"torch {self.torch_version}", threads, self.settings)
        return ", ".join(filter(None, parts))


class _Entry(msgspec.Struct):
    """One ceiling in the file, checked by its types as it is decoded."""

    flop_per_s: Annotated[dict[Precision, _Rate], msgspec.Meta(min_length=1)]
    detail: str
    notes: list[str]
    measured_at_s: Annotated[float, msgspec.Meta(ge=0, le=_LATEST_S)]
    is_settled: bool = True


class _File(msgspec.Struct):
    version: Literal[1] = 1
    ceilings: dict[str, msgspec.Raw] = {}


_UNREADABLE = (OSError, ValueError, RecursionError, msgspec.MsgspecError)


def read_ceiling(key: CeilingKey) -> Ceiling | None:
    """The ceiling kept under a key; None where there is none that holds, or the cache cannot be read."""
    kept = _read_all().get(key.text)
    if kept is None:
        return None
    try:
        entry = msgspec.json.decode(kept, type=_Entry)
    except _UNREADABLE:
        return None
    if not entry.is_settled and abs(time.time() - entry.measured_at_s) > _UNSETTLED_S:
        return None
    return Ceiling(entry.flop_per_s, entry.detail, tuple(entry.notes), entry.measured_at_s, entry.is_settled)


def write_ceiling(key: CeilingKey, ceiling: Ceiling) -> bool:
    """Keeps a ceiling beside those of other keys; False, and nothing changed, where that is not possible.

    A ceiling without a rate, or with one that is no number, is not kept.
    """
    folder = _folder()
    rates = ceiling.flop_per_s.values()
    if folder is None or not rates or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        return False
    ceilings = _read_all()
    ceilings.pop(key.text, None)
    try:
        about = {"measured_at_s": ceiling.measured_at_s, "is_settled": ceiling.is_settled}
        ceilings[key.text] = msgspec.Raw(msgspec.json.encode({**ceiling.to_json(), **about}))
        newest = dict(list(ceilings.items())[-_MOST_ENTRIES:])
        _write_whole(folder, msgspec.json.format(msgspec.json.encode(_File(ceilings=newest)), indent=1))
    except _UNREADABLE:
        return False
    return True


@contextmanager
def measuring_alone() -> Iterator[None]:
    """Lets one process at a time measure: two ranks that do it at once would halve each other's rate.

    Waits at most 10 s. Does nothing where locks do not work: Windows, some network file systems, no cache.
    """
    descriptor = _opened_folder()
    try:
        if descriptor is not None:
            _wait_for_lock(descriptor)
        yield
    finally:
        if descriptor is not None:
            _unlock(descriptor)
            os.close(descriptor)


def _folder() -> str | None:
    """Where the cache is, by the XDG base directory specification; None for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the specification: a relative path is to be ignored
        home = os.path.expanduser("~") if os.environ.get("HOME", "~") else ""
        base = os.path.join(home, ".cache")
    return os.path.join(base, "mfu_profiler") if os.path.isabs(base) else None


def _read_all() -> dict[str, msgspec.Raw]:
    """The entries of the file, each still undecoded; none where there is no such file."""
    folder = _folder()
    if folder is None:
        return {}
    path = os.path.join(folder, _FILE)
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > _MOST_BYTES:
            return {}
        with open(path, "rb") as file:
            return dict(msgspec.json.decode(file.read(_MOST_BYTES), type=_File).ceilings)
    except _UNREADABLE:
        return {}


def _write_whole(folder: str, content: bytes) -> None:
    """Writes under a temporary name and renames, so that no reader sees half a file."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    temporary = os.path.join(folder, f".ceilings-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
        os.replace(temporary, os.path.join(folder, _FILE))
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _opened_folder() -> int | None:
    folder = _folder()
    if folder is None:
        return None
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return os.open(folder, os.O_RDONLY)
    except OSError:
        return None


def _wait_for_lock(descriptor: int) -> None:
    """Locks a folder against other processes, or gives up."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_POLL_S)
        except OSError:  # a file system without locks
            return
        else:
            return


def _unlock(descriptor: int) -> None:
    """Said, not left to the closing: a process forked meanwhile has the descriptor too."""
    with suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)
