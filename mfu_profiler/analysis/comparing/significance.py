"""Whether two mean step times differ by more than their steps do: Welch's test on means and spreads.

::

    se = sqrt(s1^2 / n1 + s2^2 / n2)        standard error of the difference of the means
    df = se^4 / ((s1^2 / n1)^2 / (n1 - 1) + (s2^2 / n2)^2 / (n2 - 1))
    noise = t(0.975, df) x se               a difference beyond it has a chance under 5 % among equal runs

It knows of the steps of one run and not of what differs from one run to the next (clocks, other processes).

Source: B. L. Welch, Biometrika 34 (1947), p. 28; F. E. Satterthwaite, Biometrics Bulletin 2 (1946), p. 110.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import inf, isfinite, pi, sqrt

from mfu_profiler.analysis.report import Report

__all__ = ["noise_s", "standard_error_s", "t_quantile"]

_QUANTILES: Sequence[tuple[int, float]] = (
    *enumerate((12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228), start=1),
    *enumerate((2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086), start=11),
    *enumerate((2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042), start=21),
    (40, 2.021),
    (60, 2.000),
    (120, 1.980),
)
"""Degrees of freedom -> the t that 97.5 % of cases are below.

Source: NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2."""
_MEDIAN_FACTOR = sqrt(pi / 2)
"""Standard error of a median over that of a mean, of many normally distributed values.

Source: Kendall, Stuart, The Advanced Theory of Statistics, volume 1, section 10.10."""


def t_quantile(degrees: float) -> float:
    """The 97.5 % quantile of Student's t; of the next lower degrees in the table, which is the larger.

    Raises:
        ValueError: under one degree of freedom.

    """
    if not degrees >= 1:
        raise ValueError(f"at least one degree of freedom is needed, not {degrees}")
    return _QUANTILES[bisect_right(_QUANTILES, (degrees, inf)) - 1][1]


def standard_error_s(report: Report) -> tuple[float, int] | None:
    """Standard error of the report's step time and the number of steps; None where steps have no spread.

    Windows give the mean, unprofiled steps of a live run mostly the median, which is the less certain.
    """
    steps, step_s = report.steps, report.step_time_s
    count = steps.count if steps.unprofiled_count is None else steps.unprofiled_count
    if step_s is None or steps.spread_fraction is None or count < 2:
        return None
    sample_s = steps.spread_fraction * step_s * sqrt(count / (count - 1))
    error_s = sample_s / sqrt(count)
    is_median = steps.unprofiled_count is not None and not steps.source.startswith("mean")
    error_s *= _MEDIAN_FACTOR if is_median else 1.0
    return (error_s, count) if isfinite(error_s) and error_s >= 0 else None


def noise_s(first: Report, second: Report) -> float | None:
    """The largest difference of two step times that is within the noise of their steps; None if unknown."""
    errors = standard_error_s(first), standard_error_s(second)
    if errors[0] is None or errors[1] is None:
        return None
    (ours_s, our_count), (theirs_s, their_count) = errors[0], errors[1]
    largest = max(ours_s, theirs_s)
    if largest == 0:
        return 0.0
    a, b = (ours_s / largest) ** 2, (theirs_s / largest) ** 2  # relative: squares of small errors underflow
    degrees = (a + b) ** 2 / (a**2 / (our_count - 1) + b**2 / (their_count - 1))
    return t_quantile(max(1.0, degrees)) * sqrt(a + b) * largest
