"""Which catalog rows a name means. Names match whole or not at all, so "L4" never means L40S."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from mfu_profiler.hardware.spec import DeviceSpec
from mfu_profiler.hardware.tables import read_devices

__all__ = ["devices_named", "is_nameless", "nearest_driver_names", "shown_name", "split_mig", "vendor_of"]

_SHOWN_CHARACTERS = 80
"""The longest driver name known has 55; what is longer is not a name."""

_MIG = re.compile(
    r"(?P<device>.*\S) MIG (?P<profile>(?:\d+c\.)?\d+g\.\d+gb)(?:[+-][a-z.]+)*", re.IGNORECASE | re.DOTALL
)
"""``NVIDIA A100-SXM4-80GB MIG 3g.40gb``; ``1c.3g.40gb`` is a compute instance within ``3g.40gb``.

Suffixes such as ``+me`` (media engines) and ``+gfx`` change no SM and no memory slice.
Source: NVIDIA MIG user guide, "MIG Device Names".
"""

_WORD = re.compile(r"\w+")

_NEAR, _FAR_BEHIND = 1.0, 0.4
"""Of 2: what scores less, or so much less than the best, is no hint. "H100" scores 1.3 against
"NVIDIA H100 80GB HBM3", an unrelated name less than 0.9."""

_DOUBT = 0.3
"""Rows of low confidence come after others: who types "H100" means none of Meta's own."""

_GFX = re.compile(r"gfx[0-9a-f]{3,5}(:[a-z0-9+:-]*)?", re.IGNORECASE)

_NAMELESS = frozenset({"", "amd radeon graphics"})
"""What ROCm says of an Instinct whose marketing name it lacks (seen in traces of MI250 and MI300X)."""

_VENDOR_PREFIXES = {
    "nvidia ": "NVIDIA",
    "tesla ": "NVIDIA",
    "quadro ": "NVIDIA",
    "geforce ": "NVIDIA",
    "titan ": "NVIDIA",
    "amd ": "AMD",
    "radeon ": "AMD",
    "intel(r) ": "Intel",
}


def devices_named(name: str) -> tuple[DeviceSpec, ...]:
    """The rows that a whole name means; several where parts share a name (MI250X / MI250).

    Driver names and marketing names both count; case and repeated spaces do not matter.
    """
    return _rows_by_name().get(_normal(name), ())


def split_mig(name: str) -> tuple[str, str | None]:
    """``"NVIDIA A30 MIG 1g.6gb+me"`` -> ``("NVIDIA A30", "1g.6gb")``; the profile is None elsewhere."""
    match = _MIG.fullmatch(" ".join(name.split()))
    if match is None:
        return name, None
    return match["device"], match["profile"].casefold()


def is_nameless(name: str) -> bool:
    """Whether a name says nothing of the device: empty, "AMD Radeon Graphics" or a bare gfx id."""
    return _normal(name) in _NAMELESS or _GFX.fullmatch(name.strip()) is not None


def vendor_of(name: str) -> str | None:
    """The vendor that a name starts with, or None."""
    normal = _normal(name) + " "
    if _GFX.fullmatch(name.strip()):
        return "AMD"
    return next((vendor for prefix, vendor in _VENDOR_PREFIXES.items() if normal.startswith(prefix)), None)


def nearest_driver_names(name: str, count: int = 3) -> tuple[str, ...]:
    """Driver names that read most like ``name``, at most one a device; none where nothing is near.

    Nearness adds two shares, of characters in order and of words of ``name`` found: characters
    alone miss "H100", which is short, and words alone miss a typing error.
    """
    from difflib import (
        SequenceMatcher,  # costs a millisecond, and only an error needs it
    )

    wanted = _normal(name)[:_SHOWN_CHARACTERS]
    words = set(_WORD.findall(wanted))
    matcher = SequenceMatcher(b=wanted)
    best: list[tuple[float, str]] = []
    for spec in read_devices():
        scores = []
        for spelling in spec.driver_names if spec.peak_flop_per_s else ():
            matcher.set_seq1(_normal(spelling))
            found = words & set(_WORD.findall(_normal(spelling)))
            score = matcher.ratio() + len(found) / max(len(words), 1)
            scores.append((score - _DOUBT * (spec.confidence == "low"), spelling))
        best += [max(scores, key=lambda scored: scored[0])] if scores else []
    best.sort(key=lambda scored: -scored[0])
    floor = max(_NEAR, best[0][0] - _FAR_BEHIND)
    return tuple(spelling for score, spelling in best[:count] if score >= floor)


def shown_name(name: str) -> str:
    """A name from a trace as it may stand in a message: one line, printable, not endless."""
    printable = "".join(character if character.isprintable() else "?" for character in name)
    return printable if len(printable) <= _SHOWN_CHARACTERS else printable[:_SHOWN_CHARACTERS] + "..."


def _normal(name: str) -> str:
    return " ".join(name.split()).casefold()


@cache
def _rows_by_name() -> Mapping[str, tuple[DeviceSpec, ...]]:
    rows: dict[str, tuple[DeviceSpec, ...]] = {}
    for spec in read_devices():
        for name in dict.fromkeys(map(_normal, (spec.name, *spec.driver_names))):
            rows[name] = (*rows.get(name, ()), spec)
    return rows
