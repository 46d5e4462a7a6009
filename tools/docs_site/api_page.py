"""The API page: what mkdocstrings is to show, by the lists of public names in the code."""

from __future__ import annotations

from importlib.util import find_spec

import mfu_profiler
from mfu_profiler import errors
from mfu_profiler.analysis import report

__all__ = ["api_page"]

_HEAD = """\
# Python API

`import mfu_profiler` gives `track`, `Run`, `analyze`, `analyze_all`, `Report` and `MfuProfilerError`.
Reading traces needs no torch; `track` does.

"""
_FIRST = ("track", "Run", "analyze", "analyze_all")
_CONSTANTS = ("PARTS", "SCHEMA_VERSION", "Confidence")


def api_page() -> str:
    """Sections: the functions, the report and its parts, errors, and test helpers where there are any."""
    public = [name for name in mfu_profiler.__all__ if name not in {*_FIRST, "Report", "__version__"}]
    parts = [name for name in report.__all__ if name not in {*_CONSTANTS, "Report"}]
    others = [name for name in errors.__all__ if name not in public]
    sections = [
        ("Tracking and reading", [f"mfu_profiler.{name}" for name in _FIRST]),
        ("The report", ["mfu_profiler.Report", *(f"mfu_profiler.analysis.report.{name}" for name in parts)]),
        (
            "Errors",
            [f"mfu_profiler.{name}" for name in public] + [f"mfu_profiler.errors.{n}" for n in others],
        ),
    ]
    if find_spec("mfu_profiler.testing") is not None:
        sections.append(("In tests", ["mfu_profiler.testing"]))
    return _HEAD + "\n".join(_section(title, names) for title, names in sections)


def _section(title: str, names: list[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"::: {name}\n" for name in names)
