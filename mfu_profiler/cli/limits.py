"""The gate's options: their text as ``Limits``, and the results as reasons on stderr and an exit status."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mfu_profiler.cli.output import print_failures, print_notes
from mfu_profiler.errors import OptionError

if TYPE_CHECKING:
    from mfu_profiler.analysis.gate import GateResult, Limits

__all__ = ["FAILED", "fraction_of", "gate_status", "limits_of", "seconds_of"]

FAILED = 1
_SUSPECT_S = 5.0
"""A longer step time without a unit was meant in ms."""
"""Exit status where a limit is not kept."""

_MFU, _STEP_TIME, _LOSS = "--fail-under-mfu", "--fail-over-step-time", "--fail-on"
_EXAMPLES = {_MFU: "35%", _STEP_TIME: "120ms", _LOSS: "data-loading:5%"}
_QUANTITY = re.compile(r"([0-9]*\.?[0-9]+(?:e-?[0-9]{1,3})?)\s*(\S*)", re.IGNORECASE)
_PER_FRACTION = {"": 1.0, "%": 100.0}
_PER_SECOND = {"": 1.0, "s": 1.0, "ms": 1e3, "us": 1e6, "µs": 1e6, "μs": 1e6, "ns": 1e9}
"""Unit -> how many make one; micro is written in three ways."""


def limits_of(
    least_mfu: str | None, longest_step: str | None, losses: Sequence[str], junit: str | None
) -> Limits:
    """The limits that the options ask for; none is false.

    Args:
        least_mfu: of ``--fail-under-mfu``.
        longest_step: of ``--fail-over-step-time``.
        losses: of ``--fail-on``, each ``cause:fraction``.
        junit: of ``--junit``, which needs a limit.

    Raises:
        OptionError: what makes no sense.

    """
    from mfu_profiler.analysis.gate import Limits

    least = longest = None
    if least_mfu is not None:
        with _said_of(_MFU, least_mfu):
            least = Limits(least_mfu=fraction_of(least_mfu)).least_mfu
    if longest_step is not None:
        with _said_of(_STEP_TIME, longest_step):
            longest = Limits(most_step_time_s=seconds_of(longest_step)).most_step_time_s
    limits = Limits(least, longest, _losses(losses))
    if junit is not None and not limits:
        raise OptionError("--junit has nothing to say without a limit", *_examples("give one:  "))
    return limits


def _losses(texts: Sequence[str]) -> dict[str, float]:
    from mfu_profiler.analysis.gate import Limits

    losses: dict[str, float] = {}
    for text in texts:
        with _said_of(_LOSS, text):
            cause, colon, most = text.rpartition(":")
            if not colon:
                raise OptionError("a cause and a limit are wanted, cause:limit")
            [(name, fraction)] = Limits(most_loss={cause: fraction_of(most)}).most_loss.items()
            if name in losses:
                raise OptionError(f"there is a limit for {name} already")
            losses[name] = fraction
    return losses


def fraction_of(text: str) -> float:
    """``0.35`` or ``35%`` -> 0.35.

    Raises:
        OptionError: it is neither.

    """
    return _quantity(text, _PER_FRACTION, "a fraction such as 0.05 or a percentage such as 5%")


def seconds_of(text: str) -> float:
    """``0.12``, ``0.12s`` or ``120ms`` -> 0.12.

    Raises:
        OptionError: it is no time.

    """
    found = _quantity(text, _PER_SECOND, "seconds such as 0.12, or a time such as 120ms")
    if text.strip()[-1:].isdigit() and _SUSPECT_S <= found < math.inf:
        raise OptionError(f"{found:g} without a unit is {found:g} seconds; give it one")
    return found


def _quantity(text: str, per_unit: dict[str, float], wanted: str) -> float:
    found = _QUANTITY.fullmatch(text.strip())
    if found is None or found[2] not in per_unit:
        raise OptionError(f"not {wanted}")
    return float(found[1]) / per_unit[found[2]]


@contextmanager
def _said_of(option: str, text: str) -> Iterator[None]:
    """An error names the option, what it was given, and an example of what to type."""
    try:
        yield
    except OptionError as error:
        hints = [hint for hint in error.hints if hint.startswith(("causes:", "did you mean:"))]
        raise OptionError(f"{option} {text}: {error.message}", *hints, *_examples("try:  ", option)) from None


def _examples(lead: str, *options: str) -> list[str]:
    return [f"{lead}{option} {_EXAMPLES[option]}" for option in options or _EXAMPLES]


def gate_status(results: Sequence[GateResult]) -> int:
    """Says why on stderr, a line a limit, and returns the exit status: ``FAILED`` unless all are kept."""
    failures = [result.message for result in results if not result.ok]
    print_failures(failures)
    print_notes([result.message for result in results if result.ok and result.is_doubtful])
    return FAILED if failures else 0
