"""Tracebacks of a script as if we were not there."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

__all__ = ["without_our_frames"]

_RUNS = "mfu_profiler.cli.script"
"""What runs the script. All before it is the interpreter's way to us."""
_BETWEEN = (
    "mfu_profiler.cli.after_import",
    "mfu_profiler.capture.observe.patch",
    "mfu_profiler.capture.flop.flop_counter",
    "mfu_profiler.capture.flop.op_counter",
    "mfu_profiler.capture.profile.recording",
)
"""Between the script and torch, while it is tracked. What the script calls itself (``track``) stays."""
_DISPATCH = ("torch._ops", "torch.utils._python_dispatch")
"""Of torch, and only there because a counting mode of ours is."""


def without_our_frames(error: BaseException, *, keeps_runpy: bool) -> None:
    """Takes our frames out of an exception, its causes, its contexts and the members of its group.

    Args:
        error: is changed.
        keeps_runpy: a module's traceback begins with frames of ``runpy`` without us, too.

    """
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = _bare(one.__traceback__, keeps_runpy=keeps_runpy)
        waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
        waiting += getattr(one, "exceptions", ())


def _bare(trace: TracebackType | None, *, keeps_runpy: bool) -> TracebackType | None:
    entries = list(_entries(trace))
    names = [str(entry.tb_frame.f_globals.get("__name__")) for entry in entries]
    start = len(names) - names[::-1].index(_RUNS) if _RUNS in names else 0
    result, follows_ours = None, False
    kept: list[TracebackType] = []
    for place, (name, entry) in enumerate(zip(names, entries, strict=True)):
        follows_ours = name in _BETWEEN or (follows_ours and name in _DISPATCH)
        is_of_script = place >= start and not follows_ours
        if is_of_script or (place < start and keeps_runpy and name == "runpy"):
            kept.append(entry)
    for entry in reversed(kept):
        result = TracebackType(result, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return result


def _entries(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next
