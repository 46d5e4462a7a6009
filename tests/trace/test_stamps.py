"""Stamps in µs become ns without an error, and what is no stamp is masked."""

from decimal import ROUND_HALF_EVEN, Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.trace.stamps import LIMIT_US, nanoseconds, nanoseconds_of_text

whole = st.integers(0, int(LIMIT_US) - 1)


@given(st.lists(st.tuples(whole, st.integers(0, 999), st.integers(0, 4)), min_size=1, max_size=30))
def test_texts_are_exact_with_any_number_of_digits(stamps: list[tuple[int, int, int]]) -> None:
    digits = [
        f"{micro}.{nano:03d}0"[: len(str(micro)) + 1 + places] if places else str(micro)
        for micro, nano, places in stamps
    ]
    expected = [int(Decimal(text) * 1000) for text in digits]
    found, valid = nanoseconds_of_text([msgspec.Raw(text.encode()) for text in digits])
    assert found.tolist() == expected and valid.all()


@given(st.lists(st.decimals(allow_nan=True, allow_infinity=True), min_size=1, max_size=20))
def test_any_decimal_is_rounded_or_masked(values: list[Decimal]) -> None:
    found, valid = nanoseconds_of_text([msgspec.Raw(str(value).encode()) for value in values])
    for value, time_ns, is_valid in zip(values, found.tolist(), valid.tolist(), strict=True):
        if is_valid:
            assert time_ns == int((value * 1000).to_integral_value(ROUND_HALF_EVEN))
        else:
            assert not value.is_finite() or value.copy_abs() >= LIMIT_US or len(str(value)) >= 40


@given(st.lists(st.integers(-(2**43) * 1000 + 1, 2**43 * 1000 - 1), min_size=1, max_size=30))
def test_floats_are_exact_below_2_to_the_43_microseconds(times_ns: list[int]) -> None:
    found, valid = nanoseconds([float(Decimal(time) / 1000) for time in times_ns])
    assert found.tolist() == times_ns and valid.all()


@given(st.lists(whole, min_size=1, max_size=30))
def test_whole_stamps_of_any_size_are_exact(stamps: list[int]) -> None:
    assert nanoseconds(stamps)[0].tolist() == [1000 * stamp for stamp in stamps]


def test_what_is_no_stamp_is_masked() -> None:
    odd = [None, float("nan"), float("inf"), -float("inf"), 1e300, 10**400, 2**60, -(2**60)]
    assert not nanoseconds(odd)[1].any()
    texts = [
        b"",
        b"null",
        b'"x"',
        b"NaN",
        b"9" * 30,
        b"1e999",
        b"-",
        b"9007199254740993.5",
        b"1" * 50 + b".5",
    ]
    assert not nanoseconds_of_text([msgspec.Raw(text) for text in texts])[1].any()


def test_one_long_text_does_not_widen_the_others() -> None:
    found, valid = nanoseconds_of_text(
        [msgspec.Raw(b"1.5"), msgspec.Raw(b"1" * 10**6), msgspec.Raw(b'"2.5"')]
    )
    assert found.tolist() == [1500, 0, 2500] and valid.tolist() == [True, False, True]
