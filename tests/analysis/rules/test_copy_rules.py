"""Copies: only those that nothing computes beside, and pinning only for pageable ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from .made import GEMM, PAGEABLE, PINNED, SQUARE, Training, advice, codes, evidence, found

PINNING = "DataLoader(pin_memory=True)"


def copying(name: str, byte: int = 8_000_000, *, hidden: bool = False) -> Training:
    """A copy of 200 µs, then a kernel of 780, for which the host waits; or the copy beside the kernel."""
    blocks = "Pageable" in name
    made = Training()
    launch = 214 if blocks and not hidden else 8
    made.op("aten::mm", launch - 1, launch + 4, SQUARE)
    if hidden:
        made.runs(name, 5, 300, 500, stream=13, call="cudaMemcpyAsync", category="gpu_memcpy", byte=byte)
    else:
        made.copies(name, 5, 10, 210, byte, returns=212 if blocks else None)
    made.runs(GEMM, launch, 216, 996)
    made.call("cudaStreamSynchronize", 300, 998)
    return made


def test_copies_alone_are_found_with_their_size(tmp_path: Path) -> None:
    """Without it the step is the kernel's 780 µs and the host's 15 from its end to the next launch."""
    report = copying(PAGEABLE).report(tmp_path)
    finding = found(report, "copy")
    assert finding.share_fraction == pytest.approx(0.2)
    assert finding.recovered_s == pytest.approx((1_000 - 780 - 15) * 1e-6)
    assert evidence(report, "copy") == f"1 {PAGEABLE} a step, 8.00 MB, 200 µs"
    assert finding.advice[0].startswith(f"8.00 MB a step come from pageable memory:  {PINNING}")
    assert finding.advice[1].startswith("copy while computing")


def test_pinned_copies_are_advised_no_pinning(tmp_path: Path) -> None:
    report = copying(PINNED).report(tmp_path)
    assert "copy while computing" in advice(report, "copy") and PINNING not in advice(report, "copy")


def test_small_pageable_copies_are_advised_no_pinning(tmp_path: Path) -> None:
    report = copying(PAGEABLE, 800_000).report(tmp_path)
    assert "copy while computing" in advice(report, "copy") and PINNING not in advice(report, "copy")


def test_copies_from_the_device_are_advised_no_pinned_loader(tmp_path: Path) -> None:
    report = copying("Memcpy DtoH (Device -> Pageable)").report(tmp_path)
    assert "copy while computing" in advice(report, "copy") and PINNING not in advice(report, "copy")


def test_hidden_copies_are_no_finding(tmp_path: Path) -> None:
    assert "copy" not in codes(copying(PINNED, hidden=True).report(tmp_path))
