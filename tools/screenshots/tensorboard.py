"""Pictures of TensorBoard for its page of the docs: two trainings, tracked and compared.

::

    python -m tools.screenshots.tensorboard [RUNS]

from the root of the repository, on a machine with nothing else to do: the trainings take half a minute.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.chromium import started_browser
from tests.tensorboard_server import started_tensorboard, wait_for
from tools.screenshots.runs import WORKERS, train_runs

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "assets" / "tensorboard"
PATIENCE_MS = 20_000
SETTLED_MS = 2_000
SLOW = "slow_loader"


def shoot_scalars(page: Any) -> None:
    """The tab "Time Series" with both runs, without its settings."""
    page.locator("scalar-card").first.wait_for()
    page.locator("button.settings-button").click()
    page.locator("metrics-tag-filter input").fill("mfu_profiler/(mfu|step_time)")
    page.wait_for_timeout(SETTLED_MS)  # cards move to their places
    page.keyboard.press("Tab")  # closes the list of tags
    assert page.locator("scalar-card").count() >= 2


def shoot_images(page: Any) -> None:
    """The waterfalls of both runs as large as they are."""
    page.get_by_text("Show actual image size").click()
    page.locator("tf-tag-filterer input").fill("waterfall")
    page.wait_for_function(
        """() => {
          const images = [];
          const walk = root => root.querySelectorAll("*").forEach(element => {
            if (element.tagName === "IMG") images.push(element);
            if (element.shadowRoot) walk(element.shadowRoot);
          });
          walk(document);
          return images.length >= 2 && images.every(image => image.naturalWidth > 0);
        }"""
    )


def shoot_text(page: Any) -> None:
    """The report of the run with the slow loader, which comes first."""
    page.get_by_text("Where the other").first.wait_for()


SHOTS: Mapping[str, tuple[str, tuple[int, int], Callable[[Any], None]]] = {
    "scalars": ("timeseries", (1100, 580), shoot_scalars),
    "images": ("images", (1180, 865), shoot_images),
    "text": ("text", (1400, 740), shoot_text),
}
"""Name of the file -> tab, size of the window, and what to do there."""


def wait_until_all_are_read(browser: Any, address: str, count: int) -> None:
    """Wait until TensorBoard knows the last file of so many runs."""
    page = browser.new_page()
    tags = f"{address}/data/plugin/images/tags"
    wait_for(lambda: len(page.request.get(tags).json()) == count, lambda: f"not {count} runs at {tags}")
    page.close()


def main() -> None:
    """Train unless there are runs already; start TensorBoard; write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("runs", nargs="?", type=Path, help="runs of an earlier call")
    given = parser.parse_args().runs
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        runs = given or Path(folder) / "runs"
        if not runs.is_dir():
            train_runs(runs)
        with started_tensorboard(runs, Path(folder)) as address, started_browser() as browser:
            wait_until_all_are_read(browser, address, count=len(WORKERS))
            for name, (tab, (width, height), prepare) in SHOTS.items():
                page = browser.new_page(viewport={"width": width, "height": height})
                page.set_default_timeout(PATIENCE_MS)
                page.goto(f"{address}/#{tab}")
                prepare(page)
                page.wait_for_timeout(SETTLED_MS)  # animations end
                page.screenshot(path=PICTURES / f"{name}.png")
                page.close()


if __name__ == "__main__":
    main()
