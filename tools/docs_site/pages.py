"""All generated pages of the site, by their paths under ``docs/``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tools.docs_site.api_page import api_page
from tools.docs_site.catalog_page import catalog_page
from tools.docs_site.cli_page import cli_page

__all__ = ["generated_pages"]


def generated_pages(root: Path) -> Mapping[str, str]:
    """Path -> Markdown.

    Args:
        root: of the repository; the changelog is read from it.

    """
    return {
        "reference/hardware.md": catalog_page(),
        "reference/cli.md": cli_page(),
        "reference/api.md": api_page(),
        "changelog.md": (root / "CHANGELOG.md").read_text(encoding="utf-8"),
    }
