"""Bad arguments of ``track`` fail at entry, before training starts, in one clear line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import mfu_profiler
from mfu_profiler.capture.settings import Settings
from mfu_profiler.errors import OptionError, UnknownDeviceError

BAD: list[tuple[str, Any]] = [
    *(("warmup", value) for value in (-1, 1.5, True, "5", None, 10**9)),
    *(("timed", value) for value in (0, -3, 2.0)),
    *(("active", value) for value in (0, -1, 10**9)),
    *(("peak_tflops", value) for value in (0, -1, math.nan, math.inf, "989", True, 989e12)),
    *(("flop_per_step", value) for value in (0, -1.0, math.nan, math.inf, "6ND")),
    *(("report", value) for value in ("later", "", None, True)),
    *(("precision", value) for value in ("BF16", "float32", 16, "")),
    *((name, value) for name in ("with_stack", "profile_memory", "quiet") for value in (None, "yes")),
    *(("out", value) for value in ("", b"traces", "a\0b")),
    *(("device", value) for value in ("", 0, torch.device("cpu"))),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda value: repr(value))
def test_a_bad_argument_fails_at_entry_and_its_line_names_it(name: str, value: object) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(OptionError) as caught:
        mfu_profiler.track(**arguments)
    assert caught.value.message.startswith(f"{name} must be ")
    assert "\n" not in caught.value.message


def test_a_device_that_nobody_knows_fails_at_entry_with_names_that_are_near() -> None:
    with pytest.raises(UnknownDeviceError) as caught:
        mfu_profiler.track(device="H1000")
    assert "H1000" in caught.value.message and caught.value.hints


@pytest.mark.parametrize("out", [7, object()])
def test_a_folder_that_is_no_path_fails_at_entry(out: Any) -> None:
    with pytest.raises(OptionError, match=r"^out must be "):
        mfu_profiler.track(out=out)


def test_an_unknown_argument_fails_at_entry() -> None:
    arguments: dict[str, Any] = {"wait": 1}
    with pytest.raises(TypeError, match="wait"):
        mfu_profiler.track(**arguments)


def test_a_peak_in_flop_per_s_is_recognised_by_its_size() -> None:
    with pytest.raises(OptionError, match=r"up to 100000, not 9\.89e\+14"):
        mfu_profiler.track(peak_tflops=989e12)


@pytest.mark.parametrize("model", ["Gpt", torch.nn.Linear, [torch.nn.Linear(1, 1)], lambda: None])
def test_what_is_no_module_fails_at_entry_and_the_hint_shows_the_way(model: Any) -> None:
    with pytest.raises(OptionError, match=r"model must be a torch\.nn\.Module") as caught:
        mfu_profiler.track(model)
    assert caught.value.hints == ("with mfu_profiler.track(model):",)


def test_without_parentheses_it_is_no_decorator_and_says_so() -> None:
    decorator: Any = mfu_profiler.track
    with pytest.raises(OptionError, match="not function"):

        @decorator
        def train() -> None: ...


def test_nothing_is_done_at_entry(tmp_path: Path) -> None:
    mfu_profiler.track(torch.nn.Linear(1, 1), out=tmp_path / "traces")
    assert list(tmp_path.iterdir()) == []


def test_the_trace_keeps_what_the_report_needs_to_know() -> None:
    settings = Settings(peak_tflops=2.0, precision="bf16", out="x", quiet=True).to_json()
    assert settings == {
        "device": None,
        "peak_tflops": 2.0,
        "precision": "bf16",
        "flop_per_step": None,
        "warmup": 5,
        "timed": 15,
        "active": 5,
        "with_stack": False,
        "profile_memory": False,
    }
