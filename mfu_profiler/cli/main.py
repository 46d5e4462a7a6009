"""The entry point: commands in, exit status out. Errors are caught here and nowhere else.

====== =====================================================================================
status meaning
====== =====================================================================================
0      a report was made, also where the MFU is unknown; runs were compared
1      a limit of the gate is not kept: one ``failed: ...`` line each on stderr, after the report
2      wrong usage or an input that cannot be reported on: one ``error: ...`` line on stderr
70     a bug in mfu_profiler; ``MFU_PROFILER_DEBUG=1`` shows the traceback
130    interrupted by Ctrl-C
141    the reader of stdout went away (``| head``); silent, as the shell's own status for it
====== =====================================================================================

Nothing is imported here that costs time: ``--help`` needs neither numpy nor rich.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from mfu_profiler.cli.compare import compare
from mfu_profiler.cli.demo import demo
from mfu_profiler.cli.finish_live import finish_live
from mfu_profiler.cli.output import discard_stdout, print_error
from mfu_profiler.cli.peaks import peaks
from mfu_profiler.cli.report import report
from mfu_profiler.cli.run import run
from mfu_profiler.cli.script import Script
from mfu_profiler.cli.verify import verify
from mfu_profiler.errors import MfuProfilerError, OptionError
from mfu_profiler.version import __version__

__all__ = ["BROKEN_PIPE", "BUG", "INTERRUPTED", "OK", "USAGE", "app", "main"]

OK, USAGE, BUG, INTERRUPTED, BROKEN_PIPE = 0, 2, 70, 130, 141
_UsageError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
"""Typer raises its own or click's, depending on its version."""

EPILOG = """\b
Exit status: 0 a report was made, also where the MFU is unknown;
1 a limit (--fail-...) is not kept;
2 wrong usage or input; 70 a bug in mfu_profiler; 130 interrupted."""
GATE = "\n1 a limit (--fail-...) is not kept;"
COMPARED = "the runs were compared, whatever the error"

app = typer.Typer(
    name="mfu_profiler",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)
app.command(epilog=EPILOG)(report)
app.command(
    epilog=EPILOG.replace(GATE, "").replace("a report was made, also where the MFU is unknown", COMPARED)
)(verify)
app.command(
    epilog=EPILOG.replace("(--fail-...)", "(--max-regression)").replace(
        "a report was made, also where the MFU is unknown", "the runs were compared"
    )
)(compare)
app.command(epilog=EPILOG.replace(GATE, ""))(peaks)
app.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})(run)
app.command()(demo)
app.command("finish-live", hidden=True)(finish_live)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """How much of the machine a PyTorch training uses, where the rest goes, and what to change first."""
    if version:
        typer.echo(f"mfu_profiler {__version__}")
        raise typer.Exit(OK)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise OptionError("no command given", "try:  report trace.json.gz")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status; raises only what a script raises that ``run`` runs.

    Args:
        arguments: the words after the program's name; ``sys.argv[1:]`` by default.

    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _open_closed_streams()
    try:
        status = app(args=words, prog_name="mfu_profiler", standalone_mode=False)
    except MfuProfilerError as error:
        return _failed(error.message, *error.hints)
    except _UsageError as error:
        return _failed(*_usage_lines(error, words))
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # the second is what typer makes of the first
        discard_stdout()
        return BROKEN_PIPE
    except MemoryError:
        return _failed(
            "not enough memory for this trace", "a trace of fewer steps would fit; see also --max-bytes"
        )
    except OSError as error:
        return _failed(str(error))
    except Exception as error:  # what is caught nowhere above is our fault, and said to be
        return _bug(error)
    if isinstance(status, Script):
        return status()  # its exceptions and its exit status are its own
    return status if isinstance(status, int) else OK


def _open_closed_streams() -> None:
    """Python has None for a stream that was closed before it started (``2>&-``): write to nowhere."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - it lives as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as above


def _failed(message: str, *hints: str) -> int:
    print_error(message, *hints)
    return USAGE


def _usage_lines(error: Exception, words: Sequence[str]) -> list[str]:
    """What is wrong and where help is; a path in place of a command is a ``report`` left out."""
    message = (
        str(getattr(error, "format_message", lambda: error)()).removesuffix(".").replace("Value error, ", "")
    )
    if words and "No such command" in message and os.path.exists(words[0]):
        return [message, f"did you mean: report {words[0]}"]
    commands = {info.name or getattr(info.callback, "__name__", "") for info in app.registered_commands}
    command = next((f"{word} " for word in words if word in commands), "")
    return [message, f"help: python -m mfu_profiler {command}--help"]


def _bug(error: Exception) -> int:
    """Says that the fault is ours, and shows the traceback to whoever asks for it."""
    if os.environ.get("MFU_PROFILER_DEBUG"):
        import traceback

        traceback.print_exception(error)
    print_error(
        f"internal error, please report it: {type(error).__name__}: {error}",
        "MFU_PROFILER_DEBUG=1 in the environment shows the traceback",
    )
    return BUG
