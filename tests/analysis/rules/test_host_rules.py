"""A host that is late: what makes launches fewer only for short kernels, and each hold-up by its own sign."""

from __future__ import annotations

from pathlib import Path

import pytest

from .made import ADD, AUTOGRAD, GEMM, SQUARE, TRITON, Training, advice, codes, found
from .programs import Work, filled, on_a_cpu

COMPILE, FEWER = "torch.compile(model)", "a larger batch, or CUDA graphs"
COLLECT = "<built-in function collect>"
INNER = "compile_inner (dynamo_timed)"


def dispatched(kernel_us: int, kernel: str = ADD, call: str = "cudaLaunchKernel") -> Training:
    """10 kernels, each launched 3 µs before it starts and long after the one before it ended."""
    each = 4 * kernel_us
    made = Training(10 * each)
    for index in range(10):
        at = index * each
        made.op("aten::add", at + 1, at + 8)
        made.runs(kernel, at + 4, at + 7, at + 7 + kernel_us, call=call)
    return made


def test_many_tiny_kernels_are_advised_to_be_fewer(tmp_path: Path) -> None:
    """Of 40 µs a kernel takes 10 and its launch latency 1; a free host leaves these."""
    report = dispatched(10).report(tmp_path)
    finding = found(report, "host_bound")
    assert finding.share_fraction == pytest.approx(29 / 40)
    assert finding.recovered_s == pytest.approx(10 * 29e-6)
    assert finding.evidence[0] == "10 launches a step, 40.0 µs apart (median)"
    assert "half of the kernels take under 10.0 µs" in finding.evidence
    assert finding.advice == (COMPILE, f"{FEWER}: fewer and longer kernels")


def test_late_launches_of_long_kernels_are_advised_nothing_of_the_kind(tmp_path: Path) -> None:
    report = dispatched(30).report(tmp_path)
    assert "host_bound" in codes(report) and advice(report, "host_bound") == ""


def test_a_full_device_is_no_finding(tmp_path: Path) -> None:
    tiny = [Work("aten::add", 10, ADD) for _ in range(10)]
    report = filled(Work(us=1_000, dims=SQUARE), *tiny).report(tmp_path)
    assert not {"host_bound", "launch"} & codes(report)


def test_graphs_and_compiled_models_are_not_advised_what_they_have(tmp_path: Path) -> None:
    compiled = advice(dispatched(10, TRITON).report(tmp_path / "compiled"), "host_bound")
    assert 'mode="reduce-overhead"' in compiled and "torch.compile(model)" not in compiled
    marked = dispatched(10)
    marked.mark("Torch-Compiled Region: 0/0", 0, 390)
    assert 'mode="reduce-overhead"' in advice(marked.report(tmp_path / "marked"), "host_bound")


def test_a_step_with_graphs_is_advised_more_of_them(tmp_path: Path) -> None:
    made = dispatched(10)
    made.runs(ADD, 380, 388, 395, call="cudaGraphLaunch")
    given = advice(made.report(tmp_path), "host_bound")
    assert given == "capture more of the step in graphs, or use a larger batch"


def test_a_torch_without_compile_is_not_advised_it(tmp_path: Path) -> None:
    given = advice(dispatched(10).report(tmp_path / "old", torch="1.13.1"), "host_bound")
    assert "compile" not in given and FEWER in given
    unknown = advice(dispatched(10).report(tmp_path / "unknown", torch=None), "host_bound")
    assert f"{COMPILE}  (since torch 2.0)" in unknown


def test_python_between_the_ops_of_a_cpu_is_advised_compilation(tmp_path: Path) -> None:
    """302 of 902 µs."""
    made = on_a_cpu(Work(us=600, dims=SQUARE, dtype="float"), gap_us=300)
    report = made.report(tmp_path / "eager", device=None)
    assert found(report, "host_bound").recovered_s == pytest.approx(302e-6)
    assert COMPILE in advice(report, "host_bound") and "graphs" not in advice(report, "host_bound")
    made.mark("Torch-Compiled Region: 0/0", 1, 603)
    assert COMPILE not in advice(made.report(tmp_path / "compiled", device=None), "host_bound")
    busy = on_a_cpu(Work(us=600, dims=SQUARE, dtype="float"))
    assert "host_bound" not in codes(busy.report(tmp_path / "busy", device=None))


# Launch latency -----------------------------------------------------------------------------------


def test_launches_that_an_idle_device_waits_for_are_found(tmp_path: Path) -> None:
    """Each launch returns as the kernel before it ends, and takes 8 µs more to arrive."""
    made = Training(280)
    for index in range(10):
        at = 28 * index
        made.op("aten::add", at, at + 8)
        made.runs(ADD, at + 1, at + 11, at + 31, returns=at + 3)
    report = made.report(tmp_path)
    finding = found(report, "launch")
    assert finding.share_fraction == pytest.approx(8 / 28)
    assert finding.evidence == ("10 launches a step",) and COMPILE in finding.advice


# What holds the host up ---------------------------------------------------------------------------


def held_up(idle_us: int = 300) -> Training:
    """One kernel in a step of 1 ms, launched after a gap at the end of which an op runs."""
    made = Training()
    made.op("aten::mm", idle_us + 1, idle_us + 9, SQUARE)
    made.runs(GEMM, idle_us + 5, idle_us + 10, 1_000)
    return made


