"""Which process a thread belongs to, and which process drove a device, in files that hold several."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from mfu_profiler.trace.events import Number
from mfu_profiler.trace.properties import whole_number
from mfu_profiler.trace.timeline import KERNEL, Bool, Int32, Int64

__all__ = ["DeviceRows", "canonical_threads", "device_rows", "host_processes", "looked_up", "owners"]

Columns = dict[str, npt.NDArray[Any]]
Rows = npt.NDArray[np.intp]
DeviceRows = list[tuple[int, Rows]]
"""(device index, rows of the activity table), one for each device of each device process."""

_EARLIEST_NS = -1_000_000
_LATEST_NS = 10 * 10**9
"""An activity starts within this of its launch call; beyond it, the ids meet by chance."""


def canonical_threads(keys: list[tuple[Number, Number]]) -> tuple[Int32, tuple[str, ...], Int32]:
    """(Pid, tid) as read -> thread of each key, ``pid/tid`` of each thread, process of each thread.

    ``25738`` and ``"25738"`` are one thread.
    """
    threads: dict[tuple[str, str], int] = {}
    mapping = [threads.setdefault((str(pid), str(tid)), len(threads)) for pid, tid in keys]
    pids: dict[str, int] = {}
    processes = [pids.setdefault(pid, len(pids)) for pid, _ in threads]
    texts = tuple(f"{pid}/{tid}" for pid, tid in threads)
    return np.array(mapping, np.int32), texts, np.array(processes, np.int32)


def host_processes(tables: dict[str, Columns], processes: Int32) -> list[int]:
    """The processes that have a timeline of their own: those with ops, or else with calls, or else any.

    Where only one has ops, a second pid is the same process under another name (in a container, say).
    """
    for table in ("op", "call", "annotation", "python"):
        found: list[int] = np.unique(processes[tables[table]["thread"]]).tolist()
        if found:
            return found if table in ("op", "call") else found[:1]
    return [0]


def device_rows(keys: list[tuple[Number, Number, Number]], stream: Int32) -> DeviceRows:
    """Args: keys: (pid, device, stream) of each stream as read; stream: key of each activity."""
    groups: dict[tuple[str, int], int] = {}
    group_of_key = [
        groups.setdefault((str(pid), _device_index(device if device is not None else pid)), len(groups))
        for pid, device, _ in keys
    ]
    if not keys:
        return []
    group = np.array(group_of_key, np.int32)[stream]
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(len(groups) + 1))
    return [(index, order[ends[number] : ends[number + 1]]) for (_, index), number in groups.items()]


def _device_index(value: Number) -> int:
    """The device number; the 2020 format has it as the process id; 0 where none is said."""
    number = whole_number(value)
    if number is None:
        digits = re.search(r"\d{1,9}", str(value))
        number = int(digits[0]) if digits else 0
    return number


def owners(groups: DeviceRows, tables: dict[str, Columns], processes: Int32, hosts: list[int]) -> list[int]:
    """The process that drove each device.

    Files merged from several ranks repeat correlation ids, so an id alone names no process: the owner
    is the one whose calls join most activities sensibly (a copy joins no kernel launch, and
    nothing starts before its call). Where ranks run in lockstep even that is no proof; then it is the one
    whose shortest launch delay is closest to zero: another rank's is off by the skew between the two.
    """
    if len(hosts) == 1:
        return [hosts[0]] * len(groups)
    calls, activity = tables["call"], tables["activity"]
    candidates = [_sorted_calls(calls, processes, host) for host in hosts]
    result = []
    for _, rows in groups:
        fits = [_fit(activity, rows, calls, candidate) for candidate in candidates]
        most = max(count for count, _ in fits)
        near = [index for index, (count, _) in enumerate(fits) if count >= 0.95 * most]
        result.append(hosts[min(near, key=lambda index: fits[index][1])])
    return result


def _sorted_calls(calls: Columns, processes: Int32, host: int) -> Rows:
    own = np.flatnonzero((processes[calls["thread"]] == host) & calls["has_correlation"])
    return own[np.argsort(calls["correlation"][own], kind="stable")]


def _fit(activity: Columns, rows: Rows, calls: Columns, candidate: Rows) -> tuple[int, float]:
    """How many activities join the candidate's calls sensibly, and how far off zero the delay begins."""
    place, found = looked_up(
        calls["correlation"][candidate], activity["correlation"][rows], activity["has_correlation"][rows]
    )
    rows, call = rows[found], candidate[place[found]]
    delay = activity["start"][rows] - calls["start"][call]
    is_sensible = (delay > _EARLIEST_NS) & (delay < _LATEST_NS)
    is_sensible &= (activity["kind"][rows] != KERNEL) == calls["is_copy"][call]
    sensible = delay[is_sensible]
    return len(sensible), abs(float(np.percentile(sensible, 1))) if len(sensible) else 0.0


def looked_up(sorted_keys: Int64, keys: Int64, has_key: Bool) -> tuple[Int64, Bool]:
    """Positions of keys in a sorted column (0 where absent), and the mask of those found.

    Key 0 is "none": CUPTI's correlation ids begin with 1.
    """
    if not len(sorted_keys):
        return np.zeros(len(keys), np.int64), np.zeros(len(keys), np.bool_)
    place = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    found = has_key & (sorted_keys[place] == keys) & (keys != 0)
    return np.where(found, place, 0), found
