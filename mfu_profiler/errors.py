"""The error tree. Every error a user can meet derives from ``MfuProfilerError``.

::

    MfuProfilerError
    ├── TraceError              the input cannot be reported on
    │   ├── TraceNotFoundError  no such file, or a folder without traces
    │   ├── TraceFormatError    not JSON, not a trace, corrupt compression
    │   └── TraceTooLargeError  decompresses to more than the limit
    ├── SeveralReportsError     one report was asked for, the trace holds several
    ├── UnknownDeviceError      no peak is known for a device name
    └── OptionError             an option's value makes no sense

The command line catches them once, prints ``error: ...`` and exits with status 2.
"""

from __future__ import annotations

__all__ = [
    "MfuProfilerError",
    "OptionError",
    "SeveralReportsError",
    "TraceError",
    "TraceFormatError",
    "TraceNotFoundError",
    "TraceTooLargeError",
    "UnknownDeviceError",
]


class MfuProfilerError(Exception):
    """What happened, in one line, and below it what the user can type.

    Args:
        message: one line, without a trailing full stop being required.
        hints: further lines, each a way out; shown indented under the message.

    """

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.message = message
        self.hints = hints

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  {hint}" for hint in self.hints)])


class TraceError(MfuProfilerError):
    """The input cannot be reported on."""


class TraceNotFoundError(TraceError):
    """No such file, no permission, or a folder that holds no trace (or several)."""


class TraceFormatError(TraceError):
    """The bytes are not JSON, not a trace, or their compression is corrupt."""


class TraceTooLargeError(TraceError):
    """The decompressed trace is larger than the limit (``max_bytes``)."""


class SeveralReportsError(MfuProfilerError):
    """One report was asked for, but the trace holds several ranks or devices."""


class UnknownDeviceError(MfuProfilerError):
    """No peak is known for a device; carries the nearest known names as hints."""


class OptionError(MfuProfilerError):
    """An option's value makes no sense."""
