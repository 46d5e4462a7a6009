"""The charts of a step's time say what the report says: waterfall, steps, timeline."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.analysis.report import PARTS, Partition, Report, WaterfallRow
from mfu_profiler.render.causes import ENDS, cause_words
from mfu_profiler.render.charts import Figure
from mfu_profiler.render.charts.colors import color_of
from mfu_profiler.render.charts.steps import MOST_STEPS, steps_figure
from mfu_profiler.render.charts.timeline import timeline_figure
from mfu_profiler.render.charts.waterfall import waterfall_figure
from tests.render.charted import charted, window
from tests.render.sample import SAMPLES, low_coverage, resnet, unknown_device, waterfall, with_gain

Bar = dict[str, Any]


def made(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def bars_of(report: Report) -> list[Bar]:
    found: list[Bar] = made(waterfall_figure(report)).spec["data"]["values"]
    return found


# --- waterfall -----------------------------------------------------------------------------------------

CAUSES = ("precision", "matmul_inefficiency", "other_kernels", *PARTS[1:], "profiler")
fractions = st.lists(st.floats(-0.1, 0.09), min_size=len(CAUSES), max_size=len(CAUSES))


def assert_the_bars_chain(report: Report) -> None:
    """Each begins where the former ended, but for causes without a bar; the last ends at the MFU."""
    rows = {cause_words(row.cause)[0]: row for row in report.waterfall if row.cause not in ENDS}
    peak, *bars, mfu = bars_of(report)
    assert (peak["cause"], peak["low"], peak["high"]) == ("peak", 0.0, 1.0)
    assert (mfu["cause"], mfu["low"]) == ("MFU", 0.0)
    drawn = [row for row in rows.values() if abs(row.fraction) >= 0.0005]
    assert [bar["cause"] for bar in bars] == [cause_words(row.cause)[0] for row in drawn]
    left = 1.0
    order = list(rows)
    for cause in order:
        after = left - rows[cause].fraction
        found = [bar for bar in bars if bar["cause"] == cause]
        for bar in found:
            assert (bar["low"], bar["high"]) == pytest.approx(tuple(sorted((left, after))), abs=1e-12)
            is_gain = rows[cause].fraction < 0
            assert (bar["color"] == color_of("gain")) == (is_gain and cause != "profiler")
            assert bar["share"].startswith("-") == is_gain
        left = after
    assert mfu["high"] == pytest.approx(left, abs=1e-9)


@pytest.mark.parametrize("name", ["resnet", "gain"])
def test_the_bars_lead_from_the_peak_to_the_mfu(name: str) -> None:
    assert_the_bars_chain(SAMPLES[name][0])


@given(fractions)
def test_any_bars_lead_from_the_peak_to_the_mfu(parts: list[float]) -> None:
    rows = waterfall(0.1, {cause: (part, "") for cause, part in zip(CAUSES, parts, strict=True)})
    assert_the_bars_chain(replace(resnet(), waterfall=rows, mfu=rows[-1].fraction))


def test_a_gain_is_green_goes_back_up_and_reads_negative() -> None:
    peak, gain, loss, *_ = bars_of(with_gain())
    assert (gain["cause"], gain["low"], gain["high"]) == ("precision", 1.0, pytest.approx(1.08))
    assert gain["color"] == color_of("gain") != loss["color"] == color_of("matmul_inefficiency")
    assert gain["text"] == "-8.0 % · -14.1 ms" and gain["detail"] == "fp8 matmuls"
    assert loss["high"] == gain["high"] and loss["low"] == pytest.approx(0.58)
    assert peak["text"] == peak["time"] == ""


def test_a_bar_says_share_time_and_what_stands_behind_it() -> None:
    bars = {bar["cause"]: bar for bar in bars_of(resnet())}
    assert bars["data loading"]["text"] == "32.6 % · 57.4 ms"
    assert bars["data loading"]["detail"] == cause_words("idle_data_loading")[1]
    assert bars["matmul inefficiency"]["detail"] == "dgrad_engine, wgrad_alg0_engine"
    assert bars["MFU"]["text"] == "28.1 % · 49.5 ms"


def test_the_caption_names_the_largest_losses_and_counts_what_has_no_bar() -> None:
    caption = made(waterfall_figure(resnet())).caption
    assert caption == (
        "From 100 % of the step down to MFU 28.1 %. "
        "Largest: data loading 32.6 %, matmul inefficiency 20.4 %, host-bound 9.3 %."
    )
    parts = {"copy": (0.0004, ""), "idle_host": (-0.0003, ""), "communication": (0.0, "")}
    tiny = replace(resnet(), waterfall=waterfall(0.1, parts), mfu=0.9999)
    assert made(waterfall_figure(tiny)).caption == (
        "From 100 % of the step down to MFU 100.0 %. Not drawn: 2 causes of under 0.05 %."
    )
    assert [bar["cause"] for bar in bars_of(tiny)] == ["peak", "MFU"]
    assert "down to MFU at least 31.2 %." in made(waterfall_figure(low_coverage())).caption


def test_without_an_mfu_the_parts_of_a_step_are_drawn() -> None:
    report = unknown_device()
    assert report.partition is not None
    figure = made(waterfall_figure(report))
    bars = bars_of(report)
    drawn = [part for part in PARTS if getattr(report.partition, part) >= 0.0005]
    assert [bar["cause"] for bar in bars] == [cause_words(part)[0] for part in drawn]
    assert bars[0]["high"] == 1.0 and bars[-1]["low"] == pytest.approx(0.0)
    assert [bar["high"] for bar in bars[1:]] == [bar["low"] for bar in bars[:-1]]
    assert bars[0]["text"] == "56.1 % · 98.8 ms"
    assert figure.title == "Where the time of a step went"
    assert figure.caption.startswith("The time of a step by cause. Largest: compute 56.1 %")
    assert waterfall_figure(replace(report, partition=None)) is None
    alone = replace(report, step_time_s=None, partition=Partition(1.0, *[0.0] * 7))
    assert [bar["text"] for bar in bars_of(alone)] == ["100.0 %"]


def test_a_live_run_without_an_mfu_shows_its_own_step_not_the_profiled_one() -> None:
    """The page's table beside it does as well."""
    rows = (
        WaterfallRow("peak", 1.0, None, ""),
        WaterfallRow("compute", 0.7, 0.07, ""),
        WaterfallRow("idle_host", 0.3, 0.03, ""),
    )
    report = unknown_device()
    live = replace(report, waterfall=rows, steps=replace(report.steps, profiled_step_time_s=0.2))
    assert [(bar["cause"], bar["text"]) for bar in bars_of(live)] == [
        ("compute", "70.0 % · 70.0 ms"),
        ("host-bound", "30.0 % · 30.0 ms"),
    ]


