"""Devices that are a part of a row (MIG slice, partition, tile), or that have no name."""

from __future__ import annotations

import pytest

from mfu_profiler.errors import UnknownDeviceError
from mfu_profiler.hardware import Backend, DeviceMatch, find_device

A100 = "NVIDIA A100-SXM4-80GB"


def bf16_tflop_per_s(match: DeviceMatch) -> float:
    return match.peak_flop_per_s["bf16"] / 1e12


def test_a_whole_device_is_not_scaled() -> None:
    match = find_device(A100, sm_count=108)
    assert (match.scaled_fraction, match.source, match.sm_count) == (1.0, "datasheet", 108)
    assert match.memory_byte_per_s == 2039e9


@pytest.mark.parametrize(
    ("name", "sm_count", "row"),
    [
        ("Tesla V100-DGXS-32GB", 80, "Tesla V100 SXM2 16/32GB"),
        ("Tesla V100-SXM2-32GB", 80, "Tesla V100 SXM2 16/32GB"),
        ("NVIDIA A100-PG509-200", 108, "A100 SXM4 40GB"),
        ("NVIDIA A100-SXM4-80GB", 108, "A100 SXM4 80GB"),
        ("NVIDIA H100 80GB HBM3", 132, "H100 SXM5 80GB"),
        ("NVIDIA B200", 148, "B200 SXM 180GB"),
        ("AMD Instinct MI300X", 304, "Instinct MI300X"),
        ("AMD Instinct MI300X VF", 304, "Instinct MI300X"),
    ],
)
def test_every_device_of_the_reference_traces_is_known_and_whole(name: str, sm_count: int, row: str) -> None:
    match = find_device(name, sm_count=sm_count)
    assert (match.spec.name, match.scaled_fraction, match.source) == (row, 1.0, "datasheet")


def test_a_mig_slice_has_the_share_of_its_sms_and_of_its_memory_slices() -> None:
    match = find_device(f"{A100} MIG 3g.40gb", sm_count=42)
    assert match.source == "datasheet, 42 of 108 SMs (MIG)"
    assert bf16_tflop_per_s(match) == pytest.approx(312 * 42 / 108)
    assert match.memory_byte_per_s == pytest.approx(2039e9 * 4 / 8)  # not 42 / 108: half of the memory


@pytest.mark.parametrize(
    ("name", "sm_count"),
    [
        (f"{A100} MIG 1g.10gb", 14),
        (f"{A100} MIG 1g.10gb+me", 14),
        (f"{A100} MIG 7g.80gb", 98),
        ("A100-SXM4-40GB MIG 2g.10gb", 28),
        ("NVIDIA A30 MIG 2g.12gb", 28),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 16),
        ("NVIDIA H100 80GB HBM3 MIG 3g.40gb", 60),
        ("NVIDIA H100 PCIe MIG 3g.40gb", 46),
        ("NVIDIA H200 MIG 7g.141gb", 132),
    ],
)
def test_a_documented_mig_profile_tells_its_sms(name: str, sm_count: int) -> None:
    assert find_device(name).sm_count == sm_count


def test_a_reported_sm_count_goes_before_the_documented_one() -> None:
    assert find_device(f"{A100} MIG 3g.40gb", sm_count=28).sm_count == 28


@pytest.mark.parametrize("profile", ["3g.99gb", "1c.3g.40gb"])
def test_an_undocumented_mig_profile_needs_the_sm_count(profile: str) -> None:
    with pytest.raises(UnknownDeviceError, match="SM count"):
        find_device(f"{A100} MIG {profile}")
    match = find_device(f"{A100} MIG {profile}", sm_count=14)
    assert match.scaled_fraction == pytest.approx(14 / 108)


def test_a_mig_slice_of_an_unknown_device_is_unknown() -> None:
    with pytest.raises(UnknownDeviceError):
        find_device("NVIDIA A101 MIG 1g.10gb", sm_count=14)


def test_more_sms_than_the_row_mean_another_device() -> None:
    with pytest.raises(UnknownDeviceError, match="it reports 124 SMs, and A100 SXM4 80GB has 108"):
        find_device(A100, sm_count=124)


def test_fewer_sms_without_mig_are_scaled_with_low_confidence() -> None:
    match = find_device(A100, sm_count=54)
    assert match.source == "datasheet (low confidence), 54 of 108 SMs visible"
    assert match.scaled_fraction == 0.5
    assert match.memory_byte_per_s is None


