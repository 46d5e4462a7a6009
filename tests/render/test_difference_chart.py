"""The bridge from one run's step to another's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.analysis.comparing.comparison import CauseChange
from mfu_profiler.analysis.report import PARTS
from mfu_profiler.render.charts import Figure
from mfu_profiler.render.charts.difference import difference_figure
from tests.analysis.compared import pair, run


def made(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


times = st.floats(0.0, 2.0, allow_subnormal=False)
causes = st.lists(st.tuples(times, times), min_size=1, max_size=len(PARTS))


@given(causes)
def test_the_bridge_leads_from_one_step_to_the_other(found: list[tuple[float, float]]) -> None:
    changes = tuple(
        CauseChange(cause, a, b, b - a, None, None) for cause, (a, b) in zip(PARTS, found, strict=False)
    )
    start, end = sum(a for a, _ in found), sum(b for _, b in found)
    compared = replace(pair(run(0.1), run(0.2)), causes=changes)
    first, *bars, last = made(difference_figure(compared)).spec["data"]["values"]
    assert (first["cause"], first["low"], first["high"]) == ("step of A", 0.0, pytest.approx(1e3 * start))
    assert (last["cause"], last["low"], last["high"]) == ("step of B", 0.0, pytest.approx(1e3 * end))
    at = first["high"]
    for bar in bars:
        is_longer = bar["text"].startswith("+")
        assert (bar["color"] == "#d9482b") == is_longer
        assert bar["low" if is_longer else "high"] == pytest.approx(at, abs=1e-6)
        at = bar["high" if is_longer else "low"]
    assert at == pytest.approx(last["high"], abs=1e-6), "no change is lost, however small"
    assert len({bar["cause"] for bar in bars}) == len(bars)


def test_a_bar_of_the_bridge_says_how_much_from_what_to_what() -> None:
    changes = (
        CauseChange("idle_data_loading", 0.06, 0.01, -0.05, 0.5, 0.1),
        CauseChange("copy", 0.01, 0.02, 0.01, 0.1, 0.2),
        CauseChange("communication", 0.03, 0.03001, 0.00001, 0.3, 0.3),
    )
    compared = replace(pair(run(0.1), run(0.06)), causes=changes)
    figure = made(difference_figure(compared))
    bars = figure.spec["data"]["values"]
    assert [(bar["cause"], bar["text"], bar["detail"]) for bar in bars] == [
        ("step of A", "100 ms", ""),
        ("data loading", "-50.0 ms", "60.0 ms → 10.0 ms"),
        ("exposed copy", "+10.0 ms", "10.0 ms → 20.0 ms"),
        ("smaller changes", "+10.0 µs", "together"),
        ("step of B", "60.0 ms", ""),
    ]
    assert figure.caption.startswith("100 ms → 60.0 ms")
    assert difference_figure(replace(compared, causes=())) is None
