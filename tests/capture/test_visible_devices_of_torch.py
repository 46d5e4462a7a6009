"""CUDA_VISIBLE_DEVICES as torch reads it, whose own tests follow the driver."""

from __future__ import annotations

import os
import re
from unittest.mock import patch

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mfu_profiler.hardware.visible_devices import visible_entries

ENTRIES = st.one_of(
    st.integers(-2, 12).map(str),
    st.sampled_from(
        ["GPU-a", "GPU-ab", "MIG-1", "MIG-GPU-a/1/0", "", " ", "two", "1gpu2", "+3", "-0", " 4 "]
    ),
    st.text("0123456789+- GPUMIx", max_size=6),
)


@given(st.lists(ENTRIES, min_size=1, max_size=5).map(",".join))
@settings(deadline=None)
def test_entries_are_those_that_torch_reads(value: str) -> None:
    if torch.version.hip is not None or not hasattr(torch.cuda, "_parse_visible_devices"):
        pytest.skip("this torch reads the variable otherwise")
    # torch breaks on a sign without a number, where the driver ends the list.
    assume(not re.search(r"(^|,)\s*[+-](?![0-9])", value))
    with patch.dict(os.environ, {"CUDA_VISIBLE_DEVICES": value}):
        expected = torch.cuda._parse_visible_devices()
    assert visible_entries(value) == tuple(expected)
