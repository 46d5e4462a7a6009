"""``track``: one line around a training loop, and the ``Run`` that it gives.

::

    with mfu_profiler.track(model) as run:      @mfu_profiler.track(model)      run = track(model).start()
        for batch in loader:                    def train(): ...                ...         # other cells
            train_step(batch)                                                   run.stop()
            log(mfu=run.mfu)
"""

from __future__ import annotations

import atexit
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar
from weakref import ref

from torch import nn
from torch.profiler import record_function

from mfu_profiler.analysis import Report
from mfu_profiler.capture import active as active_block
from mfu_profiler.capture.closing import closing_line
from mfu_profiler.capture.live_rate import LiveRate
from mfu_profiler.capture.messages import show, warn
from mfu_profiler.capture.session import Session
from mfu_profiler.capture.settings import ACTIVE, TIMED, WARMUP, ReportMode, Settings
from mfu_profiler.errors import OptionError
from mfu_profiler.hardware import Precision
from mfu_profiler.trace.host_calls import DATA_MARK

__all__ = ["Run", "track"]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def track(
    model: nn.Module | None = None,
    *,
    warmup: int = WARMUP,
    timed: int = TIMED,
    active: int = ACTIVE,
    out: str | os.PathLike[str] | None = None,
    report: ReportMode = "now",
    device: str | None = None,
    precision: Precision | None = None,
    peak_tflops: float | None = None,
    flop_per_step: float | None = None,
    with_stack: bool = False,
    profile_memory: bool = False,
    quiet: bool = False,
) -> Run:
    """Track the training in a ``with`` block, a decorated function, or between ``start()`` and ``stop()``.

    Args:
        model: the module that is trained; a step ends with the last step of an optimizer that holds its
            parameters. Without one, any optimizer's step ends a step.
        warmup: steps before anything is timed, after the first step and the counted one.
        timed: steps that are only timed; their median is the step time of the report.
        active: steps that are profiled.
        out: folder for the trace, and for TensorBoard scalars and text; the trace alone goes to
            ``mfu_traces`` where none is given.
        report: ``"now"``: a report as soon as the steps are profiled; ``"exit"``: at the end; ``"never"``.
        device: device name to use instead of the driver's, e.g. ``"NVIDIA H100 80GB HBM3"``.
        precision: reference precision (``"bf16"``, ...), instead of the one in which most FLOP ran.
        peak_tflops: dense peak in TFLOP/s, instead of the datasheet's or the measured one.
        flop_per_step: model FLOP of one step on this device, instead of a count.
        with_stack: record Python stacks: exact source lines, and a slower host.
        profile_memory: record allocations.
        quiet: print neither report nor closing line.

    Raises:
        OptionError: an argument makes no sense.
        UnknownDeviceError: no device has this name.

    """
    if model is not None and not isinstance(model, nn.Module):
        raise OptionError(
            f"model must be a torch.nn.Module, not {type(model).__name__}.", "with mfu_profiler.track(model):"
        )
    settings = Settings(
        warmup=warmup,
        timed=timed,
        active=active,
        out=os.fspath(out) if isinstance(out, os.PathLike) else out,
        report=report,
        device=device,
        precision=precision,
        peak_tflops=peak_tflops,
        flop_per_step=flop_per_step,
        with_stack=with_stack,
        profile_memory=profile_memory,
        quiet=quiet,
    )
    return Run(model, settings)


