"""Which op a device activity belongs to.

Activity -> launch (by correlation id, done by the reader) -> the innermost op that encloses the launch
on its thread. For FLOP it is the nearest such op that has a formula. ``External id`` serves only where
there is no launch record or no op around it: in 4 of 10 real traces it equals the correlation id and
names no op at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfu_profiler.trace.nesting import Nesting
from mfu_profiler.trace.timeline import Timeline

__all__ = ["Attribution", "attribution"]

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

TRUSTED_AGREEMENT = 0.5
"""External ids are used only if they name the op around the launch in more than this share of cases."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Rows of ``Timeline.ops`` for each activity, with masks; shape ``(activities,)`` each."""

    op: Int64
    """The innermost op, for names."""
    has_op: Bool
    cost_op: Int64
    """The nearest op with a formula and no op with a formula inside it, for FLOP."""
    has_cost_op: Bool
    nesting: Nesting
    """Of ``Timeline.ops``."""
    is_leaf_formula: Bool
    """Ops (not activities) that have a formula and enclose no other op that has."""


def attribution(timeline: Timeline, has_formula: Callable[[str], bool]) -> Attribution:
    """Join activities to ops.

    Args:
        timeline: one device's trace.
        has_formula: tells by name whether an op's FLOP can be computed.

    """
    ops, activities = timeline.ops, timeline.activities
    nesting = Nesting.of(ops)
    leaf = _leaf_formula_ops(timeline, nesting, has_formula)
    count = len(activities)
    op, has_op = np.zeros(count, np.int64), np.zeros(count, np.bool_)
    cost_op, has_cost_op = op.copy(), has_op.copy()
    launched = np.flatnonzero(activities.has_call)
    if len(launched):
        call = activities.call[launched]
        thread, time = timeline.calls.thread[call], timeline.calls.start_ns[call]
        op[launched], has_op[launched] = nesting.innermost(thread, time)
        cost_op[launched], has_cost_op[launched] = nesting.innermost(thread, time, among=leaf)
    missing = np.flatnonzero(~has_op)
    named, is_named = _ops_by_external_id(timeline, op, has_op)
    rows = missing[is_named[missing]]
    op[rows], has_op[rows] = named[rows], True
    above, has_above = nesting.parent_among(named[rows], leaf)
    own = leaf[named[rows]] if len(rows) else np.zeros(0, np.bool_)
    cost_op[rows] = np.where(own, named[rows], above)
    has_cost_op[rows] = own | has_above
    return Attribution(op, has_op, cost_op, has_cost_op, nesting, leaf)


def _leaf_formula_ops(timeline: Timeline, nesting: Nesting, has_formula: Callable[[str], bool]) -> Bool:
    """Ops with a formula that enclose no other such op.

    ``aten::linear`` has a formula, and so has the ``aten::addmm`` inside it: only one of them may count.
    For DTensors the inner op is the one with local shapes.
    """
    formula = timeline.by_name(timeline.ops.name, has_formula, np.bool_)
    above, has_above = nesting.parent_among(np.flatnonzero(formula), formula)
    formula = formula.copy()
    formula[above[has_above]] = False
    return formula


def _ops_by_external_id(timeline: Timeline, op: Int64, has_op: Bool) -> tuple[Int64, Bool]:
    """The op that each activity's (or its launch's) external id names, if external ids can be trusted."""
    ops, activities, calls = timeline.ops, timeline.activities, timeline.calls
    count = len(activities)
    rows = np.flatnonzero(ops.has_external_id)
    if not len(rows) or not count:
        return np.zeros(count, np.int64), np.zeros(count, np.bool_)
    external, has_external = (
        activities.external_id.copy(),
        activities.has_external_id & (activities.external_id != 0),
    )
    if len(calls):
        from_call = ~has_external & activities.has_call & calls.has_external_id[activities.call]
        external[from_call] = calls.external_id[activities.call[from_call]]
        has_external = has_external | from_call
    order = rows[np.argsort(ops.external_id[rows], kind="stable")]
    keys = ops.external_id[order]
    place = np.minimum(np.searchsorted(keys, external), len(keys) - 1)
    found = has_external & (keys[place] == external)
    named = np.where(found, order[place], 0)
    both = found & has_op
    if both.any() and np.mean(_same_or_inside(timeline, named[both], op[both])) <= TRUSTED_AGREEMENT:
        return np.zeros(count, np.int64), np.zeros(count, np.bool_)
    return named, found


def _same_or_inside(timeline: Timeline, named: Int64, op: Int64) -> Bool:
    """Whether the op named by an external id encloses (or is) the innermost op around the launch."""
    ops = timeline.ops
    inside = (ops.start_ns[named] <= ops.start_ns[op]) & (ops.end_ns[op] <= ops.end_ns[named])
    return np.asarray((ops.thread[named] == ops.thread[op]) & inside, np.bool_)
