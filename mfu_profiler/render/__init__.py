"""Pure renderers: ``render(reports) -> str``. No I/O; what a trace named is shown as inert text."""

from __future__ import annotations

from mfu_profiler.render.json import render_json
from mfu_profiler.render.markdown import render_markdown
from mfu_profiler.render.terminal import render_terminal

__all__ = ["render_json", "render_markdown", "render_terminal"]
