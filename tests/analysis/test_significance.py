"""What is noise: Welch's test on the steps of two runs."""

from __future__ import annotations

from math import gamma, pi, sqrt

import numpy as np
import pytest

from mfu_profiler.analysis.comparing.significance import noise_s, t_quantile

from .compared import live, pair, run


def test_the_quantiles_are_those_of_students_t() -> None:
    """97.5 % of the density lies below each: half of it below 0, and the integral from 0 to it."""
    for degrees in (1, 2, 5, 17, 30, 40, 60, 120):
        quantile = t_quantile(degrees)
        scale = gamma((degrees + 1) / 2) / (sqrt(degrees * pi) * gamma(degrees / 2))
        places = np.linspace(0, quantile, 200_001)
        density = scale * (1 + places**2 / degrees) ** (-(degrees + 1) / 2)
        below = 0.5 + float(np.sum((density[1:] + density[:-1]) / 2)) * (places[1] - places[0])
        assert below == pytest.approx(0.975, abs=3e-5), degrees


def test_between_two_rows_of_the_table_the_more_careful_quantile_counts() -> None:
    assert t_quantile(1.9) == t_quantile(1) == 12.706
    assert t_quantile(59.9) == t_quantile(40) == 2.021
    assert t_quantile(1e9) == t_quantile(120) == 1.980
    for degrees in (0.9, float("nan")):
        with pytest.raises(ValueError, match="degree of freedom"):
            t_quantile(degrees)


def test_noise_is_welchs() -> None:
    """5 steps each with a deviation of 2 s: the error of the difference is sqrt(4/5 + 4/5) = 1.265, and the
    degrees of freedom are 8, whose t is 2.306."""
    a, b = run(100.0, deviation_s=2.0), run(103.0, deviation_s=2.0)
    assert noise_s(a, b) == pytest.approx(2.306 * sqrt(1.6))
    assert pair(a, b).verdict == "slower" and pair(b, a).verdict == "faster"
    assert pair(a, run(102.9, deviation_s=2.0)).verdict == "within the noise"
    assert pair(a, run(97.1, deviation_s=2.0)).verdict == "within the noise"


def test_a_run_that_varies_little_leaves_the_degrees_to_the_other() -> None:
    """(0 + 4/4)^2 / ((4/4)^2 / 3) = 3 degrees: t = 3.182 times an error of 1."""
    assert noise_s(run(100.0, deviation_s=0.0, count=50), run(90.0, deviation_s=2.0, count=4)) == (
        pytest.approx(3.182)
    )


def test_the_median_of_a_live_run_is_less_certain_than_a_mean() -> None:
    a, b = (live(run(100.0, deviation_s=2.0, count=5), 5, "mean") for _ in range(2))
    mean = noise_s(a, b)
    assert mean == pytest.approx(2.306 * sqrt(1.6))
    medians = [live(run(100.0, deviation_s=2.0, count=5), 5, "median") for _ in range(2)]
    assert noise_s(*medians) == pytest.approx(mean * sqrt(pi / 2))


def test_of_a_live_run_its_unprofiled_steps_count() -> None:
    few = run(100.0, deviation_s=2.0, count=5)
    many = live(few, 500, "mean")
    assert (noise_s(many, many) or 0.0) < 0.2 * (noise_s(few, few) or 0.0)


def test_one_step_has_no_spread_whatever_the_other_run_has() -> None:
    one, several = run(100.0, count=1), run(150.0, deviation_s=1.0)
    assert pair(one, several).verdict == pair(several, one).verdict == "no spread"
    assert pair(one, several).noise_s is None


def test_steps_that_do_not_vary_make_every_difference_real() -> None:
    a, b = run(1.0, deviation_s=0.0), run(1.0 + 1e-9, deviation_s=0.0)
    assert pair(a, b).verdict == "slower" and pair(a, b).noise_s == 0


def test_an_unknown_step_time_is_unknown() -> None:
    found = pair(run(None), run(1.0, deviation_s=0.1))
    assert found.verdict == "unknown" and found.change_s is None and found.change_fraction is None
    assert found.causes == () and found.causes_unknown_because == "A has no step time"
