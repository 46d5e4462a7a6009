"""From which share of the step a cause is worth a reader's time, and from which size advice is given.

Every number has a source or a reason beside it; nothing else in the findings is tuned.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["LEAST_RECOVERED_FRACTION", "LEAST_SHARE"]

LEAST_RECOVERED_FRACTION = 0.03
"""Of the step: a fix that gives back less is not worth the work (as xprof's launch time, from 3 %)."""

LEAST_SHARE: Mapping[str, float] = MappingProxyType(
    {
        "data_loading": 0.05,  # xprof calls a step input-bound from 5 %
        "synchronization": 0.03,  # as launch time
        "host_bound": 0.05,  # as input: the device waits for the host here too
        "launch": 0.03,  # xprof: kernel launch time, from 3 %
        "communication": 0.05,  # torch-tb-profiler: 10 %; less is worth it where a replay says what it gives
        "copy": 0.03,  # as launch time: it is as easily hidden
        "garbage_collection": 0.03,  # these four: no less than what a fix must give back
        "allocator": 0.03,
        "compilation": 0.03,
        "host_stall": 0.03,
        "outside_the_model": 0.05,  # as input, which it often is
        "reading_back": 0.03,  # no less than what a fix must give back
        "optimizer": 0.05,  # a fused one still takes a third of it
        "attention": 0.05,  # a fused one still reads and writes queries, keys and values
        "layout": 0.03,  # no less than what a fix must give back
        "recomputation": 0.05,  # it buys memory, so a little of it is no fault
        "other_kernels": 0.15,  # a transformer in one compiled piece still has 10 to 15 % of them
        "clocks": 0.05,  # boards of one type differ by as much
        "alignment": 0.05,  # of the step in such products, of which padding saves a part
        "matmul": 0.10,  # what nobody can predict must at least be large
    }
)
"""Code of a finding -> share of the step."""
