"""The event file of pictures, read back by TensorBoard's own readers."""

from __future__ import annotations

import re
import struct
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.analysis import analyze
from mfu_profiler.analysis.report import Report
from mfu_profiler.errors import OptionError
from mfu_profiler.render.charts import FIGURES
from mfu_profiler.render.tensorboard_images import IMAGES, render_tensorboard_images
from tests.conftest import REPOSITORY
from tests.hostile import hostile_trace
from tests.render.sample import SAMPLES, cpu, hostile, resnet

WALL_TIME_S = 1_700_000_000.25
REASON = "TensorBoard's own readers are the reference: pip install tensorboard"
loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader", reason=REASON)
pytest.importorskip("vl_convert", reason="draws the pictures: pip install vl-convert-python")


@pytest.fixture(scope="module")
def gpt() -> Report:
    """Of the trace that the project ships; it has all three charts."""
    return analyze(REPOSITORY / "examples" / "traces" / "gpt_cpu.json.gz", peak_tflops=0.097)


def events(report: Report, folder: Path, step: int = 0) -> list[Any]:
    content = render_tensorboard_images(report, wall_time_s=WALL_TIME_S, step=step)
    assert content is not None
    path = folder / "events.out.tfevents.images"
    path.write_bytes(content)
    return list(loader.EventFileLoader(str(path)).Load())


def values(report: Report, folder: Path) -> dict[str, Any]:
    """Tag (without its prefix) -> protocol buffer ``Summary.Value``."""
    found = [value for event in events(report, folder) for value in event.summary.value]
    assert all(value.tag.startswith("mfu_profiler/") for value in found)
    return {value.tag.removeprefix("mfu_profiler/"): value for value in found}


def described(report: Report, folder: Path) -> dict[str, str]:
    """Tag -> description as HTML, as TensorBoard's Images tab gets it."""
    util = pytest.importorskip("tensorboard.plugin_util", reason=REASON)
    return {
        tag: util.markdown_to_safe_html(value.metadata.summary_description)
        for tag, value in values(report, folder).items()
    }


def test_the_charts_that_need_no_pointer_are_pictures_of_the_images_plugin(
    gpt: Report, tmp_path: Path
) -> None:
    found = values(gpt, tmp_path)
    assert list(found) == list(IMAGES)
    for name, value in found.items():
        assert value.metadata.plugin_data.plugin_name == "images"
        assert value.metadata.display_name == gpt.figures()[name].title
        width, height, png = value.tensor.string_val
        assert [dim.size for dim in value.tensor.tensor_shape.dim] == [3]
        assert (int(width), int(height)) == struct.unpack(">II", png[16:24])
        assert 640 < int(width) < 1000, "it fits beside TensorBoard's side bar"


def test_the_pictures_are_whole_and_their_background_is_white(gpt: Report, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="decodes PNG: pip install pillow")
    for name, value in values(gpt, tmp_path).items():
        with image.open(BytesIO(value.tensor.string_val[2])) as picture:
            pixels = picture.convert("RGBA")
        counts = {color: count for count, color in pixels.getcolors(maxcolors=2**24)}
        assert {color[3] for color in counts} == {255}, f"nothing shows through {name}"
        assert pixels.getpixel((0, pixels.height - 1)) == (255, 255, 255, 255), name
        assert 0.2 < counts[255, 255, 255, 255] / sum(counts.values()) < 0.95, name


def test_they_stand_at_the_step_and_time_that_were_given(tmp_path: Path) -> None:
    first, *rest = events(resnet(), tmp_path, step=27)
    assert first.file_version == "brain.Event:2"
    assert {(event.step, event.wall_time) for event in rest} == {(27, WALL_TIME_S)}


def test_a_chart_that_the_report_does_not_have_is_no_picture(tmp_path: Path) -> None:
    assert set(resnet().figures()) & set(IMAGES) == {"waterfall", "steps"}
    assert list(values(resnet(), tmp_path)) == ["waterfall", "steps"]


def test_without_any_chart_there_is_no_file() -> None:
    bare = replace(cpu(), windows=(), waterfall=(), partition=None, step_timeline=None)
    assert render_tensorboard_images(bare, wall_time_s=WALL_TIME_S) is None


def test_the_description_is_the_caption(gpt: Report, tmp_path: Path) -> None:
    found = described(gpt, tmp_path)
    assert "Largest: other kernels" in found["waterfall"]
    assert "events of the averaged step" in found["timeline"]


@pytest.mark.parametrize("sample", [name for name, reports in SAMPLES.items() if reports])
def test_names_in_a_description_are_text(sample: str, tmp_path: Path) -> None:
    report = SAMPLES[sample][0]
    if not any(FIGURES[name](report) for name in IMAGES):
        assert render_tensorboard_images(report, wall_time_s=WALL_TIME_S) is None
        return
    for html in described(report, tmp_path).values():
        assert re.findall(r"<\s*/?\s*[^>]*", html) == ["<p", "</p"]


def test_the_names_of_a_hostile_report_are_there(tmp_path: Path) -> None:
    assert "&lt;script&gt;" in described(hostile(), tmp_path)["waterfall"]


@pytest.mark.parametrize("device", ["NVIDIA H100 80GB HBM3", None], ids=["MFU", "no MFU"])
def test_a_hostile_trace_is_drawn(device: str | None, tmp_path: Path) -> None:
    report = analyze(hostile_trace(tmp_path, device=device))
    found = described(report, tmp_path)
    assert list(found) == list(IMAGES)
    for html in found.values():
        assert re.findall(r"<\s*/?\s*[^>]*", html) == ["<p", "</p"]
    for value in values(report, tmp_path).values():
        assert value.metadata.display_name.isprintable()


@pytest.mark.parametrize(
    ("package", "word"), [("vl_convert", "vl-convert-python"), ("tensorboard.compat.proto", "tensorboard")]
)
def test_a_missing_package_is_named(package: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(OptionError, match=rf"{word}.*\n.*pip install"):
        render_tensorboard_images(hostile(), wall_time_s=WALL_TIME_S)
