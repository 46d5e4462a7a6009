"""A gate passes what keeps its limits, fails what does not, and fails what it cannot judge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.analysis.gate import CAUSES, Limits, cause_name, gate_results, loss_fraction
from mfu_profiler.analysis.report import PARTS, Report
from mfu_profiler.errors import OptionError
from mfu_profiler.render.causes import ENDS, cause_words
from tests.render.sample import cpu, ranks, resnet, unknown_device, with_gain

REFUSED = unknown_device().mfu_unknown_because
MISSING = cpu().partition_unknown_because


def said(report: Report, limits: Limits) -> tuple[bool, str]:
    (result,) = gate_results([report], limits)
    return result.ok, result.message


@pytest.mark.parametrize(
    ("limits", "ok", "message"),
    [
        (Limits(least_mfu=0.28), True, "MFU 28.1 % is not under the limit of 28 %"),
        (Limits(least_mfu=0.281), True, "MFU 28.1 % is not under the limit of 28.1 %"),
        (Limits(least_mfu=0.35), False, "MFU 28.1 % is under the limit of 35 %"),
        (Limits(most_step_time_s=0.2), True, "step time 176 ms is not over the limit of 200 ms"),
        (Limits(most_step_time_s=0.1762), True, "step time 176.2 ms is not over the limit of 176.2 ms"),
        (Limits(most_step_time_s=0.12), False, "step time 176 ms is over the limit of 120 ms"),
        (Limits(most_loss={"data-loading": 0.4}), True, "data-loading 32.6 % is not over the limit of 40 %"),
        (Limits(most_loss={"data-loading": 0.05}), False, "data-loading 32.6 % is over the limit of 5 %"),
        (Limits(most_loss={"idle": 0.42}), False, "idle 42.7 % is over the limit of 42 %"),
        (Limits(most_loss={"recomputation": 0}), True, "recomputation 0 % is not over the limit of 0 %"),
    ],
)
def test_each_limit_passes_and_fails_by_its_number(limits: Limits, ok: bool, message: str) -> None:
    assert said(resnet(), limits) == (ok, message)


@pytest.mark.parametrize(
    ("report", "cause", "fraction"),
    [
        (resnet(), "idle", 0.326 + 0.003 + 0.093 + 0.005),
        (resnet(), "exposed-communication", 0.0),
        (resnet(), "precision", 0.0),
        (with_gain(), "precision", -0.08),
        (unknown_device(), "host-bound", 0.093),
        (unknown_device(), "matmul-inefficiency", REFUSED),
        (unknown_device(), "uncounted-kernels", REFUSED),
        (cpu(), "idle", MISSING),
        (cpu(), "matmul-inefficiency", MISSING),
        (resnet(), "clocks", "no clock was sampled"),
    ],
)
def test_a_loss_is_its_row_or_zero_or_the_reason_why_it_is_unknown(
    report: Report, cause: str, fraction: float | str
) -> None:
    assert loss_fraction(report, cause) == pytest.approx(fraction)


def test_a_clock_at_its_datasheet_value_cost_nothing_once_it_was_sampled() -> None:
    sample = resnet()
    sampled = replace(sample, device=replace(sample.device, sampled_clock_hz=1.5e9))
    assert loss_fraction(sampled, "clocks") == 0
    silent = replace(sample, device=replace(sample.device, nvml_because="NVML: not supported"))
    assert loss_fraction(silent, "clocks") == "NVML: not supported"


@pytest.mark.parametrize("cause", sorted(CAUSES))
def test_what_cannot_be_judged_does_not_pass(cause: str) -> None:
    ok, message = said(cpu(), Limits(most_loss={cause: 0.99}))
    assert not ok and message == f"{cause} is unknown (limit 99 %): {MISSING}"


def test_an_unknown_mfu_and_an_unknown_step_time_fail_with_their_reason() -> None:
    ok, message = said(unknown_device(), Limits(least_mfu=0.01))
    assert not ok and message == f"MFU is unknown (limit 1 %): {REFUSED}"
    timeless = replace(cpu(), step_time_s=None)
    ok, message = said(timeless, Limits(most_step_time_s=9))
    assert not ok and message == f"the step time is unknown (limit 9 s): {MISSING}"
    mute = replace(timeless, mfu_unknown_because=None, partition_unknown_because=None)
    limits = Limits(least_mfu=0.01, most_step_time_s=9, most_loss={"idle": 0.9})
    assert [result.ok for result in gate_results([mute], limits)] == [False] * 3


def test_there_is_a_result_per_limit_and_report_and_it_names_the_rank() -> None:
    first, second = ranks()
    limits = Limits(least_mfu=0.283, most_step_time_s=1, most_loss={"idle": 0.05})
    results = gate_results([first, second], limits)
    assert [result.name for result in results] == [
        f"{name} (rank {rank}, device {rank})" for rank in (0, 1) for name in ("mfu", "step-time", "idle")
    ]
    assert [result.ok for result in results] == [False, True, False, True, True, False]
    assert results[0].message == "rank 0, device 0: MFU 28.1 % is under the limit of 28.3 %"


def test_reports_that_nothing_tells_apart_are_numbered() -> None:
    sample = resnet()
    bare = replace(sample, device=replace(sample.device, index=None))
    names = [result.name for result in gate_results([bare, bare, sample], Limits(least_mfu=0.1))]
    assert names == ["mfu (report)", "mfu (report #2)", "mfu (device 0)"]


def test_without_a_report_every_limit_fails() -> None:
    results = gate_results([], Limits(least_mfu=0.1, most_loss={"idle": 0.1}))
    assert [(result.name, result.ok) for result in results] == [("mfu", False), ("idle", False)]
    assert results[0].message == "mfu: there is no report"


def test_no_limits_hold_nothing() -> None:
    assert not Limits() and gate_results([resnet()], Limits()) == ()
    assert Limits(least_mfu=0.1) and Limits(most_step_time_s=1) and Limits(most_loss={"copy": 0})


def test_the_names_of_causes_are_the_labels_of_the_report() -> None:
    for name, codes in CAUSES.items():
        if name != "idle":
            assert [cause_words(code)[0].replace(" ", "-") for code in codes] == [name]


def test_every_class_of_idle_time_and_every_loss_has_a_name() -> None:
    codes = {code for name in CAUSES for code in CAUSES[name]}
    assert codes | {"compute"} >= set(PARTS)
    assert CAUSES["idle"] == tuple(part for part in PARTS if part.startswith("idle_"))
    assert codes >= {row.cause for row in (*resnet().waterfall, *with_gain().waterfall)} - ENDS


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("data-loading", "data-loading"),
        ("idle_data_loading", "data-loading"),
        ("data_loading", "data-loading"),
        (" Data Loading ", "data-loading"),
        ("idle_host", "host-bound"),
        ("communication", "exposed-communication"),
        ("optimizer_matmul", "optimizer-matmuls"),
        ("IDLE", "idle"),
    ],
)
def test_a_cause_may_be_written_as_the_json_form_does(written: str, name: str) -> None:
    assert cause_name(written) == name


def test_an_unknown_cause_gets_the_nearest_names_and_all_of_them() -> None:
    with pytest.raises(OptionError, match="no cause is called 'dataloader'") as caught:
        cause_name("dataloader")
    assert caught.value.hints[0] == "did you mean: data-loading"
    assert all(name in caught.value.hints[-1] for name in CAUSES)


@pytest.mark.parametrize(
    "limits",
    [
        *({"least_mfu": value} for value in (0, 1, 35, -0.1, float("nan"), float("inf"))),
        *({"most_step_time_s": value} for value in (0, -1, float("nan"), float("inf"))),
        *({"most_loss": {"idle": value}} for value in (1, 5, -0.1, float("nan"))),
        {"most_loss": {"compute": 0.5}},
        {"most_loss": {"copy": 0.5, "exposed-copy": 0.1}},
    ],
)
def test_limits_that_all_or_none_can_keep_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Limits(**limits)


@given(
    value=st.floats(0.001, 0.999),
    limit=st.floats(0.001, 0.999),
    nearness=st.sampled_from([1.0, 1e-2, 1e-4, 1e-8]),
)
def test_a_message_never_shows_a_number_on_the_wrong_side_of_its_limit(
    value: float, limit: float, nearness: float
) -> None:
    value = limit + (value - limit) * nearness
    ok, message = said(replace(resnet(), mfu=value), Limits(least_mfu=limit))
    words = message.split()
    shown, allowed = float(words[1]), float(words[-2])
    assert ok == (value >= limit)
    assert shown >= allowed if ok else shown <= allowed
    assert shown == pytest.approx(100 * value, rel=0.006)
