"""All renderers through one parametrised test; then what each of them promises alone."""

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial

import pytest
from markdown_it import MarkdownIt
from rich.cells import cell_len

from mfu_profiler.analysis.report import PARTS, Report
from mfu_profiler.render import render_json, render_markdown, render_terminal
from mfu_profiler.render.bars import bar
from mfu_profiler.render.causes import cause_words
from tests.render.sample import (
    SAMPLES,
    hostile,
    kernel,
    low_coverage,
    ranks,
    resnet,
    unknown_device,
    with_gain,
)

Render = Callable[[Sequence[Report]], str]

RENDERERS: dict[str, Render] = {
    "terminal": partial(render_terminal, color=False),
    "json": render_json,
    "markdown": render_markdown,
}
plain = RENDERERS["terminal"]


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("sample", SAMPLES)
def test_every_renderer_makes_inert_text_of_every_report(sample: str, renderer: str) -> None:
    text = RENDERERS[renderer](SAMPLES[sample])
    assert text.endswith("\n") and not text.endswith("\n\n") and text == RENDERERS[renderer](SAMPLES[sample])
    odd = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}} - {"\n"}
    assert not odd
    text.encode("utf-8")
    assert renderer == "json" or not any(line != line.rstrip() for line in text.split("\n"))
    assert "nan" not in re.findall(r"[a-z]+", text) and "Infinity" not in text


@pytest.mark.parametrize("renderer", ["terminal", "markdown"])
def test_the_page_answers_how_much_where_what_first_and_why(renderer: str) -> None:
    text = RENDERERS[renderer]([resnet()])
    questions = [
        "MFU 28.1 %",
        "4.41 of 15.7 TFLOP/s",
        "FLOP known for 99.1 %",
        "HFU 28.1 %",
        "± 2.6 % over 5 steps",
        "35 to 50 %",
        "other 71.9 %",
        "data loading",
        "What to fix first",
        "The device waits for the data loader",
        "torch.compile",
        "of peak",
        "aten::cudnn_convolution_backward_input at",
        "come from",
        "900 GB/s",
        "778 GFLOP a step",
        "not counted: cunn",
        "passed: parts sum",
    ]
    places = [text.find(question) for question in questions]
    assert -1 not in places and places == sorted(places)


@pytest.mark.parametrize("renderer", ["terminal", "markdown"])
def test_an_unknown_mfu_is_refused_with_the_way_out_and_no_guess(renderer: str) -> None:
    text = RENDERERS[renderer]([unknown_device()])
    assert "MFU unknown" in text and "--peak-tflops 989.4" in text.replace("\\", "")
    assert not re.search(r"MFU \d|HFU", text.split("come from")[0])
    assert "Where the time of a step went" in text and "peak unknown" in text
    assert "achieved: 4.41 TFLOP/s" in text


@pytest.mark.parametrize("renderer", ["terminal", "markdown"])
def test_low_coverage_makes_the_mfu_a_lower_bound(renderer: str) -> None:
    text = RENDERERS[renderer]([low_coverage()])
    assert "MFU at least 31.2 %" in text
    assert "FLOP known for 83.0 %" in text
    assert "recomputation (+5.6 points)" in text


@pytest.mark.parametrize("renderer", ["terminal", "markdown"])
def test_what_casts_doubt_stands_above_the_bars(renderer: str) -> None:
    top = RENDERERS[renderer]([low_coverage()]).split("Where the other")[0]
    assert "check failed: kernels do not overlap" in top
    assert "truncated" in top


@pytest.mark.parametrize("renderer", ["terminal", "markdown"])
def test_without_a_partition_the_page_says_why(renderer: str) -> None:
    text = RENDERERS[renderer](SAMPLES["cpu"])
    assert "device activities are missing" in text and "unknown, for the same reason" in text
    other = replace(SAMPLES["cpu"][0], partition_unknown_because="no window")
    assert "unknown: no window" in RENDERERS[renderer]([other])