def test_collections_of_garbage_are_found_by_their_stacks(tmp_path: Path) -> None:
    made = held_up()
    made.python(COLLECT, 20, 270)
    finding = found(made.report(tmp_path / "gc"), "garbage_collection")
    assert finding.share_fraction == pytest.approx(0.25) and finding.recovered_s == pytest.approx(250e-6)
    assert "gc.disable()" in finding.advice[0]
    assert "garbage_collection" not in codes(held_up().report(tmp_path / "none"))


def test_collections_beside_a_busy_device_are_no_finding(tmp_path: Path) -> None:
    made = held_up()
    made.python(COLLECT, 500, 900)
    assert "garbage_collection" not in codes(made.report(tmp_path))


def test_allocations_that_the_device_waits_for_are_found(tmp_path: Path) -> None:
    made = held_up()
    made.call("cudaMalloc", 20, 220)
    report = made.report(tmp_path)
    finding = found(report, "allocator")
    assert finding.share_fraction == pytest.approx(0.2) and finding.recovered_s == pytest.approx(200e-6)
    assert finding.evidence[0] == "1 cudaMalloc a step, 200 µs"
    assert "empty_cache()" in finding.advice[0]
    assert finding.advice[1] == "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"


def test_allocator_settings_are_those_of_the_torch_that_ran(tmp_path: Path) -> None:
    made = held_up()
    made.call("cudaMalloc", 20, 220)
    assert "PYTORCH_ALLOC_CONF=" in advice(made.report(tmp_path / "new", torch="2.9.0"), "allocator")
    old = advice(made.report(tmp_path / "old", torch="2.0.1"), "allocator")
    assert "empty_cache()" in old and "expandable_segments" not in old


def test_allocations_beside_a_busy_device_are_no_finding(tmp_path: Path) -> None:
    made = held_up()
    made.call("cudaMalloc", 500, 900)
    assert "allocator" not in codes(made.report(tmp_path))


def test_compilation_inside_of_steps_is_found(tmp_path: Path) -> None:
    made = held_up()
    made.mark(INNER, 20, 270)
    report = made.report(tmp_path)
    finding = found(report, "compilation")
    assert finding.share_fraction == pytest.approx(0.25) and finding.recovered_s == pytest.approx(250e-6)
    assert finding.evidence[0] == f"1 {INNER} a step, 250 µs"
    assert "TORCH_LOGS=recompiles" in finding.advice[0]


def test_compilation_beside_a_busy_device_is_no_finding(tmp_path: Path) -> None:
    made = held_up()
    made.mark(INNER, 500, 900)
    assert "compilation" not in codes(made.report(tmp_path))


def with_copies(longest_us: int, usual_us: int) -> Training:
    """Five ops of one name in a step, of which the first takes longer; the device waits for it."""
    made = held_up(longest_us + 20)
    made.op("aten::copy_", 10, 10 + longest_us)
    for index in range(4):
        made.op("aten::copy_", 400 + 130 * index, 400 + 130 * index + usual_us)
    return made


def test_an_op_that_takes_many_times_its_usual_time_is_a_stall(tmp_path: Path) -> None:
    report = with_copies(300, 10).report(tmp_path)
    finding = found(report, "host_stall")
    assert finding.share_fraction == pytest.approx(0.3) and finding.recovered_s == pytest.approx(300e-6)
    assert "CPU affinity" in finding.advice[0]


def test_an_op_that_is_always_slow_or_not_so_slow_is_no_stall(tmp_path: Path) -> None:
    assert "host_stall" not in codes(with_copies(300, 100).report(tmp_path / "usual"))
    assert "host_stall" not in codes(with_copies(150, 5).report(tmp_path / "short"))


def bare(gap_us: int, *, op_in_it: bool = False) -> Training:
    made = Training(10_000)
    made.op("aten::mm", gap_us + 1, gap_us + 9, SQUARE)
    made.runs(GEMM, gap_us + 5, gap_us + 10, 9_995)
    for start in range(gap_us + 10, 9_900, 500):
        made.op("aten::empty", start, start + 20)
    if op_in_it:
        for start in range(100, gap_us, 500):
            made.op("aten::empty", start, start + 20)
    return made


def test_a_long_time_without_any_op_is_outside_the_model(tmp_path: Path) -> None:
    report = bare(2_000).report(tmp_path)
    finding = found(report, "outside_the_model")
    assert finding.share_fraction == pytest.approx(0.2, abs=0.001)
    assert finding.recovered_s == pytest.approx(2_000e-6, rel=0.01)
    assert "logging, checkpoints" in finding.advice[0] and "run.data()" in finding.advice[1]


def test_short_or_busy_stretches_are_not_outside_the_model(tmp_path: Path) -> None:
    assert "outside_the_model" not in codes(bare(800).report(tmp_path / "short"))
    assert "outside_the_model" not in codes(bare(2_000, op_in_it=True).report(tmp_path / "ops"))
    elsewhere = bare(2_000)
    for start in range(100, 2_000, 500):
        elsewhere.op("aten::empty", start, start + 20, thread=AUTOGRAD)
    assert "outside_the_model" not in codes(elsewhere.report(tmp_path / "thread"))
