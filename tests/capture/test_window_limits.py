"""What a profiled window may take, in time and memory, before it ends early; the report it then gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfu_profiler.capture.profile import recording
from mfu_profiler.capture.profile.host_memory import available_byte, resident_byte

from .training import QUICK, mlp_training, report_of, tracked

CUT = "the profiled window was cut short: "


@pytest.mark.parametrize(
    ("name", "limit", "because"),
    [
        ("LONGEST_WINDOW_NS", 0, "it had lasted a minute"),
        ("MOST_GROWTH_BYTE", -(2**40), "it had grown too large for the host's memory"),
    ],
)
def test_a_window_over_its_limit_ends_early_and_what_there_is_gets_reported(
    name: str, limit: int, because: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, name, limit)
    run = tracked(*mlp_training(), tmp_path, active=8, steps=20)
    report = report_of(run)
    assert CUT + because in report.notes
    assert run.metrics()["steps"] == 20
    assert len(report.windows) < 8


def test_a_window_within_its_limits_is_whole(tmp_path: Path) -> None:
    report = report_of(tracked(*mlp_training(), tmp_path))
    assert not [note for note in report.notes if note.startswith(CUT)]
    assert len(report.windows) == QUICK["active"]


def test_memory_is_known_on_linux() -> None:
    resident, available = resident_byte(), available_byte()
    if not Path("/proc/self/statm").exists():
        assert (resident, available) == (None, None)
        return
    assert resident is not None and available is not None
    held = b"x" * (64 * 2**20)
    grown = resident_byte()
    assert grown is not None and grown - resident >= 60 * 2**20 and len(held)