@pytest.mark.parametrize("renderer", ["terminal", "markdown"])
def test_several_reports_begin_with_one_table(renderer: str) -> None:
    text = RENDERERS[renderer](ranks())
    assert text.index("communication") < text.index("rank 0 · device 0") < text.index("rank 1 · device 1")
    assert "≥ 28.4 %" in text


def test_gains_are_drawn_as_gains_and_come_last() -> None:
    losses = plain([with_gain()]).split("went\n")[1].splitlines()[:3]
    assert [line.split("  ")[1].strip() for line in losses] == [
        "matmul inefficiency",
        "other kernels",
        "precision",
    ]
    assert "░" in losses[2] and "-8.0 %" in losses[2] and "█" not in losses[2]


def test_every_cause_of_the_partition_has_words() -> None:
    assert all(cause_words(cause)[1] for cause in PARTS)
    assert cause_words("new_cause") == ("new cause", "")


def test_bars_are_exact_to_an_eighth_of_a_cell() -> None:
    assert bar(0.2, 0.4, 4) == "██"
    assert bar(0.225, 0.4, 4) == "██▎"
    assert bar(0.4, 0.4, 4) == "████" == bar(9.0, 0.4, 4)
    assert bar(1e-9, 0.4, 4) == "▏"
    assert bar(-0.2, 0.4, 4) == "░░" and bar(-1e-9, 0.4, 4) == "░"
    assert bar(0.0, 0.4, 4) == ""


@pytest.mark.parametrize("width", [60, 72, 80, 120])
@pytest.mark.parametrize("sample", SAMPLES)
def test_no_line_is_wider_than_the_terminal(sample: str, width: int) -> None:
    lines = render_terminal(SAMPLES[sample], color=False, width=width).splitlines()
    assert max(map(cell_len, lines)) <= width


def test_colour_changes_no_word() -> None:
    coloured = render_terminal([resnet()], color=True)
    assert "\x1b[" in coloured
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in bare.splitlines()] == plain([resnet()]).splitlines()


def test_colour_does_not_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = render_terminal([resnet()], color=True)
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb"), ("COLUMNS", "40"), ("FORCE_COLOR", "1")):
        monkeypatch.setenv(name, value)
    assert render_terminal([resnet()], color=True) == expected
    assert "\x1b" not in plain([resnet()])


def test_the_number_of_kernels_is_the_readers_choice() -> None:
    assert "Largest kernels" not in render_terminal([resnet()], color=False, top=0)
    one = render_terminal([resnet()], color=False, top=1)
    assert "dgrad_engine  " in one and "volta" not in one


def test_a_kernel_without_flop_differs_from_one_whose_flop_are_unknown() -> None:
    rows = (kernel("softmax", "softmax", 1.0, 0.1, flop=0.0), kernel("triton_1", "elementwise", 1.0, 0.1))
    text = plain([replace(resnet(), kernels=rows)])
    assert re.search(r"softmax .* - +-$", text, re.MULTILINE)
    assert re.search(r"triton_1 .* unknown +unknown$", text, re.MULTILINE)


def test_markup_of_rich_in_a_name_is_shown_not_obeyed() -> None:
    text = plain([replace(resnet(), notes=("[bold red]name[/bold red] :smile:",))])
    assert "[bold red]name[/bold red] :smile:" in text


def test_markdown_of_a_hostile_trace_holds_no_html_no_link_and_whole_tables() -> None:
    text = render_markdown([hostile()])
    assert "<script" not in text
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    blocks = parser.parse(text)
    spans = [token for block in blocks for token in block.children or []]
    assert {t.content for t in spans if t.type == "html_inline"} <= {"<br>", "<code>", "</code>"}
    assert not [t for t in [*blocks, *spans] if t.type in {"html_block", "link_open", "image", "fence", "hr"}]
    headings = [block.tag for block in blocks if block.type == "heading_open"]
    assert headings == ["h2", "h3", "h3", "h3", "h3", "h3"]
    columns = len([b for b in blocks if b.type == "th_open"])
    assert columns == 5 + 7
    code = [t for t in spans if t.type == "text" and "@everyone" in t.content]
    assert not code


