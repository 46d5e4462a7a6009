"""The hardware catalog as a page: every device with its peaks and where they come from."""

from __future__ import annotations

from collections.abc import Iterable

from mfu_profiler.hardware import PRECISIONS, DeviceSpec, devices, unit_word
from tools.docs_site.tables import cell, table

__all__ = ["catalog_page"]

_HEAD = """\
---
hide: [toc]
---

# Hardware catalog

{count} accelerators, as `mfu_profiler.hardware.devices()` has them; `python -m mfu_profiler peaks NAME`
prints the same.

Peaks are **dense** rates in TFLOP/s (int8 in TOP/s), never those with 2:4 sparsity, of one GPU, of one GCD
of an MI250X, of the whole card of a Max 1550. A dash means that no sheet gives that precision. fp64 and fp32
are the rates that a matrix product reaches (the tensor or matrix rate, where there is one); fp16 accumulates
in fp32. *Confidence* is how well the sources agree; where it is low a report says so beside its peak. Names
are matched whole, so an L4 is never taken for an L40S, and a device that is not here gets [no
guess](../faq.md#my-device-is-unknown).

"""


def catalog_page() -> str:
    """One section per vendor: the peaks, and below them names and sources."""
    specs = devices()
    vendors = dict.fromkeys(spec.vendor for spec in specs)
    sections = [_section(vendor, [spec for spec in specs if spec.vendor == vendor]) for vendor in vendors]
    return _HEAD.format(count=len(specs)) + "\n".join(sections)


def _section(vendor: str, specs: Iterable[DeviceSpec]) -> str:
    specs = tuple(specs)
    peaks = table(
        ["device", "architecture", *PRECISIONS, "GB/s", unit_word(vendor), "confidence"],
        map(_peak_row, specs),
        right=frozenset(range(2, 4 + len(PRECISIONS))),
    )
    sources = table(["device", "as drivers say it", "source", "notes"], map(_source_row, specs))
    return f"## {vendor}\n\n{_wide(peaks)}\n### {vendor}: names and sources\n\n{_wide(sources)}"


def _wide(text: str) -> str:
    """A table in the style of ``docs/assets/site.css`` for many columns."""
    return f'<div class="catalog" markdown>\n\n{text}\n</div>\n'


def _peak_row(spec: DeviceSpec) -> list[str]:
    peaks = [spec.peak_flop_per_s.get(precision) for precision in PRECISIONS]
    bandwidth = spec.memory_byte_per_s
    return [
        cell(spec.name),
        cell(" ".join(filter(None, (spec.arch, spec.capability)))),
        *("-" if peak is None else f"{peak / 1e12:g}" for peak in peaks),
        "-" if bandwidth is None else f"{bandwidth / 1e9:g}",
        "-" if spec.sm_count is None else str(spec.sm_count),
        spec.confidence,
    ]


def _source_row(spec: DeviceSpec) -> list[str]:
    memory = "" if spec.memory_gib is None else f"{spec.memory_gib:g} GiB"
    shared = "" if spec.shared_name is None else f"same name: {spec.shared_name}"
    notes = "; ".join(filter(None, (spec.notes, memory, shared)))
    return [cell(spec.name), cell(", ".join(spec.driver_names)), cell(spec.source), cell(notes)]