class Run:
    """One tracked block: live numbers while it runs, its report and trace afterwards."""

    def __init__(self, model: nn.Module | None, settings: Settings) -> None:
        self._model: Callable[[], nn.Module | None] = lambda: model
        """Until the block is over; then only while somebody else keeps it."""
        self._settings = settings
        self._session: Session | None = None
        self._is_open = False
        self._process = 0
        """Id of the process that started it."""

    # The block ----------------------------------------------------------------------------------

    def start(self) -> Run:
        """Begin to track; for notebooks, where a ``with`` cannot span cells. Returns itself."""
        if self._is_open:
            warn("this run has started already")
            return self
        if not active_block.acquire(self):
            warn("another block of this process is tracked already; this one is not")
            return self
        self._is_open, self._process = True, os.getpid()
        atexit.register(self._close, None)  # a profiler that is left running crashes the exit (torch 2.13)
        try:
            self._session = Session(self._model(), self._settings)
            self._session.open()
        except Exception as error:  # whatever it is, it is not the training's fault
            warn("nothing is tracked: %s: %s", type(error).__name__, error)
        return self

    def stop(self) -> None:
        """End tracking: waits for the report and prints one closing line."""
        self._close(None)

    def __enter__(self) -> Run:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(kind.__name__ if kind is not None else None)

    def __call__(self, function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        """As a decorator: each call of the function is a run of its own."""

        @wraps(function)
        def tracked(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
            with Run(self._model(), self._settings):
                return function(*args, **kwargs)

        return tracked

    def give_way(self) -> None:
        """Another block of this process wants to track. This one goes on, so that one will not."""

    def _close(self, ended: str | None, *, is_quiet: bool = False) -> None:
        if not self._is_open or os.getpid() != self._process:  # a forked child's parent has it
            return
        self._is_open = False
        atexit.unregister(self._close)
        try:
            if self._session is not None:
                self._session.close(ended)
                if self._session.course.is_shown and not is_quiet:
                    show(closing_line(self._session.course))
        except Exception as error:  # ours; the training is over, and its own exception goes on
            warn("the run could not be closed: %s: %s", type(error).__name__, error)
        finally:
            active_block.release(self)
            model = self._model()
            if model is not None:
                self._model = ref(model)

    # What the user may say ----------------------------------------------------------------------

    def step(self) -> None:
        """Say that a step ends here; from the first use on, nothing else ends one."""
        if self._session is not None:
            self._session.step()

    def data(self, batches: Iterable[Any] | None = None) -> _Data:
        """Mark the wait for data of a loader that records no event of its own.

        ``with run.data(): batch = next(source)``, or ``for batch in run.data(source): ...``
        """
        return _Data(batches)

    # Live numbers -------------------------------------------------------------------------------

    @property
    def step_time_s(self) -> float:
        """Mean time of the last whole steps (ten, and ten seconds), the device's where known; NaN before."""
        return self._live(lambda rate: rate.step_time_s, math.nan)

    @property
    def mfu(self) -> float:
        """Model FLOP / (``step_time_s`` x peak), 0 to 1; NaN while one of them is unknown."""
        return self._live(lambda rate: rate.mfu, math.nan)

    @property
    def hfu(self) -> float:
        """The same of all FLOP that are executed, recomputation and optimizer included."""
        return self._live(lambda rate: rate.hfu, math.nan)

    def metrics(self) -> dict[str, float]:
        """The run so far as a flat dict for a logger; what is not known yet is left out."""
        return self._live(LiveRate.metrics, {})

    def _live(self, read: Callable[[LiveRate], _Result], unknown: _Result) -> _Result:
        return unknown if self._session is None else self._session.ask(lambda course: read(LiveRate(course)))

    # Afterwards ---------------------------------------------------------------------------------

    @property
    def report(self) -> Report | None:
        """The report of the trace, waiting for it if it is on its way.

        None before the steps are profiled, and where no report could be made (the log says why).
        """
        outcome = self._session.course.outcome if self._session is not None else None
        return outcome.report if outcome is not None else None

    @property
    def trace_path(self) -> Path | None:
        """The trace file, once it is written; None before, and where none could be written."""
        outcome = self._session.course.outcome if self._session is not None else None
        return outcome.trace_path if outcome is not None else None


class _Data(AbstractContextManager[None]):
    """A stretch in which the training waits for data: a ``with`` block, or each ``next`` of an iterable."""

    def __init__(self, batches: Iterable[Any] | None) -> None:
        self._batches = batches
        self._mark: record_function | None = None

    def __enter__(self) -> None:
        self._mark = record_function(DATA_MARK)
        self._mark.__enter__()  # type: ignore[no-untyped-call]  # torch does not type it

    def __exit__(self, *error: object) -> None:
        if self._mark is not None:
            mark, self._mark = self._mark, None
            mark.__exit__(None, None, None)

    def __iter__(self) -> Iterator[Any]:
        if self._batches is None:
            raise OptionError("run.data() needs something to iterate over.", "for batch in run.data(loader):")
        batches = iter(self._batches)
        while True:
            with record_function(DATA_MARK):
                try:
                    batch = next(batches)
                except StopIteration:
                    return
            yield batch
