"""Renews the README's pictures of the HTML report: ``python tools/screenshots/report_page.py TRACE``.

TRACE is PyTorch's sample ``resnet50_num_workers_0``, of which the README shows the report. Needs Playwright,
Pillow and Debian's chromium.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from mfu_profiler import analyze

ASSETS = Path(__file__).parents[2] / "docs" / "assets"
WIDTH = 1000
SHOWN_NAME = "resnet50.pt.trace.json.gz"
"""Instead of the path on the machine that takes the picture."""
_COLORS = 192
_MARGIN = 14


def main() -> None:
    """Takes both pictures."""
    report = analyze(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "report.html"
        file.write_text(report.to_html().replace(sys.argv[1], SHOWN_NAME), encoding="utf-8")
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": 1400})
        page.goto(file.as_uri())
        page.locator('[data-chart$="waterfall"] svg').wait_for()
        first_fix = page.locator(".fixes > li").first.bounding_box()
        assert first_fix is not None
        save(page, "report-page.png", 0, first_fix["y"] + first_fix["height"] + _MARGIN)
        chart = page.locator('[data-chart$="timeline"]')
        chart.scroll_into_view_if_needed()
        chart.locator("svg").wait_for()
        section = page.locator("section", has=chart).bounding_box()
        assert section is not None
        save(page, "report-timeline.png", section["y"] - _MARGIN, section["y"] + section["height"] + _MARGIN)
        browser.close()


def save(page: Page, name: str, top: float, bottom: float) -> None:
    """A strip of the page, with few colours, as a small file."""
    scroll = float(page.evaluate("() => scrollY"))
    clip = {"x": 0, "y": top + scroll, "width": WIDTH, "height": bottom - top}
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))
    ASSETS.mkdir(exist_ok=True)
    picture.convert("RGB").quantize(_COLORS).save(ASSETS / name, optimize=True)


if __name__ == "__main__":
    main()
