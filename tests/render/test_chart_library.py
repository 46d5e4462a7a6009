"""The chart library in the package is the one that its build names, and may stand inside a page."""

from __future__ import annotations

import json
import re
from importlib.metadata import version

from mfu_profiler.render.charts.figure import _VEGA_LITE, SCHEMA
from tests.conftest import REPOSITORY

ASSETS = REPOSITORY / "mfu_profiler" / "render" / "html" / "assets"
BUILD = REPOSITORY / "tools" / "charts"


def licensed() -> dict[str, str]:
    """Version of every package whose licence stands beside the bundle."""
    text = (ASSETS / "vega.LICENSE.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\S+) (\d+\.\d+\.\d+) \([\w .-]+\)$", text, re.MULTILINE))


def test_the_bundle_is_of_the_versions_that_its_build_asks_for() -> None:
    wanted = json.loads((BUILD / "package.json").read_text())["dependencies"]
    assert set(wanted) == {"vega", "vega-interpreter", "vega-lite"}
    assert {name: licensed()[name] for name in wanted} == wanted


def test_every_licensed_package_is_of_the_version_that_is_locked() -> None:
    locked = json.loads((BUILD / "package-lock.json").read_text())["packages"]
    found = licensed()
    assert len(found) > 40
    assert {name: locked[f"node_modules/{name}"]["version"] for name in found} == found


def test_the_bundle_holds_the_release_whose_licence_stands_beside_it() -> None:
    """Of the three only vega-lite carries its version in its code."""
    bundle = (ASSETS / "vega.js").read_text(encoding="utf-8")
    assert re.search(rf'="{re.escape(licensed()["vega-lite"])}",\w+={{version:\w+}}', bundle)


def test_every_package_has_the_text_of_its_licence() -> None:
    parts = (ASSETS / "vega.LICENSE.txt").read_text(encoding="utf-8").split("-" * 80)
    texts = [part for part in parts if part.strip()]
    assert len(texts) == len(licensed())
    for text in texts:
        assert "Copyright" in text or "copyright" in text, text.strip().split("\n")[0]


def test_the_bundle_cannot_end_its_script_element() -> None:
    bundle = (ASSETS / "vega.js").read_bytes()
    assert len(bundle) < 900_000
    assert b"</script" not in bundle.lower() and b"<!--" not in bundle
    assert b"\r" not in bundle, "a browser would read it as a newline, and the digest would be another"
    own = (ASSETS.parent / "templates" / "report.js").read_bytes()
    assert b"</script" not in own.lower() and b"<!--" not in own and b"\r" not in own


def test_images_and_pages_are_drawn_by_the_same_release() -> None:
    of_page = licensed()["vega-lite"]
    assert of_page.startswith(f"{_VEGA_LITE}.")
    assert SCHEMA.endswith(f"/v{of_page.split('.')[0]}.json")
    assert version("vl-convert-python")
