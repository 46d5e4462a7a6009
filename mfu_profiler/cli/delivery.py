"""What a command has found, to its files and its terminal, and the status that it ends with."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mfu_profiler.cli.limits import gate_status
from mfu_profiler.cli.output import Target, print_text, stdout_color, terminal_width, write_target
from mfu_profiler.errors import OptionError

if TYPE_CHECKING:
    from mfu_profiler.analysis.gate import GateResult

__all__ = ["delivered"]


def delivered(
    targets: Sequence[Target],
    rendered: Callable[[str], str],
    page: Callable[[bool, int], str],
    results: Sequence[GateResult] = (),
    *,
    force: bool,
) -> int:
    """Writes the files, prints the page unless one of them is stdout, and returns the gate's exit status.

    Files come first, since a reader of stdout may leave; one that fails does not cost the page. The gate's
    reasons come last.

    Args:
        targets: the outputs that are wanted.
        rendered: the text of a format.
        page: the text for the terminal, by whether it has colours and its width.
        results: of the gate, where there is one.
        force: whether to overwrite files.

    Raises:
        OptionError: a file could not be written; after everything else is done.

    """
    failure: OptionError | None = None
    for target in targets:
        try:
            write_target(target, rendered(target.format), force=force)
        except OptionError as error:
            failure = error
    if not any(target.is_stdout for target in targets):
        print_text(page(stdout_color(os.environ), terminal_width()))
    status = gate_status(results)
    if failure is not None:
        raise failure
    return status
