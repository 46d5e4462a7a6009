"""The event file, read back by TensorBoard's own readers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.analysis.report import PARTS, Report
from mfu_profiler.errors import OptionError
from mfu_profiler.render import render_markdown
from mfu_profiler.render.tensorboard import event_file_name, render_tensorboard
from tests.conftest import REPOSITORY
from tests.render.sample import SAMPLES, cpu, hostile, resnet, unknown_device

WALL_TIME_S = 1_700_000_000.25
REASON = "TensorBoard's own readers are the reference: pip install tensorboard"
FLOAT32 = 1e-6
"""Relative: 24 bits of mantissa."""


@pytest.fixture
def readers() -> Any:
    """The module with ``EventFileLoader``; skips where it is absent."""
    return pytest.importorskip("tensorboard.backend.event_processing.event_file_loader", reason=REASON)


def written(folder: Path, report: Report, step: int = 0) -> Path:
    path = folder / event_file_name(WALL_TIME_S, "host_42")
    path.write_bytes(render_tensorboard(report, wall_time_s=WALL_TIME_S, step=step))
    return path


def accumulated(folder: Path) -> Any:
    """All that TensorBoard's event accumulator finds in a folder."""
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason=REASON)
    return module.EventAccumulator(str(folder)).Reload()


def scalars(folder: Path) -> dict[str, float]:
    """Tag (without its prefix) -> value; each tag has one."""
    found = accumulated(folder)
    tensors = {tag: found.Tensors(tag) for tag in found.Tags()["tensors"] if tag != "mfu_profiler/report"}
    assert all(len(events) == 1 for events in tensors.values())
    values = {tag: events[0].tensor_proto.float_val[0] for tag, events in tensors.items()}
    values |= {tag: found.Scalars(tag)[0].value for tag in found.Tags()["scalars"]}
    return {tag.removeprefix("mfu_profiler/"): value for tag, value in values.items()}


def page(folder: Path) -> str:
    """The Markdown that the Text tab shows."""
    [event] = accumulated(folder).Tensors("mfu_profiler/report")
    assert not event.tensor_proto.tensor_shape.dim  # a single text, not a table of texts
    [text] = event.tensor_proto.string_val
    return str(text.decode("utf-8"))


def test_the_scalars_are_the_numbers_of_the_report(readers: Any, tmp_path: Path) -> None:
    written(tmp_path, resnet())
    found = scalars(tmp_path)
    expected = {
        "mfu": 0.281,
        "hfu": 0.281,
        "step_time_s": 0.1762,
        "model_flop_per_step": 7.776e11,
        "time/compute": 0.561,
        "time/idle_data_loading": 0.326,
        "waterfall/matmul_inefficiency": 0.204,
        "waterfall/idle_data_loading": 0.326,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=FLOAT32)


def test_each_class_of_time_and_each_loss_has_its_scalar(readers: Any, tmp_path: Path) -> None:
    written(tmp_path, resnet())
    found = scalars(tmp_path)
    times = {name.removeprefix("time/"): value for name, value in found.items() if name.startswith("time/")}
    assert set(times) == set(PARTS)
    assert sum(times.values()) == pytest.approx(1, abs=FLOAT32)
    lost = [value for name, value in found.items() if name.startswith("waterfall/")]
    assert 1 - sum(lost) == pytest.approx(found["mfu"], abs=FLOAT32)
    assert "waterfall/peak" not in found and "waterfall/mfu" not in found


def test_what_is_unknown_has_no_scalar(readers: Any, tmp_path: Path) -> None:
    written(tmp_path, unknown_device())
    assert set(scalars(tmp_path)) == {
        "step_time_s", "model_flop_per_step", *(f"time/{part}" for part in PARTS),
    }  # fmt: skip
    (tmp_path / "cpu").mkdir()
    written(tmp_path / "cpu", cpu())
    assert set(scalars(tmp_path / "cpu")) == {"step_time_s"}
    assert "MFU unknown" in page(tmp_path / "cpu")


def test_the_text_is_the_page_of_the_markdown_renderer(readers: Any, tmp_path: Path) -> None:
    written(tmp_path, resnet())
    assert page(tmp_path).replace("\n    - ", "\n   - ") == render_markdown([resnet()])


def test_all_stand_at_the_step_and_time_that_were_given(readers: Any, tmp_path: Path) -> None:
    path = written(tmp_path, resnet(), step=27)
    events = list(readers.EventFileLoader(str(path)).Load())
    assert [event.file_version for event in events if event.HasField("file_version")] == ["brain.Event:2"]
    assert {event.wall_time for event in events} == {WALL_TIME_S}
    assert {event.step for event in events if event.HasField("summary")} == {27}


def test_a_damaged_record_is_noticed_by_its_checksum(readers: Any, tmp_path: Path) -> None:
    path = written(tmp_path, resnet())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    events = list(readers.EventFileLoader(str(path)).Load())
    assert [event.HasField("file_version") for event in events] == [True]


@pytest.mark.parametrize("sample", [name for name, reports in SAMPLES.items() if reports])
def test_every_report_makes_a_file_that_can_be_read(readers: Any, tmp_path: Path, sample: str) -> None:
    written(tmp_path, SAMPLES[sample][0])
    assert page(tmp_path).startswith("## ")


def test_names_of_a_hostile_trace_are_inert_in_tensorboards_own_page(readers: Any, tmp_path: Path) -> None:
    util = pytest.importorskip("tensorboard.plugin_util", reason=REASON)
    written(tmp_path, hostile())
    html = util.markdown_to_safe_html(page(tmp_path))
    assert set(re.findall(r"<\s*/?\s*([^\s>/]+)", html)) == {
        "h2", "h3", "ul", "ol", "li", "p", "br", "strong", "code",
        "table", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    assert "href" not in html and "<script" not in html


def test_evidence_and_advice_stand_below_their_fix(readers: Any, tmp_path: Path) -> None:
    util = pytest.importorskip("tensorboard.plugin_util", reason=REASON)
    written(tmp_path, resnet())
    html = util.markdown_to_safe_html(page(tmp_path))
    fixes = html.split("What to fix first")[1].split("</ol>")[0]
    assert len(re.findall(r"(?m)^<li><strong>", fixes)) == fixes.count("<ul>") == len(resnet().findings)


def test_file_names_sort_by_time_and_hold_no_path() -> None:
    assert event_file_name(1.7e9, "host_42") == "events.out.tfevents.1700000000.host_42.mfu_profiler"
    assert event_file_name(5.9, "../a b\n") == "events.out.tfevents.0000000005..._a_b_.mfu_profiler"


def test_without_tensorboard_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(OptionError, match=r"cannot be imported.*\n.*pip install") as caught:
        render_tensorboard(resnet(), wall_time_s=WALL_TIME_S)
    assert "\n" not in caught.value.message


def test_neither_torch_nor_tensorflow_is_imported(readers: Any, tmp_path: Path) -> None:
    """Packages that are importable but must not be imported stand before any real ones."""
    for name in ("torch", "tensorflow"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    program = (
        "import sys\n"
        "from mfu_profiler.render.tensorboard import render_tensorboard\n"
        "from tests.render.sample import resnet\n"
        "assert render_tensorboard(resnet(), wall_time_s=1.0)\n"
        "assert not {'torch', 'tensorflow'} & set(sys.modules)\n"
    )
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
