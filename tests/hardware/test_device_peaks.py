"""The data files: every number is that of its source, and the architecture rates explain it."""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path

import pytest

from mfu_profiler.hardware import PRECISIONS, DeviceSpec, devices
from mfu_profiler.hardware.tables import read_arch_rates, read_mig_profiles

COLUMNS = {
    "fp64_tflop_per_s": "fp64_tflops",
    "fp64_tensor_tflop_per_s": "fp64_tensor_tflops",
    "fp32_tflop_per_s": "fp32_tflops",
    "tf32_tflop_per_s": "tf32_tflops",
    "fp16_tflop_per_s": "fp16_tflops",
    "bf16_tflop_per_s": "bf16_tflops",
    "fp8_tflop_per_s": "fp8_tflops",
    "fp4_tflop_per_s": "fp4_tflops",
    "int8_tflop_per_s": "int8_tops",
    "memory_gb_per_s": "mem_bandwidth_gbs",
    "sm_count": "sm_count",
    "boost_clock_mhz": "boost_clock_mhz",
    "tensor_clock_mhz": "tensor_clock_mhz_published",
    "arch_rates_key": "arch_rates_key",
}
"""Our column -> the reference table's."""

STATED_IN_NOTES = {("A800 SXM4 40GB", "memory_gb_per_s"): "1555", ("H20-3e 141GB", "memory_gb_per_s"): "4800"}
"""Parts that the reference table keeps in one row, with the other figure in its notes."""

CLOCK_OF = dict.fromkeys(("fp64", "fp32"), "boost") | dict.fromkeys(
    ("tf32", "fp16", "bf16", "fp8", "fp4", "int8"), "tensor"
)
"""Sheets state vector and fp64 peaks at the boost clock, the other tensor peaks at the tensor clock."""

RESIDUAL_PERCENT = {
    "A100 SXM 64GB custom (Leonardo)": 1.15,  # its clock is not certain
    "A2": 1.14,  # fp64 is printed with one digit
    "GeForce RTX 3080 10GB": 1.11,  # the same
    "L40S": 1.21,  # its sheet mixes clocks: bf16 at 2490 MHz, the rest at 2520
    "H100 NVL 94GB (per GPU)": 15.58,  # no tensor clock is published; NVML's maximum is not it
    "H200 NVL 141GB": 15.58,  # the same
    "B200 SXM 180GB": 5.88,  # the same: 2250 implies 1856 MHz
    "GB200 (per GPU)": 2.70,  # the same, or the peak is that of 148 SMs
    "H20 96GB": 3853.66,  # capped
    "H20-3e 141GB": 3853.66,  # capped
    "H800 SXM 80GB": 6590.82,  # fp64 is fused off
    "H800 PCIe": 6302.24,  # the same
}
"""Where the formula misses a peak by more than 1 %, by how much, and why."""


WITHOUT_RATE = {("Radeon RX 7900 XTX", "fp64")}
"""Peaks that the architecture's row has no rate for."""


def rows(file: str) -> list[dict[str, str]]:
    text = files("mfu_profiler.hardware").joinpath(file).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def reference(shared_dir: Path, file: str, key: str) -> dict[str, dict[str, str]]:
    with open(shared_dir / "reference" / file, encoding="utf-8", newline="") as lines:
        return {row[key]: row for row in csv.DictReader(lines)}


def residual_percent(spec: DeviceSpec) -> float:
    """The largest difference between rate x units x clock and a peak of the row."""
    rate = read_arch_rates()[spec.arch_rates_key or ""]
    clocks = {"boost": spec.boost_clock_hz, "tensor": spec.tensor_clock_hz or spec.boost_clock_hz}
    differences = [0.0]
    for precision, peak in spec.peak_flop_per_s.items():
        clock, flop = clocks[CLOCK_OF[precision]], rate.flop_per_clock.get(precision)
        assert clock is not None
        assert spec.sm_count is not None
        if flop is None:
            assert (spec.name, precision) in WITHOUT_RATE
            continue
        differences.append(100 * abs(flop * spec.sm_count * clock / peak - 1))
    return max(differences)


def test_every_number_of_a_device_is_that_of_its_source_row(shared_dir: Path) -> None:
    source = reference(shared_dir, "peaks.csv", "marketing_name")
    for row in rows("peaks.csv"):
        for ours, theirs in COLUMNS.items():
            expected = STATED_IN_NOTES.get((row["name"], ours), source[row["source_row"]][theirs])
            assert row[ours] == expected, (row["name"], ours)


