"""Collectives: each piece of advice only for the wrapper that it is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfu_profiler.analysis.findings.thresholds import LEAST_SHARE

from .made import ADAMW, GEMM, NCCL, SQUARE, Training, advice, codes, evidence, found

RANKS, BUCKETS, NO_SYNC = "compare the ranks", "bucket_cap_mb", "no_sync()"
WRAPPER, FULLY_SHARD = "FSDP(..., forward_prefetch=True)", "set_modules_to_forward_prefetch"


def collective(
    *,
    ddp: int = 0,
    other: str | None = None,
    updates: int = 1,
    collective_us: int = 300,
    hidden: bool = False,
) -> Training:
    """A kernel of 600 µs in a step of 1 ms, then a collective for which the host waits; or beside it.

    Args:
        ddp: forward passes of DistributedDataParallel.
        other: another annotation around the forward pass.
        updates: optimizer steps.

    """
    made = Training()
    for index in range(ddp):
        made.mark("DistributedDataParallel.forward", 1 + index, 1.5 + index)
    if other is not None:
        made.mark(other, 1, 7)
    made.op("aten::mm", 9, 14, SQUARE)
    start = 20 if hidden else 620
    made.runs(GEMM, 10, 15, 615)
    made.runs(NCCL, 12, start, start + collective_us, stream=20)
    made.call("cudaStreamSynchronize", 16, 616 if hidden else start + collective_us + 1)
    for index in range(updates):
        made.mark(ADAMW, 950 + 10 * index, 955 + 10 * index)
    return made


def given(tmp_path: Path, made: Training) -> str:
    return advice(made.report(tmp_path), "communication")


def test_exposed_collectives_are_found(tmp_path: Path) -> None:
    """300 of 1,000 µs; what is left is the kernel and the host from its end on."""
    report = collective().report(tmp_path)
    finding = found(report, "communication")
    assert finding.share_fraction == pytest.approx(0.3)
    assert finding.recovered_s is not None and 295e-6 < finding.recovered_s < 305e-6
    assert RANKS in advice(report, "communication")
    assert "300 µs (30.0 %)" in evidence(report, "communication")


def test_hidden_collectives_are_no_finding(tmp_path: Path) -> None:
    assert "communication" not in codes(collective(hidden=True).report(tmp_path))


def test_short_collectives_are_no_finding(tmp_path: Path) -> None:
    """A point below the least share of the step, and one above."""
    least_us = round(1_000 * LEAST_SHARE["communication"])
    assert "communication" not in codes(collective(collective_us=least_us - 10).report(tmp_path / "short"))
    assert "communication" in codes(collective(collective_us=least_us + 10).report(tmp_path / "long"))


def test_buckets_are_advised_to_ddp_only(tmp_path: Path) -> None:
    assert BUCKETS in given(tmp_path / "ddp", collective(ddp=1))
    assert BUCKETS not in given(tmp_path / "none", collective())
    assert BUCKETS not in given(tmp_path / "fsdp", collective(other="FSDP::pre_forward"))


def test_no_sync_is_advised_only_where_gradients_accumulate(tmp_path: Path) -> None:
    assert f"4 backward passes to one update:  with model.{NO_SYNC}" in given(
        tmp_path / "four", collective(ddp=4)
    )
    assert NO_SYNC not in given(tmp_path / "one", collective(ddp=1))
    assert NO_SYNC not in given(tmp_path / "updates", collective(ddp=2, updates=2))
    assert NO_SYNC not in given(tmp_path / "unknown", collective(ddp=4, updates=0))


def test_each_fsdp_is_advised_its_own_prefetching(tmp_path: Path) -> None:
    """The wrapper has arguments, ``fully_shard`` methods."""
    first = given(tmp_path / "first", collective(other="FullyShardedDataParallel.forward"))
    second = given(tmp_path / "second", collective(other="FSDP::pre_forward"))
    assert WRAPPER in first and FULLY_SHARD not in first
    assert FULLY_SHARD in second and WRAPPER not in second


def test_prefetching_is_advised_to_nobody_else(tmp_path: Path) -> None:
    for name, made in {"ddp": collective(ddp=1), "none": collective()}.items():
        assert "prefetch" not in given(tmp_path / name, made)