# --- steps ---------------------------------------------------------------------------------------------


def steps_of(report: Report) -> tuple[Figure, list[Bar], list[Bar]]:
    """The chart, its parts of bars, and the names over them."""
    figure = made(steps_figure(report))
    parts, names = (layer["data"]["values"] for layer in figure.spec["layer"])
    return figure, parts, names


def with_windows(*windows: tuple[Any, ...]) -> Report:
    return replace(resnet(), windows=tuple(window(*about) for about in windows))


def test_the_parts_of_a_bar_sum_to_its_step() -> None:
    parts = [1_000_001 * (place + 1) for place in range(len(PARTS))]
    full = replace(
        window("ProfilerStep#7", 0),
        duration_ns=sum(parts),
        **{f"{part}_ns": length for part, length in zip(PARTS, parts, strict=True)},
    )
    _, rows, _ = steps_of(replace(resnet(), windows=(full,)))
    assert [row["class"] for row in rows] == [cause_words(part)[0] for part in PARTS]
    assert [row["order"] for row in rows] == list(range(len(PARTS)))
    assert sum(row["ms"] for row in rows) == pytest.approx(sum(parts) / 1e6)
    assert {row["step"] for row in rows} == {"7"} and {row["of"] for row in rows} == {"36.0 ms"}


def test_steps_that_differ_are_named_and_those_that_are_not_averaged_are_pale() -> None:
    found = with_windows(
        ("ProfilerStep#1", 200, "startup"),
        ("ProfilerStep#2", 100),
        ("ProfilerStep#3", 114),
        ("ProfilerStep#4", 100),
        ("ProfilerStep#5", 116),
        ("evaluation", 900, "pause"),
        ("ProfilerStep#6", 96),
        ("ProfilerStep#7", 96),
        ("ProfilerStep#8", 96),
    )
    figure, rows, names = steps_of(found)
    assert [(name["step"], name["name"], name["total"]) for name in names] == [
        ("1", "start-up", 200.0),
        ("5", "slow", 116.0),
        ("evaluation", "pause", 900.0),
    ]
    assert figure.caption == ("9 steps, median 100 ms; apart: 1 (start-up), 5 (slow), evaluation (pause).")
    assert {row["step"] for row in rows if not row["averaged"]} == {"1", "evaluation"}


