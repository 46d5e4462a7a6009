"""``assert_mfu`` says in one failure what was asked, what was measured and what was lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mfu_profiler.errors import OptionError
from mfu_profiler.testing import assert_mfu
from tests.render.sample import HOSTILE_NAME, cpu, resnet, unknown_device


def message_of(report: Any, **limits: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_mfu(report, **limits)
    return str(caught.value)


@pytest.mark.parametrize(
    "limits",
    [
        {"at_least": 0.281},
        {"step_time_at_most_s": 0.1762},
        {"loss_at_most": {"data-loading": 0.326}},
        {"loss_at_most": {"idle_data_loading": 0.4, "recomputation": 0}},
        {"at_least": 0.2, "step_time_at_most_s": 0.2, "loss_at_most": {"idle": 0.5}},
    ],
)
def test_a_report_within_its_limits_raises_nothing(limits: dict[str, Any]) -> None:
    assert_mfu(resnet(), **limits)


def test_a_failure_names_the_limit_the_measurement_and_the_largest_losses() -> None:
    assert message_of(resnet(), at_least=0.35) == (
        "MFU 28.1 % is under the limit of 35 %\n"
        "  measured: MFU 28.1 %, step 176 ms, on Tesla V100-DGXS-32GB\n"
        "  lost first: data-loading 32.6 %, matmul-inefficiency 20.4 %, host-bound 9.3 %"
    )


def test_every_limit_that_is_not_kept_is_said_and_no_other() -> None:
    first = message_of(
        resnet(), at_least=0.2, step_time_at_most_s=0.12, loss_at_most={"idle": 0.4, "copy": 0.5}
    ).splitlines()[0]
    assert first == "step time 176 ms is over the limit of 120 ms; idle 42.7 % is over the limit of 40 %"


def test_what_is_unknown_fails_with_its_reason() -> None:
    text = message_of(unknown_device(), at_least=0.01)
    assert text.startswith('MFU is unknown (limit 1 %): no peak FLOP/s is known for "NVIDIA H100 80GB HBM4"')
    assert "measured: MFU unknown, step 176 ms, on NVIDIA H100 80GB HBM4" in text
    assert "lost first: data-loading 32.6 %, host-bound 9.3 %, exposed-copy 1.2 %" in text
    without = message_of(replace(cpu(), step_time_s=None), step_time_at_most_s=9, loss_at_most={"copy": 0.9})
    assert "the step time is unknown (limit 9 s): device activities are missing" in without
    assert "exposed-copy is unknown (limit 90 %): device activities are missing" in without
    assert "step of unknown length, on cpu\n  lost first: unknown, device activities are missing" in without


def test_a_run_without_a_report_fails_and_says_where_to_look() -> None:
    assert "there is no report" in message_of(None, at_least=0.1)
    assert "the log says why" in message_of(None, at_least=0.1)


def test_no_limit_is_a_mistake_and_so_is_nonsense() -> None:
    with pytest.raises(TypeError, match=r"needs a limit: at_least=0\.35"):
        assert_mfu(resnet())
    with pytest.raises(TypeError, match="needs a limit"):
        assert_mfu(None, loss_at_most={})
    with pytest.raises(OptionError, match="between 0 and 1, not 35"):
        assert_mfu(resnet(), at_least=35)
    with pytest.raises(OptionError, match="no cause is called 'dataloader'"):
        assert_mfu(resnet(), loss_at_most={"dataloader": 0.1})


def test_names_from_a_trace_are_inert_in_the_failure() -> None:
    sample = unknown_device()
    evil = replace(sample, mfu_unknown_because=HOSTILE_NAME, device=replace(sample.device, name=HOSTILE_NAME))
    text = message_of(evil, at_least=0.5)
    assert len(text.splitlines()) == 3 and text.count("\\x1b[31mred") == 2
    assert all(line.isprintable() for line in text.splitlines())
