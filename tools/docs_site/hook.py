"""The hook of mkdocs.yml: adds the pages that are made from the code when the site is built."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:  # mkdocs loads this file by its path
    sys.path.insert(0, str(ROOT))

from tools.docs_site.pages import generated_pages  # noqa: E402 - after the path is set

__all__ = ["on_files"]


def on_files(files: Files, *, config: Any) -> Files:
    """Adds the generated pages to those under ``docs/``."""
    for path, text in generated_pages(ROOT).items():
        files.append(File.generated(config, path, content=text))
    return files
