"""Runs of which nothing is to be found, and one that only looks as if it were such a run; real ones."""

from __future__ import annotations

from mfu_profiler.render import render_terminal

from .real import real_report


def words(name: str) -> str:
    return " ".join(render_terminal([real_report(name)], color=False).split())


def test_a_compute_bound_run_gets_no_finding_but_the_reason(shared_dir: object) -> None:
    """Compiled attention on an MI300X: kernels all the time, at a third of their peak."""
    report = real_report("tracelens_mi300x_compiled")
    assert report.partition is not None and report.partition.compute > 0.99
    assert report.findings == () and report.ladder == ()
    assert "no finding: compute-bound, kernels run 100 % of the step, matrix products at 3" in words(
        "tracelens_mi300x_compiled"
    )


def test_a_busy_device_is_judged_by_what_it_computes(shared_dir: object) -> None:
    """Qwen on an H100: kernels run over 90 % of the step at an MFU of 17 %: most multiply nothing."""
    report = real_report("tracelens_h100_qwen_prefill")
    assert report.partition is not None and report.partition.compute > 0.9
    assert report.mfu is not None and report.mfu < 0.2
    (found,) = report.findings
    assert found.code == "other_kernels" and found.share_fraction > 0.5
    assert any("torch.compile" in line for line in found.advice)
    assert report.step_time_s is not None and found.step_time_after_s is not None
    assert found.step_time_after_s < 0.8 * report.step_time_s
    assert "compute-bound" not in words("tracelens_h100_qwen_prefill")


def test_no_real_trace_gets_more_findings_than_a_reader_takes_in(shared_dir: object) -> None:
    for name in ("kineto_resnet50_workers0_v100", "tracelens_mi300x_resnet_checkpoint", "ao_moe_2xb200"):
        report = real_report(name)
        assert 0 < len(report.findings) <= 4
        codes = [finding.code for finding in report.findings]
        assert len(set(codes)) == len(codes)
        assert {rung.code for rung in report.ladder} <= set(codes)
