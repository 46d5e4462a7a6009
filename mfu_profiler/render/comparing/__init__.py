"""What was found between runs, in words, on the terminal, as Markdown and as JSON."""

from __future__ import annotations

from mfu_profiler.render.comparing.markdown import render_comparison_markdown
from mfu_profiler.render.comparing.view import render_comparison, render_comparison_json

__all__ = ["render_comparison", "render_comparison_json", "render_comparison_markdown"]
