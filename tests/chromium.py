"""Pages in a real browser: Debian's Chromium without a screen and without a network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

EXECUTABLES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
PATIENCE_MS = 20_000
"""For two cores that others use as well."""


def require_browser() -> str:
    """The path of Chromium; skips without it or Playwright, unless they are required."""
    path = next((found for name in EXECUTABLES if (found := shutil.which(name))), None)
    reason = None if path else "needs a browser:  apt install chromium"
    try:
        import playwright  # noqa: F401 - whether it is there
    except ImportError:
        reason = "needs Playwright:  pip install playwright"
    if reason is not None:
        if os.environ.get("MFU_PROFILER_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    assert path is not None
    return path


@contextmanager
def started_browser() -> Iterator[Any]:
    """A browser for many pages."""
    from playwright.sync_api import sync_playwright

    path = require_browser()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_QUIET)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Opened:
    """A page, and what it did that it should not."""

    page: Any
    url: str
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of its console, uncaught exceptions, and dialogs."""
    requests: list[str] = field(default_factory=list)
    """Everything it asked for but itself."""

    def overflow(self) -> int:
        """By how many pixels it scrolls sideways."""
        return int(
            self.page.evaluate(
                "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
        )

    def resize(self, width: int) -> None:
        self.page.set_viewport_size({"width": width, "height": 900})

    def count(self, selector: str) -> int:
        return int(self.page.locator(selector).count())

    def serious_violations(self) -> list[str]:
        """What axe-core calls serious or critical."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [
            f"{violation['id']}: {node['html'][:200]}"
            for violation in found
            for node in violation["nodes"]
            if violation["impact"] in ("serious", "critical")
        ]


@contextmanager
def opened(
    browser: Any, url: str, *, width: int = 1440, scheme: str = "light", is_offline: bool = True
) -> Iterator[Opened]:
    """A page in a context of its own."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=is_offline
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    result = Opened(page, url)
    page.on("console", lambda said: said.type in ("error", "warning") and result.complaints.append(said.text))
    page.on("pageerror", lambda error: result.complaints.append(str(error)))
    page.on("dialog", lambda dialog: result.complaints.append(dialog.message) or dialog.dismiss())
    page.on("request", lambda asked: asked.url != url and result.requests.append(asked.url))
    try:
        page.goto(url)
        yield result
    finally:
        context.close()


def opened_file(browser: Any, path: Path, **options: Any) -> Any:
    """``opened`` from ``file://``."""
    return opened(browser, path.as_uri(), **options)
