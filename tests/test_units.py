"""Numbers become text in one place, and what is not zero never reads as zero."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler import units

positive = st.floats(min_value=1e-12, max_value=1e24)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.percent_text(0.281), "28.1 %"),
        (units.percent_text(0), "0.0 %"),
        (units.percent_text(-0.08), "-8.0 %"),
        (units.percent_text(0.0003), "0.03 %"),
        (units.percent_text(0.00001), "0.001 %"),
        (units.percent_text(1e-7), "<0.001 %"),
        (units.percent_text(-1e-7), "-<0.001 %"),
        (units.percent_text(0.99), "99.0 %"),
        (units.percent_text(0.281, digits=0), "28 %"),
        (units.percent_text(1e30), "1.00e+32 %"),
        (units.points_text(0.052), "+5.2 points"),
        (units.points_text(-0.052), "-5.2 points"),
        (units.points_text(0), "0.0 points"),
        (units.time_text(0), "0 s"),
        (units.time_text(0.1762), "176 ms"),
        (units.time_text(-0.0141), "-14.1 ms"),
        (units.time_text(4.1), "4.10 s"),
        (units.time_text(8.5e-7), "850 ns"),
        (units.time_text(13e-6), "13.0 µs"),
        (units.time_text(0.9996), "1.00 s"),
        (units.time_text(0.9994), "999 ms"),
        (units.time_text(12_345), "12,345 s"),
        (units.flop_text(7.776e11), "778 GFLOP"),
        (units.flop_text(12), "12.0 FLOP"),
        (units.flop_rate_text(15.7e12), "15.7 TFLOP/s"),
        (units.flop_rate_text(999.6e12), "1.00 PFLOP/s"),
        (units.byte_text(19_267_584), "19.3 MB"),
        (units.byte_rate_text(9e11), "900 GB/s"),
        (units.count_text(1462), "1,462"),
        (units.count_text(1.5), "1.5"),
        (units.count_text(2.0), "2"),
        (units.count_text(0.25), "0.25"),
        (units.count_text(12.6), "13"),
    ],
)
def test_numbers_as_a_reader_expects_them(text: str, expected: str) -> None:
    assert text == expected


def test_a_column_of_rates_has_the_unit_of_its_largest() -> None:
    assert units.flop_rate_column([15.7e12, None, 4e11]) == ("TFLOP/s", ["15.7", None, "0.40"])
    assert units.flop_rate_column([3e9, 2e8]) == ("GFLOP/s", ["3.00", "0.20"])
    assert units.flop_rate_column([None]) == ("TFLOP/s", [None])


@given(positive)
def test_times_keep_three_digits(seconds: float) -> None:
    shown, unit = units.time_text(seconds).split()
    scale = {"s": 1.0, "ms": 1e3, "µs": 1e6, "ns": 1e9}[unit]
    step = 0.005 if unit == "ns" else 0
    assert float(shown.replace(",", "")) == pytest.approx(seconds * scale, rel=0.0051, abs=step)
    assert unit == "s" or float(shown) < 1000


@given(positive)
def test_rates_keep_three_digits_and_never_read_one_thousand_of_a_unit(rate: float) -> None:
    shown = units.flop_rate_text(rate)
    match = re.fullmatch(r"([\d.,e+]+) ([kMGTPE]?)FLOP/s", shown)
    assert match is not None
    number = float(match[1].replace(",", ""))
    scale = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}[match[2]]
    assert number * scale == pytest.approx(rate, rel=0.0051, abs=0.005)
    assert number < 1000 or match[2] == "E"


@given(st.floats(min_value=1e-9, max_value=1e3))
def test_a_percentage_above_zero_never_reads_as_zero(fraction: float) -> None:
    assert re.search(r"[1-9]", units.percent_text(fraction))
    assert units.percent_text(-fraction) == f"-{units.percent_text(fraction)}"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_number_is_longer_than_a_column(value: float) -> None:
    for text in (units.time_text(value), units.flop_rate_text(value), units.percent_text(value)):
        assert len(text) <= 18, text


def test_an_mfu_under_one_percent_has_a_second_digit() -> None:
    assert units.mfu_percent_text(0.0019) == "0.19 %"
    assert units.mfu_percent_text(0.0101) == "1.0 %"
    assert units.mfu_percent_text(0.28178) == "28.2 %"
