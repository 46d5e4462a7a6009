"""Frozen trees of plain values as JSON, whatever a trace named in them."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

import msgspec

__all__ = ["plain_json"]


def plain_json(content: Any) -> str:
    """The fields, indented by 2, in ASCII, with a final newline.

    Args:
        content: a dataclass, or a dict or list of such. Unknown is ``null``, and so is what no JSON number
            can be.

    """
    return json.dumps(_finite(msgspec.to_builtins(content)), indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value