def test_steps_of_one_name_are_bars_of_their_own() -> None:
    """As evaluations and annotations have; on one place of the axis they would stand upon each other."""
    found = with_windows(
        ("train", 100), ("evaluation", 50, "pause"), ("train", 90), ("evaluation", 60, "pause")
    )
    _, rows, names = steps_of(found)
    assert list(dict.fromkeys(row["step"] for row in rows)) == [
        "train",
        "evaluation",
        "train #2",
        "evaluation #2",
    ]
    assert [name["step"] for name in names] == ["evaluation", "evaluation #2"]


def test_the_median_of_an_even_number_of_steps_is_between_the_middle_ones() -> None:
    figure, *_ = steps_of(with_windows(("a", 100), ("b", 120)))
    assert figure.caption == "2 steps, median 110 ms."
    assert steps_of(with_windows(("a", 100)))[0].caption == "1 step, median 100 ms."


def test_more_steps_than_can_be_told_apart_are_counted() -> None:
    found = with_windows(*((f"ProfilerStep#{number}", 100) for number in range(MOST_STEPS + 3)))
    figure, rows, _ = steps_of(found)
    assert len({row["step"] for row in rows}) == MOST_STEPS
    assert figure.caption == "200 steps, median 100 ms; the 3 after them are not drawn."


def test_without_windows_there_are_no_steps() -> None:
    assert steps_figure(replace(resnet(), windows=())) is None


# --- timeline ------------------------------------------------------------------------------------------


def test_every_event_of_the_step_is_a_rectangle_in_its_row() -> None:
    report = charted()
    overview, detail = made(timeline_figure(report)).spec["vconcat"]
    rows = detail["data"]["values"]
    found = [(row["row"], row["start"], row["end"], row["name"], row["kind"]) for row in rows]
    assert found == [
        (0, 0.0, 6.0, "compute", "compute"),
        (0, 6.0, 10.0, "host-bound", "host-bound"),
        (1, 0.0, 6.0, "volta_sgemm_128x64_nn", "compute"),
        (2, 0.0, 9.0, "volta_sgemm_128x64_nn", "op"),
        (3, 0.0, 4.0, "aten::mm", "blocked"),
    ]
    assert overview["data"]["values"] == rows[:2], "the strip above is the time by cause"
    assert overview["encoding"]["x"]["scale"]["domain"] == [0, 10.0]
    color = detail["layer"][0]["encoding"]["color"]["scale"]
    expected = {"compute": "compute", "host-bound": "idle_host", "op": "op", "blocked": "blocked"}
    assert dict(zip(color["domain"], color["range"], strict=True)) == {
        words: color_of(kind) for words, kind in expected.items()
    }


def test_the_caption_says_what_the_timeline_leaves_out() -> None:
    report = charted()
    figure = made(timeline_figure(report))
    assert figure.caption == (
        "5 events of the averaged step nearest to the median; "
        "shorter ones are not drawn: 2 activities of 500 ns at most, 3 host events of 700 ns at most; "
        "5 streams or threads with less time are not drawn."
    )
    assert figure.title == "One step: volta_sgemm_128x64_nn, 10.0 ms"
    assert report.step_timeline is not None
    lanes = tuple(replace(lane, left_out_count=0, left_out_ns=0) for lane in report.step_timeline.lanes)
    whole = replace(report.step_timeline, lanes=lanes, lanes_left_out=0, label="span")
    figure = made(timeline_figure(replace(report, step_timeline=whole)))
    assert figure.caption == "5 events of the whole trace."
    assert figure.title == "The whole trace, 10.0 ms"
    empty = tuple(replace(lane, events=()) for lane in lanes)
    assert timeline_figure(replace(report, step_timeline=replace(whole, lanes=empty))) is None
    assert timeline_figure(replace(report, step_timeline=None)) is None
