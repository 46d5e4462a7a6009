"""Optimizers: advised only what the class and the torch of the trace have, and only for many ops."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfu_profiler.analysis import Report

from .made import ADD, GEMM, SQUARE, Training, advice, codes, evidence, found
from .programs import Work, filled, on_a_cpu

ADAM = ("lerp_", "mul_", "addcmul_", "sqrt", "div_", "add_", "addcdiv_")
ADAM_PASSES = 3 + 2 + 3 + 2 + 2 + 3 + 4
"""Tensors that these read and write; the fused kernel 7."""
MULTI = "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<int>()"
PARAMETERS = 20


def mark(name: str) -> str:
    return f"Optimizer.step#{name}.step"


def updated(
    name: str = "AdamW",
    operations: tuple[str, ...] = ADAM,
    parameters: int = PARAMETERS,
    prefix: str = "aten::",
    kernel: str = ADD,
    **timing: int,
) -> Training:
    """A product of 2 ms, then kernels of 10 µs, one for each operation on each parameter."""
    steps = [
        Work(f"{prefix}{one}", 10, kernel, mark=mark(name)) for _ in range(parameters) for one in operations
    ]
    return filled(Work(us=2_000, dims=SQUARE), *steps, **timing)


def report_of(tmp_path: Path, name: str, torch: str | None = "2.6.0") -> Report:
    return updated(name).report(tmp_path, torch=torch)


def test_an_optimizer_that_goes_tensor_by_tensor_is_advised_to_be_fused(tmp_path: Path) -> None:
    """140 kernels are 1,400 of 3,440 µs, and 7 of 19 passes are left of them."""
    report = updated().report(tmp_path)
    finding = found(report, "optimizer")
    assert finding.title == "the optimizer updates one tensor after the other"
    assert finding.evidence == ("140 launches a step in AdamW.step",)
    assert finding.advice == ("AdamW(..., fused=True)",)
    assert finding.share_fraction == pytest.approx(1_400 / 3_440)
    assert finding.recovered_s == pytest.approx(1_400e-6 * (1 - 7 / ADAM_PASSES), rel=0.005)


@pytest.mark.parametrize("count", [2, 4])
def test_a_host_that_is_a_step_ahead_hides_nothing(tmp_path: Path, count: int) -> None:
    """The device's first window is over when the host marks its third step."""
    finding = found(updated(ahead=1, count=count).report(tmp_path), "optimizer")
    assert finding.evidence == ("140 launches a step in AdamW.step",)
    assert finding.share_fraction == pytest.approx(1_400 / 3_440)


def test_an_optimizer_of_lists_is_advised_to_be_fused(tmp_path: Path) -> None:
    foreach = updated(parameters=20, prefix="aten::_foreach_", kernel=MULTI)
    report = foreach.report(tmp_path)
    assert found(report, "optimizer").title == "the optimizer updates a list of tensors at a time (foreach)"
    assert advice(report, "optimizer") == "AdamW(..., fused=True)"


def test_an_optimizer_in_a_graph_is_one_launch(tmp_path: Path) -> None:
    """Its 140 kernels of 4 µs come from one call."""
    made = Training(1_000)
    made.op("aten::mm", 1, 9, SQUARE)
    made.runs(GEMM, 5, 10, 310)
    made.op("aten::add_", 20, 40)
    made.mark(mark("AdamW"), 19, 41)
    made.runs(ADD, 30, 320, 324, call="cudaGraphLaunch")
    for index in range(1, 140):
        made.also_runs(ADD, 320 + 4 * index, 324 + 4 * index)
    report = made.report(tmp_path)
    assert sum(row.count for row in report.kernels) == 141
    assert "optimizer" not in codes(report)


def test_few_launches_are_no_finding(tmp_path: Path) -> None:
    """98 and 105."""
    assert "optimizer" not in codes(updated(parameters=14).report(tmp_path / "few"))
    assert "optimizer" in codes(updated(parameters=15).report(tmp_path / "many"))


def test_a_class_that_nobody_knows_is_advised_nothing(tmp_path: Path) -> None:
    assert "optimizer" not in codes(report_of(tmp_path, "MyOptimizer"))


