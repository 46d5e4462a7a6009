"""A script or module as ``__main__``, tracked from the moment it has imported torch.

The script sees what it would see without us: ``sys.argv``, ``__main__``, ``sys.path``, and a process in which
neither torch nor numpy is imported before it says so: both read the environment (threads, devices) at that
moment, and a script may set it first. Output, exit status and tracebacks are its own; our words go to stderr.
"""

from __future__ import annotations

import builtins
import importlib.util
import io
import os
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, SourceFileLoader
from typing import TYPE_CHECKING, Any

from mfu_profiler.cli.after_import import AfterImport
from mfu_profiler.cli.output import print_error
from mfu_profiler.cli.tracebacks import without_our_frames

if TYPE_CHECKING:
    from mfu_profiler.capture.script_run import ScriptRun

__all__ = ["Script"]


@dataclass(frozen=True, slots=True)
class Script:
    """A script or module to run as ``__main__`` under ``track``."""

    words: tuple[str, ...]
    """Its ``sys.argv``; the first is the path or the module's name."""
    is_module: bool
    settings: dict[str, Any] = field(default_factory=dict)
    """Arguments of ``track``."""

    def __call__(self) -> int:
        """Run it: returns 0, and what the script raises passes, ``SystemExit`` included.

        The interpreter then does what it does after any script: a traceback, ``atexit``, death by Ctrl-C.
        """
        try:
            execute = self._module() if self.is_module else self._file()
            tracking = _Tracking(self.settings)
            tracking.begin()
            try:
                execute()
            finally:
                tracking.end(sys.exc_info()[1])
        except SystemExit:
            raise
        except BaseException:
            _show_without_our_frames(is_module=self.is_module)
            raise
        return 0

    def _file(self) -> Callable[[], object]:
        """Compiles it first: a syntax error needs no tracking."""
        path, sys.argv = self.words[0], list(self.words)
        whole = _whole_path(path)
        _set_first_path(os.path.dirname(os.path.realpath(path)))
        source = _read(whole)
        main = _new_main(file=whole, loader=SourceFileLoader("__main__", whole))
        code = compile(source, whole, "exec", dont_inherit=True)
        return lambda: exec(code, main.__dict__)

    def _module(self) -> Callable[[], object]:
        _set_first_path(os.getcwd())
        sys.argv = ["-m", *self.words[1:]]  # while it is looked for, as python -m does
        spec = _find_module(self.words[0])
        code = spec.loader.get_code(spec.name)  # type: ignore[union-attr]  # _find_module looked
        assert code is not None and spec.origin is not None
        sys.argv[0] = spec.origin
        main = _new_main(file=spec.origin, loader=spec.loader, spec=spec)
        return lambda: exec(code, main.__dict__)


class _Tracking:
    """``track`` from the import of torch to the end of the script."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._torch = AfterImport("torch", self._start)
        self._run: ScriptRun | None = None

    def begin(self) -> None:
        """The script begins."""
        self._torch.start()

    def end(self, error: BaseException | None) -> None:
        """The script is over, by an exception or not: waits for the report."""
        self._torch.stop()
        if self._run is not None:
            is_normal = error is None or (isinstance(error, SystemExit) and not error.code)
            self._run.__exit__(None if is_normal or error is None else type(error), None, None)
        elif not self._settings["quiet"]:
            print("mfu_profiler: no step was seen: torch was never imported", file=sys.stderr)

    def _start(self) -> None:
        try:
            from mfu_profiler.capture.script_run import ScriptRun
            from mfu_profiler.capture.settings import Settings

            self._run = ScriptRun(None, Settings(**self._settings))
            self._run.start()
        except Exception as error:  # whatever it is, the script's import of torch has succeeded
            print_error(f"nothing is tracked: {type(error).__name__}: {error}")


def _read(path: str) -> bytes:
    """Raises: SystemExit: it cannot be read; one line says so, and the status is python's own."""
    try:
        with io.open_code(path) as file:
            return file.read()
    except OSError as error:
        print_error(f"can't open {path}: {error.strerror or error}")
        raise SystemExit(2) from error


def _new_main(*, file: str, loader: object, spec: ModuleSpec | None = None) -> types.ModuleType:
    """A ``__main__`` as the interpreter makes it, in the place of ours."""
    main = types.ModuleType("__main__")
    main.__dict__.update(
        __builtins__=builtins,
        __annotations__={},
        __file__=file,
        __cached__=spec.cached if spec is not None else None,
        __loader__=loader,
        __package__=spec.parent if spec is not None else None,
        __spec__=spec,
    )
    sys.modules["__main__"] = main
    return main


def _find_module(name: str) -> ModuleSpec:
    """What ``python -m name`` runs: the module, or the ``__main__`` of the package.

    Raises:
        SystemExit: there is none; one line says so, and the status is python's own.

    """
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name = f"{name}.__main__"
            spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise  # an import inside the package
        spec = None
    except ValueError:  # no spec: "__main__" itself
        spec = None
    if spec is None or not hasattr(spec.loader, "get_code"):
        print_error(f"No module named {name}")
        raise SystemExit(1)
    return spec


def _whole_path(path: str) -> str:
    """``__file__`` of a script: absolute, otherwise as it was given."""
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)


def _set_first_path(folder: str) -> None:
    """Where a script's own modules are found, unless python was told to look at no such place."""
    if not getattr(sys.flags, "safe_path", False) and not sys.flags.isolated:
        sys.path[0] = folder


def _show_without_our_frames(*, is_module: bool) -> None:
    """Let the script's own hook show its traceback as if we were not there."""
    hook = sys.excepthook

    def shows(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
        without_our_frames(error, keeps_runpy=is_module)
        hook(kind, error, error.__traceback__)

    sys.excepthook = shows
