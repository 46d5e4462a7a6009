"""Measured ceilings are kept between runs; a cache that is broken in any way is no cache, never an error."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from mfu_profiler.hardware import ceilings
from mfu_profiler.hardware.ceilings import (
    Ceiling,
    CeilingKey,
    measuring_alone,
    read_ceiling,
    write_ceiling,
)

KEY = CeilingKey("AMD EPYC AVX512", "2.13.0+cpu", 2)
CEILING = Ceiling({"fp32": 9.7e10, "bf16": 4e10}, "2 threads, matmul 1024", ("bf16 is emulated",), 1.8e9)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "mfu_profiler" / "ceilings.json"


def test_what_was_written_is_read_back(cache: Path) -> None:
    assert read_ceiling(KEY) is None
    assert write_ceiling(KEY, CEILING)
    assert read_ceiling(KEY) == CEILING
    assert [path.name for path in cache.parent.iterdir()] == ["ceilings.json"]


def test_a_trace_holds_rates_detail_and_notes() -> None:
    assert CEILING.to_json() == {
        "flop_per_s": {"fp32": 9.7e10, "bf16": 4e10},
        "detail": "2 threads, matmul 1024",
        "notes": ["bf16 is emulated"],
    }


@pytest.mark.parametrize(
    "other",
    [
        CeilingKey("AMD EPYC AVX2", "2.13.0+cpu", 2),
        CeilingKey("AMD EPYC AVX512", "2.12.0+cpu", 2),
        CeilingKey("AMD EPYC AVX512", "2.13.0+cpu", 1),
        CeilingKey("AMD EPYC AVX512", "2.13.0+cpu", 2, "bf16 for fp32"),
    ],
)
def test_another_cpu_torch_thread_count_or_setting_has_its_own_entry(cache: Path, other: CeilingKey) -> None:
    mine = Ceiling({"fp32": 1e9}, "", (), 0.0)
    assert write_ceiling(KEY, CEILING) and read_ceiling(other) is None
    assert write_ceiling(other, mine)
    assert (read_ceiling(KEY), read_ceiling(other)) == (CEILING, mine)


def test_a_new_measurement_replaces_the_old(cache: Path) -> None:
    newer = Ceiling({"fp32": 1e9}, "", (), 1.9e9)
    assert write_ceiling(KEY, CEILING) and write_ceiling(KEY, newer)
    assert read_ceiling(KEY) == newer


def test_a_rate_from_a_busy_machine_holds_for_an_hour(cache: Path) -> None:
    now = time.time()
    fresh, old = (Ceiling({"fp32": 1e9}, "", (), now - age, is_settled=False) for age in (3_500, 3_700))
    assert write_ceiling(KEY, fresh) and read_ceiling(KEY) == fresh
    assert write_ceiling(KEY, old) and read_ceiling(KEY) is None


def test_only_the_newest_100_are_kept(cache: Path) -> None:
    keys = [CeilingKey("CPU", "2.13", threads) for threads in range(1, 102)]
    for key in keys:
        assert write_ceiling(key, CEILING)
    assert [read_ceiling(key) is not None for key in keys] == [False] + 100 * [True]


def entry(**changes: object) -> str:
    """A file with one entry that would be right without the changes."""
    right = {"flop_per_s": {"fp32": 1e9}, "detail": "", "notes": [], "measured_at_s": 1.8e9}
    return json.dumps({"version": 1, "ceilings": {KEY.text: {**right, **changes}}})


def test_the_entry_that_the_next_test_breaks_is_right(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text(entry())
    assert read_ceiling(KEY) == Ceiling({"fp32": 1e9}, "", (), 1.8e9)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "\x00\xff",
        "[" * 100_000,
        '{"version": 2, "ceilings": {}}',
        '{"version": 1, "ceilings": []}',
        json.dumps({"version": 1, "ceilings": {KEY.text: None}}),
        entry(flop_per_s={}),
        entry(flop_per_s={"fp32": 0}),
        entry(flop_per_s={"fp32": -1.0}),
        entry(flop_per_s={"fp32": True}),
        entry(flop_per_s={"fp32": "1e9"}),
        entry(flop_per_s={"fp33": 1e9}),
        entry(flop_per_s={"fp32": float("nan")}),
        entry(flop_per_s={"fp32": 10**400}),
        entry(detail=None),
        entry(notes="none"),
        entry(measured_at_s=1e300),
        entry(is_settled="no"),
        entry() + " " * 1_000_000,
    ],
    ids=lambda content: content[:60],
)
def test_a_corrupt_or_foreign_file_is_no_cache_and_is_replaced(cache: Path, content: str) -> None:
    cache.parent.mkdir()
    cache.write_text(content, encoding="latin-1")
    assert read_ceiling(KEY) is None
    assert write_ceiling(KEY, CEILING)
    assert read_ceiling(KEY) == CEILING


def test_a_broken_entry_costs_no_other(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text(entry(detail=None))
    other = CeilingKey("CPU", "2.13", 1)
    assert write_ceiling(other, CEILING)
    assert (read_ceiling(KEY), read_ceiling(other)) == (None, CEILING)


def test_a_folder_or_a_pipe_in_place_of_the_file_is_no_cache(cache: Path) -> None:
    cache.mkdir(parents=True)
    assert read_ceiling(KEY) is None and not write_ceiling(KEY, CEILING)
    assert [path.name for path in cache.parent.iterdir()] == ["ceilings.json"]
    cache.rmdir()
    os.mkfifo(cache)
    assert read_ceiling(KEY) is None  # and does not wait for a writer


def test_a_place_that_cannot_be_written_is_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "file"
    place.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))  # a file: no folder can be made in it
    assert read_ceiling(KEY) is None and not write_ceiling(KEY, CEILING)
    with measuring_alone():
        pass


def test_a_full_disk_keeps_the_old_file_and_leaves_no_temporary_one(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert write_ceiling(KEY, CEILING)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert not write_ceiling(KEY, Ceiling({"fp32": 1.0}, "", (), 0.0))
    assert read_ceiling(KEY) == CEILING
    assert [path.name for path in cache.parent.iterdir()] == ["ceilings.json"]


@pytest.mark.parametrize("rates", [{}, {"fp32": 0.0}, {"fp32": float("nan")}, {"fp32": float("inf")}])
def test_what_is_no_rate_is_not_kept(cache: Path, rates: dict[str, float]) -> None:
    assert not write_ceiling(KEY, Ceiling(rates, "", (), 0.0))  # type: ignore[arg-type]
    assert not cache.exists()


def test_the_default_place_is_under_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert write_ceiling(KEY, CEILING)
    assert (tmp_path / ".cache" / "mfu_profiler" / "ceilings.json").is_file()


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does for an unknown user id
    for home in (None, ""):
        if home is None:
            monkeypatch.delenv("HOME", raising=False)
        else:
            monkeypatch.setenv("HOME", home)
        assert read_ceiling(KEY) is None and not write_ceiling(KEY, CEILING)
        with measuring_alone():
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks on Windows")
def test_one_measures_while_the_other_waits(cache: Path) -> None:
    events: list[str] = []
    inside = threading.Event()

    def other() -> None:
        assert inside.wait(5)
        events.append("asks")
        with measuring_alone():
            events.append("measures")

    thread = threading.Thread(target=other)
    thread.start()
    with measuring_alone():
        inside.set()
        while "asks" not in events:
            time.sleep(0.001)
        thread.join(0.1)
        assert thread.is_alive()
        events.append("done")
    thread.join(5)
    assert events == ["asks", "done", "measures"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks on Windows")
def test_waiting_for_a_lock_that_is_never_released_ends(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "_PATIENCE_S", 0.1)
    with measuring_alone(), measuring_alone():
        assert write_ceiling(KEY, CEILING)