def late(name: str, operations: tuple[str, ...] = ADAM) -> Training:
    """A kernel of 1 ms, then 140 of 4 µs that are launched 20 µs apart."""
    count = PARAMETERS * len(ADAM)
    made = Training(1_040 + 20 * count)
    made.op("aten::mm", 1, 9, SQUARE)
    made.runs(GEMM, 5, 10, 1_010)
    made.call("cudaStreamSynchronize", 12, 1_011)
    for index in range(count):
        at = 1_020 + 20 * index
        made.op(f"aten::{operations[index % len(operations)]}", at, at + 8)
        made.runs(ADD, at + 4, at + 8, at + 12)
    made.mark(mark(name), 1_019, 1_015 + 20 * count)
    return made


def test_a_class_without_fused_is_advised_foreach_where_launches_are_late(tmp_path: Path) -> None:
    """The same kernels one after the other still take 4 µs each, and a gap of 1, behind the first's 1 ms."""
    finding = found(late("RMSprop").report(tmp_path), "optimizer")
    assert finding.advice == ("RMSprop(..., foreach=True)",)
    assert finding.step_time_after_s == pytest.approx(1_000e-6 + 140 * 5e-6, rel=0.01)


def test_lists_of_tensors_make_no_kernel_shorter(tmp_path: Path) -> None:
    assert "optimizer" not in codes(report_of(tmp_path, "RMSprop"))


def test_a_fused_optimizer_is_advised_nothing(tmp_path: Path) -> None:
    """However many launches it takes, and however late they are."""
    assert "optimizer" not in codes(late("AdamW", ("_fused_adamw_",)).report(tmp_path / "fused"))
    assert "optimizer" in codes(late("AdamW").report(tmp_path / "plain"))


@pytest.mark.parametrize(
    ("name", "too_old", "enough"),
    [("AdamW", "1.13.1", "2.0.0"), ("SGD", "2.2.2", "2.3.0"), ("Adagrad", "2.3.1", "2.4.0")],
)
def test_fused_is_advised_from_the_torch_that_has_it(
    tmp_path: Path, name: str, too_old: str, enough: str
) -> None:
    assert "optimizer" not in codes(report_of(tmp_path / "old", name, too_old))
    assert advice(report_of(tmp_path / "new", name, enough), "optimizer") == f"{name}(..., fused=True)"


def test_an_unknown_torch_is_told_the_version(tmp_path: Path) -> None:
    assert advice(report_of(tmp_path, "SGD", None), "optimizer") == "SGD(..., fused=True)  (since torch 2.3)"


def test_an_optimizer_of_small_share_is_no_finding(tmp_path: Path) -> None:
    """1,400 of 41,440 µs."""
    steps = [Work(f"aten::{one}", 10, ADD, mark=mark("AdamW")) for _ in range(20) for one in ADAM]
    report = filled(Work(us=40_000, dims=SQUARE), *steps).report(tmp_path)
    assert "optimizer" not in codes(report)


def test_the_same_ops_outside_of_an_optimizer_are_no_finding(tmp_path: Path) -> None:
    steps = [Work(f"aten::{one}", 10, ADD, mark="my own update") for _ in range(20) for one in ADAM]
    report = filled(Work(us=2_000, dims=SQUARE), *steps).report(tmp_path)
    assert "optimizer" not in codes(report)


def on_cpu(tmp_path: Path, name: str, torch: str) -> Report:
    """1,400 of 2,402 µs."""
    steps = [Work(f"aten::{one}", 10, mark=mark(name)) for _ in range(20) for one in ADAM]
    made = on_a_cpu(Work(us=1_000, dims=SQUARE, dtype="float"), *steps)
    return made.report(tmp_path, device=None, torch=torch)


def test_a_cpu_has_fused_optimizers_later_and_no_use_for_foreach(tmp_path: Path) -> None:
    report = on_cpu(tmp_path / "new", "AdamW", "2.4.0")
    finding = found(report, "optimizer")
    assert finding.share_fraction == pytest.approx(1_400 / 2_402)
    assert evidence(report, "optimizer") == "140 ops a step in AdamW.step"
    assert finding.recovered_s == pytest.approx(1_400e-6 * (1 - 7 / ADAM_PASSES))
    assert "optimizer" not in codes(on_cpu(tmp_path / "old", "AdamW", "2.3.1"))
    assert "optimizer" not in codes(on_cpu(tmp_path / "foreach", "RMSprop", "2.4.0"))
