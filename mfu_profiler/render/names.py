"""Names from a trace as text that can be shown: inert, readable and short.

A trace is untrusted. A name may hold terminal escapes, newlines, marks that reverse the reading
direction, or ten kilobytes of C++ template arguments. ``visible`` makes the first harmless,
``short_name`` makes kernel names readable, ``fitted`` makes anything fit.

>>> shown_name("void at::native::elementwise_kernel<4, at::native::CUDAFunctor_add<float> >(int)", 60)
'elementwise_kernel<CUDAFunctor_add>'
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from rich.cells import cell_len

from mfu_profiler.kernel_names import short_kernel_name

__all__ = ["fitted", "fitted_names", "short_name", "shown_name", "shown_text", "visible"]

TEXT_LIMIT = 600
"""No single text of a report is shown longer than this, in cells."""
_LONGEST_NAME = 20_000
"""Characters looked at. Real kernel names stay under 10,000."""
_LEAST_HEAD = 8
"""Cells of a name's head that must stay for it to be recognised."""
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories: controls, formats (bidi, zero width), surrogates, private, unassigned, line breaks."""
_COMBINING = frozenset({"Mn", "Me"})
_MOST_COMBINING = 2
"""Marks on one letter that languages need; more of them climb over the neighbouring lines."""
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    r"""The text on one line, what does not print shown as an escape: ``\x1b``, ``\u202e``, ``\n``."""
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in _COMBINING else 0
        if category in _INVISIBLE or marks > _MOST_COMBINING:
            shown.append(_escaped(character))
        else:
            shown.append(" " if category == "Zs" else character)
    return "".join(shown)


@lru_cache(maxsize=4096)
def short_name(name: str) -> str:
    """A kernel name without return type, namespaces, arguments and most template arguments; visible."""
    return visible(short_kernel_name(name[:_LONGEST_NAME].strip()))


def shown_name(name: str, width: int) -> str:
    """A name from a trace as visible text of at most ``width`` cells that still says which kernel it is."""
    return _fitted_instance(short_name(name), width)


def shown_text(text: str, width: int = TEXT_LIMIT) -> str:
    """Prose that may quote names from a trace: visible and at most ``width`` cells."""
    return fitted(visible(text[: 4 * width]) if len(text) > 4 * width else visible(text), width)


def fitted(text: str, width: int) -> str:
    """The text cut in its middle to ``width`` cells; both ends of a name carry its meaning.

    Raises:
        ValueError: ``width`` is under 1.

    """
    if width < 1:
        raise ValueError(f"width must be at least 1, not {width}")
    if cell_len(text) <= width:
        return text
    tail = (width - 1) // 3
    start = _taken(text, width - 1 - tail)
    end = _taken(reversed(text), tail)[::-1]
    return f"{start}…{end}"


def fitted_names(names: Iterable[str], width: int) -> list[str]:
    """Names from ``short_name`` in at most ``width`` cells each; equal ones are told apart as ``name #2``."""
    seen: dict[str, int] = {}
    result: list[str] = []
    for name in names:
        shown = _fitted_instance(name, width)
        seen[shown] = seen.get(shown, 0) + 1
        suffix = f" #{seen[shown]}" if seen[shown] > 1 else ""
        result.append(_fitted_instance(name, max(1, width - len(suffix))) + suffix)
    return result


def _fitted_instance(name: str, width: int) -> str:
    """Like ``fitted``, but of ``head<instance>`` the head is cut first: the instance tells names apart."""
    head, opening, instance = name.partition("<")
    room = width - cell_len(opening + instance)
    if cell_len(name) <= width or not instance.endswith(">") or room < _LEAST_HEAD:
        return fitted(name, width)
    return f"{_taken(head, room - 1)}…{opening}{instance}"


def _escaped(character: str) -> str:
    code = ord(character)
    if character in _ESCAPES:
        return _ESCAPES[character]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _taken(characters: Iterable[str], width: int) -> str:
    """Leading characters that fit into ``width`` cells."""
    taken: list[str] = []
    used = 0
    for character in characters:
        used += cell_len(character)
        if used > width:
            break
        taken.append(character)
    return "".join(taken)
