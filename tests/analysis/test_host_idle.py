"""Why the host was late: host-bound idle time by phase and reason (design.md, section 5)."""

from __future__ import annotations

from typing import Any

import pytest

from .pictures import US, Activity, Host, Thread, assembled, report, timeline

NODE = "autograd::engine::evaluate_function: MmBackward0"


def reasons(drawn: Any) -> dict[tuple[str, str], float]:
    """Shares of the whole trace as µs of a 100 µs span."""
    found = report(drawn, windows="span")
    assert found.partition is not None
    assert sum(row.fraction for row in found.host_idle) == pytest.approx(found.partition.idle_host)
    return {(row.phase, row.reason): round(row.fraction * 100, 6) for row in found.host_idle}


GAP = {
    "launch": "a" + "." * 58 + "b",
    "compute": "." + "a" * 20 + "." * 40 + "b" * 40,
}
"""The device idles from 21 to 61; the launch that ends it returns at 60."""


def test_ops_before_the_launch_are_dispatch_in_the_forward_phase() -> None:
    drawn = timeline(**GAP, ops={"aten::mm": "." * 10 + "#" * 52})
    assert reasons(drawn) == {("forward", "dispatch"): 39}


@pytest.mark.parametrize(
    ("rows", "phase"),
    [
        ({"ops": {NODE: "." * 10 + "#" * 52}}, "backward"),
        ({"marks": {"Optimizer.step#SGD.step": "." * 10 + "#" * 52}}, "optimizer"),
        ({"marks": {"Optimizer.zero_grad#SGD.zero_grad": "." * 10 + "#" * 52}}, "optimizer"),
    ],
)
def test_the_phase_is_what_the_host_was_in(rows: dict[str, Any], phase: str) -> None:
    assert set(reasons(timeline(**GAP, **rows))) == {(phase, "dispatch")}


def test_the_phase_of_another_threads_backward_counts() -> None:
    """The autograd thread launches backward's kernels; the main thread waits."""
    drawn = timeline(**GAP, autograd=Thread(ops={NODE: "." * 10 + "#" * 52}))
    assert set(reasons(drawn)) == {("backward", "dispatch")}


def test_allocating_is_a_reason() -> None:
    drawn = timeline(**GAP, calls={"cudaMalloc": "." * 25 + "#" * 10, "cudaFree": "." * 40 + "#" * 5})
    assert reasons(drawn)["forward", "allocator"] == 15


def test_compiling_is_a_reason() -> None:
    drawn = timeline(
        **GAP, marks={"compile_fx.<locals>.fw_compiler_base (dynamo_timed)": "." * 25 + "#" * 10}
    )
    assert reasons(drawn)["forward", "compilation"] == 10


def test_a_stretch_without_any_op_is_named_so() -> None:
    """3 ms in which the host runs no op and no loader: a loader that records no event, say."""
    calls = [Host("cudaLaunchKernel", 0, 10 * US), Host("cudaLaunchKernel", 4000 * US, 4010 * US)]
    work = [Activity("k", 10 * US, 1000 * US, 0), Activity("k", 4010 * US, 5010 * US, 1)]
    found = reasons(assembled(work, calls))
    assert set(found) == {("outside the model", "no ops"), ("forward", "dispatch")}
    assert found["outside the model", "no ops"] == pytest.approx(60)


def test_one_op_far_over_its_median_is_a_host_stall() -> None:
    """Ten calls of 10 µs, and one of 1 ms: cores, affinity or another process, not dispatch."""
    ops = [Host("aten::add", n * 20 * US, (n * 20 + 10) * US) for n in range(10)]
    ops.append(Host("aten::add", 300 * US, 1300 * US))
    calls = [Host("cudaLaunchKernel", 0, 2 * US), Host("cudaLaunchKernel", 1400 * US, 1410 * US)]
    work = [Activity("k", 5 * US, 200 * US, 0), Activity("k", 1410 * US, 2005 * US, 1)]
    found = reasons(assembled(work, calls, ops))
    assert found["forward", "host stall"] == pytest.approx(50)


def test_waiting_for_launch_latency_is_not_the_hosts_fault() -> None:
    drawn = timeline(launch="ab", compute=".aaaa....bb")
    assert report(drawn, windows="span").host_idle == ()
