"""Estimates: only when asked for, labelled, and never where a cap or a missing clock makes them wrong."""

from __future__ import annotations

import pytest

from mfu_profiler.errors import OptionError, UnknownDeviceError
from mfu_profiler.hardware import estimated_device

UNKNOWN = "NVIDIA H100 80GB HBM4"


def test_an_estimate_is_rate_times_sms_times_clock_and_says_so() -> None:
    match = estimated_device(UNKNOWN, compute_capability=(9, 0), sm_count=132, clock_hz=1.98e9)
    assert match.source == "estimate: sm_90 rate x 132 SMs x 1.98 GHz"
    assert match.peak_flop_per_s["bf16"] == 4096 * 132 * 1.98e9
    assert match.spec.confidence == "low"
    assert match.memory_byte_per_s is None


def test_without_a_clock_the_lowest_of_the_architecture_is_taken_and_named() -> None:
    match = estimated_device(UNKNOWN, compute_capability=(9, 0), sm_count=132)
    assert match.source == ("estimate: sm_90 rate x 132 SMs x 1.62 GHz (lowest clock of known sm_90 devices)")


@pytest.mark.parametrize(
    ("name", "capability", "key"),
    [
        ("NVIDIA RTX A5500", (8, 6), "sm_86"),
        ("NVIDIA GeForce RTX 3060 Ti", (8, 6), "sm_86_geforce"),
        ("NVIDIA RTX 4500 Ada Generation", (8, 9), "sm_89"),
        ("NVIDIA GeForce RTX 4070 Ti", (8, 9), "sm_89_geforce"),
        ("NVIDIA RTX PRO 5000 Blackwell", (12, 0), "sm_120"),
        ("NVIDIA GeForce RTX 5060", (12, 0), "sm_120_geforce"),
        ("NVIDIA GeForce RTX 2070", (7, 5), "sm_75_geforce"),
        ("NVIDIA GeForce GTX 1660", (7, 5), "sm_75_tu11x"),
        ("NVIDIA T400 4GB", (7, 5), "sm_75_tu11x"),
        ("NVIDIA Thor Developer Kit", (10, 1), "sm_110"),
    ],
)
def test_the_variant_of_an_architecture_follows_the_name(
    name: str, capability: tuple[int, int], key: str
) -> None:
    match = estimated_device(name, compute_capability=capability, sm_count=40, clock_hz=2e9)
    assert match.source.startswith(f"estimate: {key} rate x 40 SMs x 2.00 GHz")


@pytest.mark.parametrize(
    "name", ["NVIDIA H20", "NVIDIA H20-3e", "NVIDIA H800", "NVIDIA L2", "NVIDIA GeForce RTX 5090 D"]
)
def test_a_capped_variant_is_never_estimated(name: str) -> None:
    with pytest.raises(UnknownDeviceError, match="export variant"):
        estimated_device(name, compute_capability=(9, 0), sm_count=78, clock_hz=1.98e9, backend="cuda")


def test_h200_is_not_taken_for_h20() -> None:
    assert "H200" in estimated_device("NVIDIA H200").spec.name


def test_a_catalog_device_without_a_peak_is_estimated_at_its_own_clock() -> None:
    match = estimated_device("AMD Instinct MI308X")
    assert match.source == "estimate: gfx942 rate x 80 CUs x 2.10 GHz"
    assert match.peak_flop_per_s["bf16"] == pytest.approx(344.064e12)


def test_rdna_work_group_processors_are_two_cus() -> None:
    match = estimated_device("AMD Radeon RX 7900 XT", gfx="gfx1100", sm_count=42, clock_hz=2.4e9)
    assert match.sm_count == 84


@pytest.mark.parametrize(
    ("name", "readings", "missing"),
    [
        (UNKNOWN, {"sm_count": 132}, "architecture"),
        (UNKNOWN, {"compute_capability": (9, 0)}, "number of SMs"),
        (UNKNOWN, {"compute_capability": (13, 7), "sm_count": 1}, "architecture"),
        ("", {"compute_capability": (9, 0), "sm_count": 132}, "architecture"),
        ("", {"compute_capability": (9, 0), "sm_count": 110, "backend": "rocm"}, "architecture"),
        ("NVIDIA B200 MIG 3g.90gb", {}, "number of SMs"),
        ("NVIDIA B300", {}, "clock"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", {"compute_capability": (8, 9), "sm_count": 76}, "clock"),
    ],
)
def test_an_estimate_is_refused_where_a_factor_is_missing(
    name: str, readings: dict[str, object], missing: str
) -> None:
    with pytest.raises(UnknownDeviceError, match=f"no estimate: .*{missing}") as refusal:
        estimated_device(name, **readings)  # type: ignore[arg-type]
    assert "--peak estimate   " not in str(refusal.value)


@pytest.mark.parametrize("clock_hz", [0.0, 1980.0, 1.98e12, float("nan")])
def test_a_clock_that_is_not_in_hz_is_refused(clock_hz: float) -> None:
    with pytest.raises(OptionError, match="Hz"):
        estimated_device(UNKNOWN, compute_capability=(9, 0), sm_count=132, clock_hz=clock_hz)
