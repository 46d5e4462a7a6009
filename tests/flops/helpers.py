"""What the tests of this folder share: calls made by hand, by schema and from events."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mfu_profiler.flops import OpCall, OpCost, op_call, op_cost

Event = dict[str, Any]

_KEPT = frozenset(
    {
        "Concrete Inputs",
        "Input Dims",
        "Input Strides",
        "Input dims",
        "Input type",
        "Sequence number",
    }
)


def call(name: str, *dims: Any, dtype: str = "float", concrete: dict[int, str] | None = None) -> OpCall:
    """A call whose tensors all have one dtype; ``concrete`` gives scalars by argument index."""
    values = concrete or {}
    length = max(len(dims), *(index + 1 for index in values), 0)
    padded = [list(dims[index]) if index < len(dims) else [] for index in range(length)]
    made = op_call(
        name,
        padded,
        [dtype if shape else "" for shape in padded],
        [values.get(index, "") for index in range(length)] if concrete is not None else None,
    )
    assert made is not None
    return made


def flop(name: str, *dims: Any, concrete: dict[int, str] | None = None) -> int | None:
    """Model FLOP of such a call."""
    cost = op_cost(call(name, *dims, concrete=concrete))
    return None if cost is None else cost.model_flop


def executed(cost: OpCost | None) -> int | None:
    """What torch counts: model FLOP and what the op recomputes."""
    return None if cost is None else cost.model_flop + cost.recompute_flop


def event_call(event: Event, **related: Any) -> OpCall | None:
    """The call that a ``cpu_op`` event records."""
    args = event.get("args", {})
    dims = args.get("Input Dims", args.get("Input dims"))
    return op_call(
        event["name"], dims, args.get("Input type"), args.get("Concrete Inputs"),
        strides=args.get("Input Strides"), **related,
    )  # fmt: skip


def read_ops(path: Path) -> list[Event]:
    """The operator events of a trace, with those arguments that tests look at."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        trace = json.load(file)
    events = trace if isinstance(trace, list) else trace["traceEvents"]
    ops = [event for event in events if event.get("cat") in ("cpu_op", "Operator") and event["ph"] == "X"]
    for event in ops:
        event["args"] = {key: value for key, value in event.get("args", {}).items() if key in _KEPT}
    return ops


def innermost(events: Iterable[Event]) -> Iterator[Event]:
    """Events that enclose no other of these events on their thread.

    ::

        aten::linear  |--------|
        aten::addmm      |---|        <- innermost
    """
    threads: dict[Any, list[Event]] = defaultdict(list)
    for event in events:
        threads[event.get("pid"), event["tid"]].append(event)
    for thread in threads.values():
        thread.sort(key=lambda event: (event["ts"], -event["dur"]))
        for event, following in zip(thread, [*thread[1:], None], strict=True):
            if following is None or following["ts"] >= event["ts"] + event["dur"]:
                yield event


def innermost_costs(events: Iterable[Event]) -> list[tuple[Event, OpCost]]:
    """The events with a cost that enclose no other one with a cost: what may be summed."""
    costs = {}
    for event in events:
        made = event_call(event)
        cost = None if made is None else op_cost(made)
        if cost is not None:
            costs[id(event)] = (event, cost)
    return [costs[id(event)] for event in innermost(event for event, _ in costs.values())]