def test_markdown_shows_names_as_they_are() -> None:
    blocks = MarkdownIt("commonmark").enable("table").parse(render_markdown([resnet()]))
    cells = [block.children or [] for block in blocks if block.type == "inline"]
    texts = [
        "".join(token.content for token in cell if token.type in {"text", "code_inline"}) for cell in cells
    ]
    assert "volta_scudnn_128x64_stridedB_splitK_xregs_large_nn_v1" in texts
    assert "vectorized_elementwise_kernel<CUDAFunctor_add>" in texts
    assert any("torch.compile(model)" in text for text in texts)


def keys_of(value: object) -> object:
    """The keys of a dataclass tree as JSON should have them."""
    if is_dataclass(value):
        return {field.name: keys_of(getattr(value, field.name)) for field in fields(value)}
    return [keys_of(item) for item in value] if isinstance(value, tuple) else None


def keys_in(value: object) -> object:
    if isinstance(value, dict):
        return {key: keys_in(item) for key, item in value.items()}
    return [keys_in(item) for item in value] if isinstance(value, list) else None


def test_json_has_the_fields_of_the_report_as_keys() -> None:
    report = replace(resnet(), copy_by_direction={})
    expected = keys_of(report)
    assert isinstance(expected, dict)
    expected["copy_by_direction"] = {}
    assert keys_in(json.loads(render_json([report]))) == expected


def test_json_has_the_schema_that_was_promised() -> None:
    content = json.loads(render_json([resnet()]))
    promised = {
        None: "schema_version mfu hfu mfu_unknown_because step_time_s step_times_s steps trace device flop "
        "partition waterfall findings kernels checks",
        "steps": "count source",
        "trace": "path rank world_size events truncated",
        "device": "name backend precision peak_flop_per_s peak_source sm_count",
        "flop": "model_per_step hardware_per_step source coverage_fraction",
        "partition": "compute communication copy idle_data_loading idle_synchronization idle_host "
        "idle_launch idle_unexplained",
    }
    for part, keys in promised.items():
        assert set(keys.split()) <= set(content if part is None else content[part])
    rows = {
        "waterfall": "cause fraction",
        "findings": "code title recovered_s step_time_after_s mfu_after share_fraction confidence evidence "
        "advice",
        "ladder": "code step_time_after_s mfu_after",
        "options": "code step_time_after_s advice",
        "kernels": "name kind count time_s flop achieved_flop_per_s",
        "checks": "name ok detail",
    }
    for part, keys in rows.items():
        assert all(set(keys.split()) <= set(row) for row in content[part])
    assert content["schema_version"] == 1 and isinstance(content["step_times_s"], list)


def test_json_of_several_reports_is_an_object_with_a_list() -> None:
    content = json.loads(render_json(ranks()))
    assert content["schema_version"] == 1
    assert [report["trace"]["rank"] for report in content["reports"]] == [0, 1]
    assert json.loads(render_json([])) == {"schema_version": 1, "reports": []}


def test_json_never_holds_nan_or_infinity() -> None:
    text = render_json([replace(resnet(), mfu=float("nan"), hfu=float("inf"), step_time_s=float("-inf"))])

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    content = json.loads(text, parse_constant=refuse)
    assert content["mfu"] is content["hfu"] is content["step_time_s"] is None


def test_json_keeps_names_to_the_letter() -> None:
    name = 'void f<"x">\x1b\u202e\u2028\x9b\U000e0041 é 日本 \\ /'
    text = render_json([replace(resnet(), notes=(name,))])
    assert json.loads(text)["notes"] == [name]
    assert "é 日本" in text and "\u202e" not in text


def test_json_of_an_undecodable_path_shows_the_bytes() -> None:
    report = resnet()
    path = "trace\udcff.json"
    content = json.loads(render_json([replace(report, trace=replace(report.trace, path=path))]))
    assert content["trace"]["path"] == "trace\\udcff.json"