def test_every_row_of_the_source_is_in_the_catalog(shared_dir: Path) -> None:
    source = reference(shared_dir, "peaks.csv", "marketing_name")
    assert {spec.source_row for spec in devices()} == set(source)


def test_every_number_of_an_architecture_is_that_of_its_source_row(shared_dir: Path) -> None:
    source = reference(shared_dir, "arch_rates.csv", "key")
    ours = rows("arch_rates.csv")
    assert {row["key"] for row in ours} == set(source)
    for row in ours:
        for column in (*PRECISIONS, "fp64_tensor"):
            theirs = source[row["key"]][f"{column}_flops_per_sm_clk"]
            assert row[f"{column}_flop_per_clock"] == theirs, (row["key"], column)


def test_the_sources_own_residuals_are_ours(shared_dir: Path) -> None:
    source = reference(shared_dir, "peaks.csv", "marketing_name")
    for spec in devices():
        stated = source[spec.source_row]["max_abs_formula_residual_pct"]
        if stated and spec.arch_rates_key:
            assert residual_percent(spec) <= float(stated) + 0.01, spec.name


@pytest.mark.parametrize(
    "spec",
    [spec for spec in devices() if spec.arch_rates_key and (spec.tensor_clock_hz or spec.boost_clock_hz)],
    ids=lambda spec: spec.name,
)
def test_rate_times_units_times_clock_is_the_peak(spec: DeviceSpec) -> None:
    assert residual_percent(spec) <= RESIDUAL_PERCENT.get(spec.name, 1.0) + 0.01


def test_only_blackwell_ultra_has_a_rate_but_no_clock() -> None:
    without = [spec.name for spec in devices() if spec.arch_rates_key and not spec.boost_clock_hz]
    assert without == ["B300 SXM 288GB", "GB300 (per GPU)"]


def test_fp64_is_the_rate_that_matmuls_run_at() -> None:
    peaks = {spec.name: spec.peak_flop_per_s.get("fp64") for spec in devices()}
    assert peaks["A100 SXM4 80GB"] == 19.5e12  # tensor; the vector rate is 9.7
    assert peaks["H100 SXM5 80GB"] == 66.9e12
    assert peaks["Instinct MI210"] == 45.3e12
    assert peaks["Instinct MI100"] == 11.5e12  # CDNA1 has no fp64 matrix rate
    assert peaks["H800 SXM 80GB"] == 1e12


def test_fp32_on_cdna_1_and_2_is_the_matrix_rate() -> None:
    peaks = {spec.name: spec.peak_flop_per_s.get("fp32") for spec in devices()}
    assert peaks["Instinct MI100"] == 46.1e12
    assert peaks["Instinct MI250X (per GCD = torch device)"] == 47.9e12
    assert peaks["Instinct MI300X"] == 163.4e12


def test_fp16_on_p40_is_the_fp32_rate_that_torch_computes_it_at() -> None:
    p40 = next(spec for spec in devices() if spec.name == "Tesla P40")
    assert p40.peak_flop_per_s["fp16"] == p40.peak_flop_per_s["fp32"] == 11.8e12


def test_a_precision_without_tensor_cores_has_no_peak() -> None:
    v100 = next(spec for spec in devices() if spec.name == "Tesla V100 SXM2 16/32GB")
    assert set(v100.peak_flop_per_s) == {"fp64", "fp32", "fp16", "int8"}


def test_peaks_cannot_be_changed_by_a_caller() -> None:
    with pytest.raises(TypeError):
        devices()[0].peak_flop_per_s["fp32"] = 1.0  # type: ignore[index]


def test_every_mig_profile_belongs_to_a_device_and_is_no_larger() -> None:
    sm_counts = {spec.name: spec.sm_count for spec in devices()}
    for (device, profile), slice_ in read_mig_profiles().items():
        assert slice_.sm_count <= (sm_counts[device] or 0), (device, profile)
        assert 0 < slice_.memory_fraction <= 1


def test_every_row_names_its_source_and_its_confidence() -> None:
    for spec in devices():
        assert spec.source, spec.name
        assert spec.confidence in ("high", "medium", "low"), spec.name
