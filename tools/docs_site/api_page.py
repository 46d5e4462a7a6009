"""The API page: what mkdocstrings is to show, by the lists of public names in the code."""

from __future__ import annotations

from importlib.util import find_spec

import mfu_profiler
from mfu_profiler import errors
from mfu_profiler.analysis import report
from mfu_profiler.capture import settings

__all__ = ["api_page"]

_HEAD = """\
# Python API

`import mfu_profiler` gives `track`, `Run`, `analyze`, `analyze_all`, `Report` and `MfuProfilerError`.
Reading traces needs no torch; `track` does. Of its defaults `WARMUP` is {warmup} steps, `TIMED` {timed} and
`ACTIVE` {active}.

"""
_FIRST = ("track", "Run", "analyze", "analyze_all")
_REPORT = "mfu_profiler.analysis.report"
_CONSTANTS = ("PARTS", "SCHEMA_VERSION", "Confidence")
_HIDDEN_BY_MODULES = {"analyze": "mfu_profiler.analysis.analyze.analyze"}
"""Functions that have the name of their module, which mkdocstrings would show instead."""


def api_page() -> str:
    """Sections: the functions, the report and its parts, errors, and test helpers where there are any."""
    public = [name for name in mfu_profiler.__all__ if name not in {*_FIRST, "Report", "__version__"}]
    parts = [name for name in report.__all__ if name not in {*_CONSTANTS, "Report"}]
    others = [name for name in errors.__all__ if name not in public]
    sections = {
        "Tracking and reading": [_public(name) for name in _FIRST],
        "The report": [_fields("mfu_profiler.Report"), *(_fields(f"{_REPORT}.{name}") for name in parts)],
        "Errors": [_public(name) for name in public]
        + [_shown(f"mfu_profiler.errors.{name}") for name in others],
    }
    if find_spec("mfu_profiler.testing") is not None:
        from mfu_profiler import testing

        sections["In tests"] = [_shown(f"mfu_profiler.testing.{name}") for name in testing.__all__]
    head = _HEAD.format(warmup=settings.WARMUP, timed=settings.TIMED, active=settings.ACTIVE)
    return head + "\n".join("\n".join([f"## {title}\n", *names]) for title, names in sections.items())


def _public(name: str) -> str:
    """The directive of a name of the package itself."""
    shown = f"mfu_profiler.{name}"
    home = _HIDDEN_BY_MODULES.get(name)
    if home is None:
        return _shown(shown)
    return (
        f'<a id="{shown}"></a>\n\n::: {home}\n    options:\n      heading: {shown}\n      toc_label: {name}\n'
    )


def _shown(path: str) -> str:
    return f"::: {path}\n"


def _fields(path: str) -> str:
    """A dataclass as the list of its fields: nobody calls its constructor."""
    return f"""\
::: {path}
    options:
      separate_signature: false
      show_attribute_values: false
      show_labels: false
      show_signature: false
"""
