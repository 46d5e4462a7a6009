"""Synchronization: only where the device runs dry, with the advice for what the host waited in."""

from __future__ import annotations

from pathlib import Path

import pytest

from .made import GEMM, PAGEABLE, PINNED, SQUARE, Training, advice, codes, evidence, found
from .programs import Work, filled

EVENTS, READ, SIZES, PINNING = (
    "torch.cuda.synchronize()",
    ".item()",
    "nonzero, masked_select",
    "pinned copies",
)


def blocked(
    call: str | None, op: str | None = None, copy: str | None = None, byte: int = 4_000_000
) -> Training:
    """A kernel of 600 µs in a step of 1 ms; the host waits for it, then thinks.

    ::

        host    copy, launch ├── call, in op ──────┤.......... think ......
        device     ├───── kernel, 15 to 615 ─────┤.... dry, to 1,015 ......
    """
    made = Training()
    made.op("aten::mm", 9, 14, SQUARE)
    if copy is not None:
        made.copies(copy, 1, 3, 8, byte, returns=9)
    made.runs(GEMM, 10, 15, 615)
    if call is not None:
        made.call(call, 20, 620)
    if op is not None:
        made.op(op, 18, 622)
    for start in range(650, 1_000, 50):  # so that this is no time outside the model
        made.op("aten::empty", start, start + 5)
    return made


def given(tmp_path: Path, **parts: object) -> str:
    return advice(blocked(**parts).report(tmp_path), "synchronization")  # type: ignore[arg-type]  # keywords


def test_a_host_that_waits_for_the_device_is_found(tmp_path: Path) -> None:
    """397 µs idle until the next launch returns; without the wait the step is the kernel and a gap."""
    report = blocked("cudaDeviceSynchronize").report(tmp_path)
    finding = found(report, "synchronization")
    assert finding.share_fraction == pytest.approx(0.397)
    assert finding.recovered_s == pytest.approx(399e-6)
    assert finding.evidence == ("1 cudaDeviceSynchronize a step, then 397 µs idle",)
    assert EVENTS in advice(report, "synchronization")


def test_other_waits_are_not_called_torch_cuda_synchronize(tmp_path: Path) -> None:
    report = blocked("cudaStreamSynchronize").report(tmp_path)
    assert "cudaStreamSynchronize" in evidence(report, "synchronization")
    assert EVENTS not in advice(report, "synchronization")


def test_values_read_back_are_named_where_an_item_is(tmp_path: Path) -> None:
    assert READ in given(tmp_path / "item", call="cudaStreamSynchronize", op="aten::item")
    assert READ not in given(tmp_path / "none", call="cudaStreamSynchronize", op="aten::nonzero")


def test_results_sized_by_values_are_named_where_one_is(tmp_path: Path) -> None:
    assert SIZES in given(tmp_path / "nonzero", call="cudaStreamSynchronize", op="aten::nonzero")
    assert SIZES not in given(tmp_path / "item", call="cudaStreamSynchronize", op="aten::item")


def test_pinned_copies_are_named_where_large_pageable_ones_are(tmp_path: Path) -> None:
    call = "cudaStreamSynchronize"
    assert PINNING in given(tmp_path / "pageable", call=call, copy=PAGEABLE)
    assert PINNING not in given(tmp_path / "pinned", call=call, copy=PINNED)
    assert PINNING not in given(tmp_path / "small", call=call, copy=PAGEABLE, byte=400_000)


def test_the_same_gap_without_a_wait_is_no_synchronization(tmp_path: Path) -> None:
    assert "synchronization" not in codes(blocked(None).report(tmp_path))


def test_a_wait_while_the_device_has_more_to_do_is_no_finding(tmp_path: Path) -> None:
    """The host waits for 600 of 1,040 µs, and is back before the device is through."""
    made = filled(Work(us=500, dims=SQUARE), Work(us=500, dims=SQUARE))
    assert [one["name"] for one in made.events()].count("cudaStreamSynchronize") == made.count
    assert codes(made.report(tmp_path)) == set()