@pytest.mark.parametrize("sm_count", [0, -1, 10**12])
def test_an_impossible_sm_count_is_refused(sm_count: int) -> None:
    with pytest.raises(UnknownDeviceError, match="it reports"):
        find_device(A100, sm_count=sm_count)


def test_the_12_gb_rtx_3080_is_not_the_10_gb_one() -> None:
    name = "NVIDIA GeForce RTX 3080"
    assert find_device(name, sm_count=68).source == "datasheet"
    assert "12 GB" in find_device(name).source
    assert "low confidence" in find_device(name).source
    for other in ({"sm_count": 70}, {"memory_byte": 12 * 2**30}):
        with pytest.raises(UnknownDeviceError, match="12 GB card"):
            find_device(name, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["AMD Instinct MI250X / MI250", "AMD Instinct MI250X/MI250"])
def test_the_cu_count_tells_mi250x_from_mi250(name: str) -> None:
    assert bf16_tflop_per_s(find_device(name, sm_count=110)) == 191.5
    assert bf16_tflop_per_s(find_device(name, sm_count=104)) == 181
    with pytest.raises(UnknownDeviceError, match="CUs decide"):
        find_device(name)


def test_a_compute_partition_of_mi300x_has_its_share() -> None:
    match = find_device("AMD Instinct MI300X", sm_count=38)
    assert match.source == "datasheet, 38 of 304 CUs (partition)"
    assert bf16_tflop_per_s(match) == pytest.approx(1307.4 / 8)


def test_rdna_reports_half_of_its_cus() -> None:
    for reported in (48, 96):
        match = find_device("AMD Radeon RX 7900 XTX", sm_count=reported)
        assert (match.scaled_fraction, match.sm_count) == (1.0, 96)


def test_an_intel_max_1550_device_is_one_tile() -> None:
    name = "Intel(R) Data Center GPU Max 1550"
    match = find_device(name, backend="xpu")
    assert match.source == "datasheet, 64 of 128 Xe-cores (tile)"
    assert bf16_tflop_per_s(match) == pytest.approx(838.9 / 2)
    assert match.memory_byte_per_s == pytest.approx(3276.8e9 / 2)
    assert find_device(name, sm_count=512).scaled_fraction == 0.5  # torch.xpu counts EUs
    assert find_device(name, sm_count=448).sm_count == 56
    assert find_device(name, sm_count=1024).scaled_fraction == 1.0  # both tiles as one device


def test_a_nameless_instinct_is_found_by_gfx_and_cus() -> None:
    match = find_device(
        "", gfx="gfx942:sramecc+:xnack-", sm_count=304, memory_byte=206141652992, backend="rocm"
    )
    assert match.spec.name == "Instinct MI300X"
    assert match.source == "datasheet, gfx942 with 304 CUs: Instinct MI300X"


def test_a_nameless_instinct_is_found_by_capability_and_cus() -> None:
    match = find_device("AMD Radeon Graphics", compute_capability=(9, 0), sm_count=104)
    assert bf16_tflop_per_s(match) == 181  # MI210 and MI250's GCD have the same figures
    assert find_device("", compute_capability=(9, 0), sm_count=110, backend="rocm").spec.name.startswith(
        "Instinct MI250X"
    )


def test_a_nameless_device_whose_bandwidth_is_open_gets_its_peak_only() -> None:
    match = find_device("", compute_capability=(9, 4), sm_count=304, backend="rocm")
    assert bf16_tflop_per_s(match) == 1307.4
    assert match.memory_byte_per_s is None
    assert "Instinct MI300X or Instinct MI325X" in match.source


def test_a_nameless_device_whose_peak_is_open_is_refused() -> None:
    with pytest.raises(UnknownDeviceError, match="Instinct MI350X or Instinct MI355X"):
        find_device("", compute_capability=(9, 5), sm_count=256, backend="rocm")


@pytest.mark.parametrize("backend", [None, "cuda"])
def test_capability_9_0_without_amd_means_nothing(backend: Backend | None) -> None:
    with pytest.raises(UnknownDeviceError):
        find_device("", compute_capability=(9, 0), sm_count=110, backend=backend)


def test_a_name_is_never_overruled_by_the_gfx_id() -> None:
    with pytest.raises(UnknownDeviceError):
        find_device("AMD Instinct MI999X", gfx="gfx942", sm_count=304, backend="rocm")
