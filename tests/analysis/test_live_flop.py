"""FLOP counted live beside FLOP from shapes: which one MFU rests on, and whether they agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.analysis import Report
from mfu_profiler.analysis.report import Check
from tests.trace.make import op

from .live import (
    CPU,
    FLOP,
    H100_BF16,
    ceiling_part,
    cpu_report,
    flop_part,
    gpu_events,
    live_part,
    live_report,
    rows_of,
)

AGREE = "FLOP counted live and from shapes agree"


def counted(folder: Path, flop: Any, events: list[Any] | None = None, **options: Any) -> Report:
    return live_report(folder, live_part([1_000], flop=flop), events, **options)


def agreement(found: Report) -> Check:
    (check,) = [check for check in found.checks if check.name == AGREE]
    return check


def test_where_both_agree_the_shapes_of_the_profiled_steps_are_the_headline(tmp_path: Path) -> None:
    found = counted(tmp_path, flop_part(FLOP + FLOP // 200))
    assert (found.flop.basis, found.flop.source) == ("shapes", "shapes in the trace")
    assert found.flop.model_per_step == FLOP == found.flop.shapes_per_step
    assert found.flop.counted_per_step == FLOP + FLOP // 200
    assert agreement(found).ok and agreement(found).detail.endswith("0.5 % apart")


def test_where_they_disagree_the_count_is_the_headline_and_a_check_fails(tmp_path: Path) -> None:
    found = counted(tmp_path, flop_part(FLOP * 3 // 4))
    assert (found.flop.basis, found.flop.source) == ("counted", "counted on step 2")
    assert found.flop.model_per_step == FLOP * 3 // 4
    check = agreement(found)
    assert not check.ok and check.detail == "240 GFLOP counted, 320 GFLOP from shapes: 25.0 % apart"


def test_a_difference_in_what_was_executed_is_a_disagreement_too(tmp_path: Path) -> None:
    found = counted(tmp_path, flop_part(recomputed=FLOP // 4))
    assert not agreement(found).ok and "from shapes executed" in agreement(found).detail
    assert found.flop.recomputed_per_step == FLOP // 4


def test_kernels_without_shapes_are_counted_live(tmp_path: Path) -> None:
    """A compiled model: the FLOP are known, and the kernels that execute them by their names."""
    found = counted(tmp_path, flop_part(source="shadow", step=None), gpu_events(shapes=False))
    assert (found.flop.basis, found.flop.source) == ("counted", "counted on a meta copy of the model")
    assert found.mfu == pytest.approx(FLOP / 1e-3 / H100_BF16, rel=1e-3)
    assert found.device.precision == "bf16"
    assert agreement(found).ok and not agreement(found).applies
    rows = rows_of(found)
    assert rows["matmul_inefficiency"] == pytest.approx(0.5 - FLOP / 1e-3 / H100_BF16, rel=1e-3)
    assert "uncounted_kernels" not in rows


def test_counted_flop_belong_to_some_kernel_whatever_its_name(tmp_path: Path) -> None:
    events = gpu_events(shapes=False, name="my_kernel")
    rows = rows_of(counted(tmp_path, flop_part(), events))
    assert rows["matmul_inefficiency"] > 0 and "other_kernels" not in rows


def test_hfu_adds_what_was_counted_as_recomputed_and_as_the_optimizers(tmp_path: Path) -> None:
    flop = flop_part(recomputed=FLOP // 2, optimizer=FLOP // 4)
    found = counted(tmp_path, flop, gpu_events(shapes=False))
    assert found.mfu is not None and found.hfu == pytest.approx(1.75 * found.mfu)
    rows = rows_of(found)
    assert rows["recomputation"] == pytest.approx(found.mfu / 2)
    assert rows["optimizer_matmul"] == pytest.approx(found.mfu / 4)
    assert sum(row.fraction for row in found.waterfall[1:]) == pytest.approx(1, abs=1e-9)


def test_counted_flop_in_another_precision_are_judged_at_its_own_peak(tmp_path: Path) -> None:
    """A quarter in fp8, which has twice the peak of bf16: an eighth of the ideal time is a gain."""
    flop = flop_part(by_precision={"bf16": 3 * FLOP // 4, "fp8": FLOP // 4})
    found = counted(tmp_path, flop, gpu_events(shapes=False))
    assert found.mfu is not None
    assert found.device.precision == "bf16"
    assert rows_of(found)["precision"] == pytest.approx(-found.mfu / 8, rel=1e-3)


def test_fp32_operands_ran_in_tf32_where_the_kernels_say_so(tmp_path: Path) -> None:
    kernel = "sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize32x32x8_stage3"
    found = counted(tmp_path, flop_part(by_precision={"fp32": FLOP}), gpu_events(shapes=False, name=kernel))
    assert found.device.precision == "tf32"


@pytest.mark.parametrize("says", ["the process", "the windows"])
def test_where_lengths_vary_the_shapes_of_the_profiled_steps_serve(tmp_path: Path, says: str) -> None:
    events = gpu_events()
    if says == "the windows":
        events[5]["args"] = events[5]["args"] | {"Input Dims": [[2_000, 10_000], [10_000, 4_000]]}
    found = counted(tmp_path, flop_part(2 * FLOP, varies=says == "the process"), events)
    assert found.flop.basis == "shapes"
    assert found.flop.source == "shapes in the trace; the steps differ in theirs"
    assert found.flop.model_per_step == (FLOP if says == "the process" else FLOP * 3.5 / 4)
    assert not agreement(found).applies and agreement(found).detail == "the steps' shapes vary"


def test_where_lengths_vary_and_nothing_has_shapes_the_count_says_so(tmp_path: Path) -> None:
    found = counted(tmp_path, flop_part(varies=True), gpu_events(shapes=False))
    assert found.flop.source == "counted on step 2; the steps' shapes vary"


def test_given_flop_win(tmp_path: Path) -> None:
    found = counted(tmp_path, flop_part(), flop_per_step=1e11)
    assert (found.flop.basis, found.flop.model_per_step) == ("given", 1e11)


def test_nothing_counted_and_no_shapes_say_why(tmp_path: Path) -> None:
    flop = {"source": None, "because": "the model could not be copied"}
    found = counted(tmp_path, flop, gpu_events(shapes=False))
    assert found.mfu is None and found.flop.model_per_step is None
    assert found.mfu_unknown_because == "the FLOP of a step are unknown: the model could not be copied."
    assert not [hint for hint in found.mfu_unknown_hints if "torch.profiler" in hint]


def test_modules_come_largest_first_and_the_formula_stands_beside(tmp_path: Path) -> None:
    modules = [["head", 1, 2, 0], ["blocks.0.mlp", 10, 20, 5], ["", 2, 4, 0]]
    found = counted(tmp_path, flop_part(by_module=modules, transformer={"step_flop": 123}))
    assert [row.name for row in found.flop.by_module] == ["blocks.0.mlp", "", "head"]
    assert found.flop.by_module[0].recomputed == 5 and found.flop.analytic_per_step == 123


def test_the_causal_figure_is_that_of_the_count_where_it_is_used(tmp_path: Path) -> None:
    found = counted(tmp_path, flop_part(causal_model=FLOP // 2), gpu_events(shapes=False))
    assert found.flop.causal_model_per_step == FLOP // 2
    assert [line for line in found.conventions if "halve causal attention" in line]


def test_ops_without_a_formula_are_named(tmp_path: Path) -> None:
    found = counted(tmp_path, flop_part(uncounted={"mylib::op": 3}))
    assert "ops without a formula, not in the live count: mylib::op (3 calls)" in found.notes


def test_a_compiled_model_on_a_cpu_has_the_counted_flop(tmp_path: Path) -> None:
    events = []
    for step in range(3):
        events += [op("CompiledFunction", step * 1_000_000 + 1_000, 400_000)]
    from .live import cpu_events

    marks = [event for event in cpu_events() if event["name"].startswith("ProfilerStep")]
    live = live_part(
        [1_000],
        device=CPU,
        ceiling=ceiling_part(20e9),
        flop=flop_part(4_000_000, by_precision={"fp32": 4_000_000}),
    )
    found = cpu_report(tmp_path, live, [*marks, *events])
    assert found.mfu == pytest.approx(4e6 / 1e-3 / 20e9) and found.flop.basis == "counted"


def test_an_ordinary_trace_has_no_such_check(tmp_path: Path) -> None:
    from mfu_profiler.analysis import analyze
    from tests.trace.make import write_trace

    found = analyze(write_trace(tmp_path, gpu_events()))
    assert AGREE not in {check.name for check in found.checks}
    assert found.flop.counted_per_step is None and found.flop.basis == "shapes"
