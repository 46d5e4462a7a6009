"""The ``run`` command: an unchanged training script, tracked.

The script sees what it would see without us: ``sys.argv``, ``__main__``, ``sys.path``; its exit status, its output and its
tracebacks are its own. Our words go to stderr.
"""

from __future__ import annotations

import io
import os
import runpy
import signal
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, NoReturn

import typer

from mfu_profiler.errors import OptionError

__all__ = ["ReportWhen", "Script", "run"]


class ReportWhen(str, Enum):
    """When the report is made."""

    now = "now"
    exit = "exit"
    never = "never"


@dataclass(frozen=True, slots=True)
class Script:
    """A script or module to run as ``__main__`` under ``track``."""

    words: tuple[str, ...]
    """Its ``sys.argv``; the first is the path or the module's name."""
    is_module: bool
    settings: dict[str, Any] = field(default_factory=dict)
    """Arguments of ``track``."""

    def __call__(self) -> int:
        """Run it; returns its exit status. Never returns where a signal ends it."""
        from mfu_profiler.capture import track

        try:
            execute = self._module() if self.is_module else self._file()
            with track(**self.settings):
                execute()
        except SystemExit as leaving:
            return _exit_status(leaving)
        except KeyboardInterrupt as error:
            _show(error)
            _die_of_interrupt()
        except BaseException as error:
            _show(error)
            return 1
        return 0

    def _file(self) -> Callable[[], object]:
        """Compiles it first: a missing file or a syntax error needs no tracking."""
        path, sys.argv = self.words[0], list(self.words)
        with io.open_code(path) as file:
            source = file.read()
        sys.path[0] = os.path.dirname(os.path.realpath(path))
        main = types.ModuleType("__main__")
        main.__file__ = path
        main.__dict__["__builtins__"] = __builtins__
        sys.modules["__main__"] = main
        code = compile(source, path, "exec")
        return lambda: exec(code, main.__dict__)

    def _module(self) -> Callable[[], object]:
        sys.argv, sys.path[0] = list(self.words), os.getcwd()
        return lambda: runpy.run_module(self.words[0], run_name="__main__", alter_sys=True)


def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCRIPT [ARGS]...", help="A training script and its arguments."),
    ] = None,
    module: Annotated[
        str | None, typer.Option("-m", metavar="MODULE", help="Run a module, as python -m does.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Traces and TensorBoard files; default: mfu_traces.")
    ] = None,
    warmup: Annotated[int, typer.Option(metavar="N", help="Steps before anything is timed.")] = 5,
    timed: Annotated[int, typer.Option(metavar="N", help="Steps that are only timed.")] = 15,
    active: Annotated[int, typer.Option(metavar="N", help="Steps that are profiled.")] = 5,
    report: Annotated[ReportWhen, typer.Option(help="When to report.")] = ReportWhen.now,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Device name instead of the driver's.")
    ] = None,
    precision: Annotated[str | None, typer.Option(metavar="P", help="Precision of the peak.")] = None,
    peak_tflops: Annotated[float | None, typer.Option(metavar="X", help="Dense peak in TFLOP/s.")] = None,
    flop_per_step: Annotated[float | None, typer.Option(metavar="X", help="Model FLOP of a step.")] = None,
    with_stack: Annotated[bool, typer.Option("--with-stack", help="Record Python stacks.")] = False,
) -> Script:
    """Run an unchanged training script and report on it: run [OPTIONS] train.py ARGS..., or run -m package ARGS..."""
    rest = tuple(words or ())
    if module is None and not rest:
        raise OptionError("no script given", "try:  run train.py ARGS...", "or:   run -m package ARGS...")
    if module is None and not os.path.isfile(rest[0]):
        raise OptionError(f"can't open {rest[0]!r}: no such file", "the script comes after our own options")
    settings = {
        "out": out,
        "warmup": warmup,
        "timed": timed,
        "active": active,
        "report": report.value,
        "device": device,
        "precision": precision.lower() if precision else None,
        "peak_tflops": peak_tflops,
        "flop_per_step": flop_per_step,
        "with_stack": with_stack,
    }
    _check(settings)
    return Script(rest if module is None else (module, *rest), module is not None, settings)


def _check(settings: dict[str, Any]) -> None:
    """Bad options fail before the script runs, and so does a missing torch."""
    try:
        from mfu_profiler.capture.settings import Settings
    except ModuleNotFoundError as error:
        raise OptionError(f"run needs torch: {error}", "pip install torch") from error
    Settings(**settings)


def _exit_status(leaving: SystemExit) -> int:
    """As the interpreter does: None is 0, a number is itself, anything else is printed and 1."""
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code
    print(leaving.code, file=sys.stderr)
    return 1


def _show(error: BaseException) -> None:
    """The traceback without our frames, through the script's own hook."""
    trace = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)


def _is_ours(path: str) -> bool:
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return path.startswith(package + os.sep) or path == "<frozen runpy>"


def _die_of_interrupt() -> NoReturn:
    """As the interpreter does, so that a shell sees Ctrl-C."""
    sys.stdout.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    raise SystemExit(130)  # where the signal is blocked
