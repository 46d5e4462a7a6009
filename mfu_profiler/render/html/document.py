"""A page in one file: templates, style, scripts and data, under a policy that forbids everything else.

Jinja escapes every text; the charts' data stand as JSON in which no ``<`` is left. The policy names the
digests of our own style sheet and scripts, so that nothing else runs even if a name got through.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["document", "frame"]

_FOLDER = files("mfu_profiler.render.html")
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""What could end a script element or open a comment in one; JSON reads the escapes back."""
_FRAME_HEIGHT = 900


def document(template: str, specs: Mapping[str, Any], **content: Any) -> str:
    """The page as text.

    Args:
        template: file under ``templates``.
        specs: chart specifications by the id of their element.
        content: what the template names.

    """
    # What is marked up is ours, from this package, or JSON that cannot leave its element.
    style, scripts = _asset("templates/report.css"), _scripts()
    return (
        _environment()
        .get_template(template)
        .render(
            policy=_policy(style, scripts),
            style=Markup(style),
            scripts=[Markup(script) for script in scripts],
            specs={name: Markup(_inert_json(spec)) for name, spec in specs.items()},
            **content,
        )
    )


def frame(page: str, title: str, height: int = _FRAME_HEIGHT) -> str:
    """A page inside another one, as in a notebook: shut off from it, and from everything else."""
    attributes = f'title="{Markup.escape(title)}" width="100%" height="{height}" style="border:0"'
    return f'<iframe sandbox="allow-scripts" {attributes} srcdoc="{Markup.escape(page)}"></iframe>'


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("mfu_profiler.render.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_with_units_kept,
    )


def _with_units_kept(value: Any) -> Any:
    """Text in which no line breaks before a percent sign; what is marked up already stays as it is."""
    return value.replace(" %", "\u00a0%") if type(value) is str else value


@lru_cache(maxsize=4)
def _asset(path: str) -> str:
    return _FOLDER.joinpath(path).read_text(encoding="utf-8")


def _scripts() -> list[str]:
    return [_asset("assets/vega.js"), _asset("templates/report.js")]


def _policy(style: str, scripts: list[str]) -> str:
    allowed = " ".join(_digest(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_digest(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@lru_cache(maxsize=4)
def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _inert_json(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    for character, escape in _UNSAFE.items():
        text = text.replace(character, escape)
    return text
