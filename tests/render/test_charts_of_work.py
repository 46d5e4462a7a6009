"""The charts of a step's work and its device say what the report says: roofline, modules, hardware."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.analysis.report import DeviceSamples, ModuleFlop, Report
from mfu_profiler.render.charts import Figure
from mfu_profiler.render.charts.hardware import hardware_figure
from mfu_profiler.render.charts.modules import LEAST_FRACTION, MOST_DEPTH, modules_figure
from mfu_profiler.render.charts.roofline import roofline_figure
from tests.render.charted import modules
from tests.render.sample import kernel, resnet

Row = dict[str, Any]
PEAK, MEMORY = 15.7e12, 900e9
"""Of the sample's V100, in fp32."""


def made(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


# --- roofline ------------------------------------------------------------------------------------------


def measured(name: str, flop: float, byte: float, rate: float, **more: Any) -> Any:
    about = {"precision": "fp32", "peak_fraction": rate / PEAK} | more
    return kernel(name, "matmul", 1.0, flop / rate, flop=flop, byte=byte, achieved_flop_per_s=rate, **about)


def roofline_of(*kernels: Any, **device: Any) -> tuple[Figure, list[Row], list[Row]]:
    """The chart, the corners of its roofs, and its points."""
    sample = resnet()
    about = replace(sample.device, **device)
    figure = made(roofline_figure(replace(sample, kernels=tuple(kernels), device=about)))
    roofs, _, points = (layer["data"]["values"] for layer in figure.spec["layer"])
    return figure, roofs, points


def test_a_roof_rises_with_the_memory_to_the_ridge_and_then_is_flat() -> None:
    """The ridge is peak over bandwidth: 15.7e12 / 900e9 = 17.4 FLOP/B; points reach from 2 to 400."""
    figure, roofs, _ = roofline_of(measured("a", 2e9, 1e9, 1e12), measured("b", 400e9, 1e9, 1e13))
    assert [corner["intensity"] for corner in roofs] == [1.0, pytest.approx(PEAK / MEMORY), 1000]
    assert [corner["rate"] for corner in roofs] == pytest.approx([0.9, 15.7, 15.7])
    assert {corner["roof"] for corner in roofs} == {
        "fp32: 15.7 TFLOP/s, memory 900 GB/s, ridge at 17.4 FLOP/B"
    }
    assert [corner["is_end"] for corner in roofs] == [False, False, True]
    [names] = [layer for layer in figure.spec["layer"] if layer["mark"]["type"] == "text"]
    assert [row["name"] for row in names["data"]["values"]] == ["fp32"]


intensities = st.floats(1e-3, 1e5)


@given(intensities, intensities, st.floats(1e9, 1e16), st.floats(1e9, 1e13))
def test_roofs_span_every_point_and_their_corners_lie_on_the_lines(
    one: float, other: float, peak: float, memory: float
) -> None:
    kernels = [
        measured(name, at * 1e9, 1e9, 1e9, peak_fraction=1e9 / peak)
        for name, at in (("a", one), ("b", other))
    ]
    _, roofs, points = roofline_of(*kernels, peak_flop_per_s=peak, memory_byte_per_s=memory)
    assert len(roofs) == 3
    low, ridge, high = roofs
    assert low["intensity"] < min(one, other) <= max(one, other) < high["intensity"]
    assert low["intensity"] < ridge["intensity"] < high["intensity"]
    assert ridge["intensity"] * memory == pytest.approx(peak)
    assert low["rate"] == pytest.approx(low["intensity"] * memory / 1e12)
    assert [ridge["rate"], high["rate"]] == pytest.approx([peak / 1e12] * 2)
    assert [point["intensity"] for point in points] == pytest.approx([one, other])


def test_without_a_bandwidth_the_roof_is_flat_and_the_caption_says_so() -> None:
    figure, roofs, _ = roofline_of(measured("a", 2e9, 1e9, 1e12), memory_byte_per_s=None)
    assert [corner["rate"] for corner in roofs] == [15.7, 15.7]
    assert {corner["roof"] for corner in roofs} == {"fp32: 15.7 TFLOP/s"}
    assert "bandwidth is unknown" in figure.caption
    assert "unknown" not in roofline_of(measured("a", 2e9, 1e9, 1e12))[0].caption


def test_each_precision_has_the_roof_of_its_own_peak() -> None:
    half = measured("h", 1e12, 1e9, 5e13, precision="fp16", peak_fraction=0.4)
    _, roofs, _ = roofline_of(measured("a", 2e9, 1e9, 1e12), half)
    assert {corner["name"]: corner["rate"] for corner in roofs if corner["is_end"]} == {
        "fp32": pytest.approx(15.7),
        "fp16": pytest.approx(125.0),
    }


def test_a_roof_does_not_leave_the_plot_where_it_begins_below_the_rates_shown() -> None:
    """At 10 FLOP/B the memory allows 9 TFLOP/s, but the axis begins at 1: the line starts at 0.9."""
    figure, roofs, _ = roofline_of(measured("a", 10e9, 1e9, 9e12))
    line = figure.spec["layer"][0]
    assert line["encoding"]["y"]["scale"]["domainMin"] == 1.0 > roofs[0]["rate"] and line["mark"]["clip"]


def test_without_any_peak_there_are_points_and_no_roof() -> None:
    bare = measured("a", 2e9, 1e9, 1e12, peak_fraction=None)
    _, roofs, points = roofline_of(bare, peak_flop_per_s=None)
    assert roofs == [] and [point["rate"] for point in points] == [1.0]


def test_only_kernels_with_known_flop_and_bytes_are_points() -> None:
    known = measured("a", 2e9, 1e9, 1e12)
    others = [replace(known, byte=None), replace(known, flop=None), replace(known, flop=0.0)]
    figure, _, points = roofline_of(known, *others, replace(known, name="b"))
    assert [point["kernel"] for point in points] == ["a", "b"]
    share = 2 * known.time_fraction
    assert figure.caption.startswith(
        f"2 kernels with known FLOP, {100 * share:.1f} % of the step; area: time"
    )
    assert roofline_figure(replace(resnet(), kernels=tuple(others))) is None


def test_a_point_tells_its_kernel() -> None:
    row = replace(measured("a", 2e9, 1e9, 1e12, peak_fraction=0.5), bound="memory")
    _, _, [point] = roofline_of(row)
    assert point["intensity"] == 2.0 and point["rate"] == 1.0 and point["ms"] == 2.0
    assert (point["time"], point["reached"], point["of peak"], point["bound"]) == (
        "2.00 ms a step",
        "1.00 TFLOP/s",
        "50.0 %",
        "memory by its shapes",
    )


# --- modules -------------------------------------------------------------------------------------------


def icicle(*rows: tuple[str, float]) -> list[Row]:
    figure = made(modules_figure(modules(resnet(), *rows)))
    found: list[Row] = figure.spec["data"]["values"]
    return found


def test_a_module_is_as_wide_as_its_own_flop_and_those_inside() -> None:
    found = icicle(("", 1e9), ("layers.0", 2e9), ("layers.1", 3e9), ("layers", 1e9), ("head", 3e9))
    assert [(row["module"], row["depth"], row["share"], row["flop"], row["own"]) for row in found] == [
        ("the model", 0, "100.0 %", "10.0 GFLOP", "1.00 GFLOP"),
        ("layers", 1, "60.0 %", "6.00 GFLOP", "1.00 GFLOP"),
        ("layers.0", 2, "20.0 %", "2.00 GFLOP", "2.00 GFLOP"),
        ("layers.1", 2, "30.0 %", "3.00 GFLOP", "3.00 GFLOP"),
        ("head", 1, "30.0 %", "3.00 GFLOP", "3.00 GFLOP"),
    ]
    assert [row["name"] for row in found] == ["the model", "layers", "0", "1", "head"]
    places = {row["module"]: (row["start"], row["end"]) for row in found}
    assert places["layers.1"] == pytest.approx((0.2, 0.5)) and places["head"] == pytest.approx((0.6, 0.9))


def test_all_work_on_a_module_counts() -> None:
    flop = replace(resnet().flop, by_module=(ModuleFlop("a", 1e9, 2e9, 4e9),))
    figure = made(modules_figure(replace(resnet(), flop=flop)))
    assert figure.caption.startswith("7.00 GFLOP a step, forward, backward and recomputation")


names = st.lists(st.sampled_from("abc"), max_size=9).map(".".join)


@given(st.lists(st.tuples(names, st.floats(1e3, 1e12)), min_size=1, max_size=12))
def test_modules_lie_inside_the_one_that_holds_them(rows: list[tuple[str, float]]) -> None:
    found = icicle(*rows)
    by_name = {("" if row["depth"] == 0 else row["module"]): row for row in found}
    assert len(by_name) == len(found), "one rectangle for each"
    for name, row in by_name.items():
        own = [flop for other, flop in rows if f"{other}.".startswith(f"{name}.") or not name]
        assert row["end"] - row["start"] == pytest.approx(sum(own) / sum(flop for _, flop in rows))
        assert row["end"] - row["start"] >= LEAST_FRACTION - 1e-12 and row["depth"] <= MOST_DEPTH
        children = [
            child
            for other, child in by_name.items()
            if other and other.rpartition(".")[0] == name and child is not row
        ]
        edge = row["start"]
        for child in children:
            assert child["depth"] == row["depth"] + 1
            assert child["start"] >= edge - 1e-9, "beside the one before"
            edge = child["end"]
        assert edge <= row["end"] + 1e-9


def test_levels_too_deep_to_draw_count_for_those_above_and_nest_nothing() -> None:
    deep = ".".join(["a"] * 5_000)
    found = icicle((deep, 1e9), ("b", 1e9))
    assert [row["depth"] for row in found] == [0, *range(1, MOST_DEPTH + 1), 1]
    assert {row["share"] for row in found[1:]} == {"50.0 %"}


def test_narrow_modules_are_not_drawn_and_the_caption_says_so() -> None:
    report = modules(resnet(), ("wide", 1e9), ("narrow", 1e6))
    figure = made(modules_figure(report))
    assert [row["name"] for row in figure.spec["data"]["values"]] == ["the model", "wide"]
    assert figure.caption.endswith("; under 0.2 % or over 6 levels deep is not drawn.")


def test_without_flop_by_module_there_is_no_icicle() -> None:
    assert modules_figure(resnet()) is None
    assert modules_figure(modules(resnet(), ("a", 0.0))) is None


# --- hardware ------------------------------------------------------------------------------------------

SAMPLES = DeviceSamples(
    time_s=(0.0, 1.0, 2.0, 3.0),
    clock_hz=(1.5e9, None, 1.2e9, 1.4e9),
    power_w=(300.0, 310.0, 400.0, 390.0),
    throttle=("", "power cap", "power cap, thermal", ""),
)


def sampled(samples: DeviceSamples | None, **device: Any) -> Report:
    report = resnet()
    return replace(report, device_samples=samples, device=replace(report.device, **device))


def test_without_samples_there_is_no_chart_of_the_hardware() -> None:
    assert hardware_figure(sampled(None)) is None
    assert hardware_figure(sampled(DeviceSamples((), (), (), ()))) is None
    nothing = replace(SAMPLES, clock_hz=(None,) * 4, power_w=(None,) * 4)
    assert hardware_figure(sampled(nothing)) is None


def test_samples_are_points_in_gigahertz_and_watt_and_unknown_ones_are_absent() -> None:
    clock, power = made(hardware_figure(sampled(SAMPLES))).spec["vconcat"]
    assert clock["data"]["values"] == [
        {"s": 0.0, "clock": 1.5, "held down by": "nothing"},
        {"s": 2.0, "clock": 1.2, "held down by": "power cap, thermal"},
        {"s": 3.0, "clock": pytest.approx(1.4), "held down by": "nothing"},
    ]
    assert [row["power"] for row in power["data"]["values"]] == [300.0, 310.0, 400.0, 390.0]


def rules(figure: Figure) -> list[float]:
    return [
        layer["encoding"]["y"]["datum"]
        for chart in figure.spec["vconcat"]
        for layer in chart["layer"]
        if layer["mark"]["type"] == "rule"
    ]


def test_the_limits_that_are_known_are_dashed_and_said() -> None:
    both = made(hardware_figure(sampled(SAMPLES, datasheet_clock_hz=1.53e9, power_limit_w=400.0)))
    assert rules(both) == [1.53, 400.0]
    assert both.caption == (
        "4 samples; dashed: the datasheet's clock, 1.53 GHz; dashed: the power limit, 400 W; "
        "the clock was held down in 50 % of the samples: power cap, thermal."
    )
    free = replace(SAMPLES, throttle=("",) * 4)
    none = made(hardware_figure(sampled(free)))
    assert rules(none) == [] and none.caption == "4 samples; nothing held the clock down."


def test_a_limit_of_what_was_not_sampled_is_not_drawn() -> None:
    power_alone = replace(SAMPLES, clock_hz=(None,) * 4)
    figure = made(hardware_figure(sampled(power_alone, datasheet_clock_hz=1.53e9, power_limit_w=400.0)))
    assert rules(figure) == [400.0] and "clock, 1.53" not in figure.caption
