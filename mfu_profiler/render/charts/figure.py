"""A chart as a Vega-Lite specification: one definition for the page, notebooks and image files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mfu_profiler.errors import OptionError

__all__ = ["Figure", "Spec"]

Spec = dict[str, Any]
"""A part of a Vega-Lite specification: plain JSON values."""

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
"""Names the dialect; nothing fetches it."""
IMAGE_CONFIG: Mapping[str, Any] = {
    "background": "white",
    "font": "DejaVu Sans, Helvetica, Arial, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": "#e3e6ea",
        "labelLimit": 170,
    },
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "columns": 4},
}
"""How image files look; a page has its style sheet."""
_VEGA_LITE = "6.4"
"""The version in ``assets/vega.js``, of those that the image converter knows."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One chart of a report."""

    name: str
    """``waterfall``, ``steps``, ``timeline``, ``roofline``, ``modules``, ``hardware`` or ``difference``."""
    title: str
    caption: str
    """What is to be seen, in words; also what a screen reader says."""
    spec: Spec
    """Vega-Lite, with its data; ``$schema`` and size included."""

    def to_svg(self) -> str:
        """As SVG text.

        Raises:
            OptionError: the package ``vl-convert-python`` is not installed.

        """
        text: str = _converter().vegalite_to_svg(self.spec, vl_version=_VEGA_LITE, config=dict(IMAGE_CONFIG))
        return text

    def to_png(self, scale: float = 2.0) -> bytes:
        """As the content of a PNG file.

        Args:
            scale: pixels per unit of the specification's width.

        Raises:
            OptionError: the package ``vl-convert-python`` is not installed.

        """
        content: bytes = _converter().vegalite_to_png(
            self.spec, vl_version=_VEGA_LITE, config=dict(IMAGE_CONFIG), scale=scale
        )
        return content

    def _repr_html_(self) -> str:
        """The chart in a notebook, tooltips and zoom included."""
        from mfu_profiler.render.html import figure_frame

        return figure_frame(self)


def _converter() -> Any:
    try:
        import vl_convert
    except ImportError as error:
        raise OptionError(
            'images need the package "vl-convert-python".', 'install it:  pip install "mfu-profiler[images]"'
        ) from error
    return vl_convert
