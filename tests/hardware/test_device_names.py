"""Names match whole: every known one finds its own row, and nothing near it does."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.errors import UnknownDeviceError
from mfu_profiler.hardware import DeviceSpec, devices, find_device
from mfu_profiler.hardware.names import devices_named, nearest_driver_names, split_mig

SPELLINGS = [(name, spec) for spec in devices() for name in (spec.name, *spec.driver_names)]

NO_PEAK = {"Instinct MI308X"}
"""Known names for which no public sheet gives a peak."""


def spelled(name: str) -> str:
    return " ".join(name.split()).casefold()


def expanded(hint: str) -> list[str]:
    """Every name that a regex of the reference table stands for: ``ab?(c|d)$`` and ``\\(``."""
    names, rest = _alternatives(hint)
    assert not rest, hint
    return names


def _alternatives(text: str) -> tuple[list[str], str]:
    names, rest = _sequence(text)
    while rest.startswith("|"):
        more, rest = _sequence(rest[1:])
        names += more
    return names, rest


def _sequence(text: str) -> tuple[list[str], str]:
    names = [""]
    while text and text[0] not in "|)":
        if text[0] == "(":
            choices, text = _alternatives(text[1:])
            text = text[1:]
        elif text[0] == "\\":
            choices, text = [text[1]], text[2:]
        else:
            choices, text = [text[0].replace("$", "")], text[1:]
        if text.startswith("?"):
            choices, text = ["", *choices], text[1:]
        names = [name + choice for name in names for choice in choices]
    return names, text


def find_by_units(name: str, spec: DeviceSpec) -> DeviceSpec:
    return find_device(name, sm_count=spec.sm_count).spec


@pytest.mark.parametrize(("name", "spec"), SPELLINGS, ids=[name for name, _ in SPELLINGS])
def test_every_name_finds_its_own_row(name: str, spec: DeviceSpec) -> None:
    if spec.name in NO_PEAK:
        with pytest.raises(UnknownDeviceError, match="no peak FLOP/s is known"):
            find_by_units(name, spec)
    else:
        assert find_by_units(name, spec) is spec


def test_every_name_of_the_reference_table_finds_its_row(shared_dir: Path) -> None:
    with open(shared_dir / "reference" / "peaks.csv", encoding="utf-8", newline="") as lines:
        source = list(csv.DictReader(lines))
    for row in source:
        for name in expanded(row["name_regex_hint"]):
            sm_count = int(row["sm_count"]) if row["sm_count"] else None
            found = [spec for spec in devices_named(name) if spec.sm_count == sm_count]
            assert [spec.source_row for spec in found] == [row["marketing_name"]], name


def test_only_mi250x_and_mi250_share_names() -> None:
    shared = [name for name, _ in SPELLINGS if len(devices_named(name)) > 1]
    assert all(name.startswith("AMD Instinct MI250X") and name.endswith("MI250") for name in shared)
    assert len(set(shared)) == 4


def test_case_and_repeated_spaces_do_not_matter() -> None:
    assert find_device("  nvidia   H100 80gb  HBM3 ").spec.name == "H100 SXM5 80GB"


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("A100-SXM4-40GB", "A100 SXM4 40GB"),
        ("NVIDIA A100-PG509-200", "A100 SXM4 40GB"),
        ("NVIDIA PG509-210", "A100 SXM4 80GB"),
        ("NVIDIA H100", "H100 custom (plain name, believed Meta)"),
        ("NVIDIA GH200 480GB", "GH200 96GB HBM3"),
        ("NVIDIA B300 SXM6 AC", "B300 SXM 288GB"),
        ("Tesla V100-DGXS-32GB", "Tesla V100 SXM2 16/32GB"),
        ("GeForce RTX 3090", "GeForce RTX 3090"),
        ("AMD Instinct MI300X VF", "Instinct MI300X"),
        ("H100 SXM5 80GB", "H100 SXM5 80GB"),
    ],
)
def test_old_new_oem_and_marketing_names_are_known(name: str, row: str) -> None:
    assert find_device(name).spec.name == row


@pytest.mark.parametrize(
    ("name", "precision", "tflop_per_s"),
    [
        ("NVIDIA A10G", "bf16", 70),
        ("NVIDIA A10", "bf16", 125),
        ("NVIDIA A100-SXM4-40GB", "bf16", 312),
        ("NVIDIA L40S", "bf16", 362.05),
        ("NVIDIA L40", "bf16", 181.05),
        ("NVIDIA L4", "bf16", 121),
        ("NVIDIA H200", "bf16", 989.4),
        ("NVIDIA H200 NVL", "bf16", 835.5),
        ("NVIDIA H100 NVL", "bf16", 835.5),
        ("NVIDIA H100 PCIe", "bf16", 756),
        ("NVIDIA H20", "bf16", 148),
        ("NVIDIA GH200 480GB", "bf16", 989.4),
        ("NVIDIA B200", "bf16", 2250),
        ("NVIDIA GB200", "bf16", 2500),
        ("AMD Instinct MI250X", "bf16", 191.5),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2),
        ("NVIDIA GeForce RTX 4090 D", "bf16", 147.1),
        ("Quadro RTX 6000", "fp16", 130.5),
        ("NVIDIA RTX 6000 Ada Generation", "fp16", 364.2),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "fp16", 503.8),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "fp16", 438.9),
        ("Tesla V100-SXM2-32GB", "fp16", 125),
        ("Tesla V100-PCIE-32GB", "fp16", 112),
        ("Tesla V100S-PCIE-32GB", "fp16", 130),
        ("Tesla T4", "fp16", 65),
    ],
)
def test_names_that_others_confuse_have_their_own_peak(name: str, precision: str, tflop_per_s: float) -> None:
    peaks = {str(key): peak for key, peak in find_device(name).peak_flop_per_s.items()}
    assert peaks[precision] == pytest.approx(tflop_per_s * 1e12, rel=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        "H100",
        "A100",
        "NVIDIA A100",
        "NVIDIA H100 80GB HBM4",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4080 Laptop GPU",
        "NVIDIA GeForce RTX 3060 Ti",
        "NVIDIA GeForce RTX 4070 Ti",
        "NVIDIA GeForce RTX 3080 Laptop GPU",
        "NVIDIA GeForce RTX 5090 D",
        "GeForce RTX 2080 Ti with Max-Q Design",
        "Quadro RTX 5000 with Max-Q Design",
        "NVIDIA T400",
        "NVIDIA T400 4GB",
        "NVIDIA A10M",
        "NVIDIA L40S-48Q",
        "NVIDIA RTX 6000",
        "NVIDIA RTX A5500",
        "GRID A100X-40C",
        "Tesla V100-SXM3-32GB",
        "AMD Instinct MI300",
        "AMD Radeon Graphics",
        "AMD Radeon RX 7900 XT",
        "",
        "cpu",
    ],
)
def test_a_name_that_only_resembles_a_known_one_is_refused(name: str) -> None:
    with pytest.raises(UnknownDeviceError):
        find_device(name)


def test_the_refusal_gives_cause_nearest_names_and_what_to_type() -> None:
    with pytest.raises(UnknownDeviceError) as refusal:
        find_device("NVIDIA H100 80GB HBM4", compute_capability=(9, 0), sm_count=132)
    assert str(refusal.value).splitlines() == [
        'no peak FLOP/s is known for "NVIDIA H100 80GB HBM4", so MFU cannot be computed.',
        "  nearest known: NVIDIA H100 80GB HBM3, NVIDIA H100 80GB HBM2e",
        '  give it:       report trace.json --peak-tflops X     or     --device "NAME"',
        "  or estimate:   report trace.json --peak estimate     (sm_90 rate x SMs x clock)",
    ]


def test_the_refusal_of_a_short_name_points_at_the_common_parts() -> None:
    assert set(nearest_driver_names("H100")) >= {"NVIDIA H100 NVL", "NVIDIA H100 PCIe"}
    assert "NVIDIA H100" not in nearest_driver_names("H100")


def test_nothing_is_near_nonsense() -> None:
    assert nearest_driver_names("qwerty") == ()
    assert nearest_driver_names("") == ()


def test_no_peak_is_proposed_in_a_refusal() -> None:
    with pytest.raises(UnknownDeviceError) as refusal:
        find_device("NVIDIA B400")
    assert "--peak-tflops X" in str(refusal.value)


def test_a_hostile_name_is_shown_on_one_short_line() -> None:
    with pytest.raises(UnknownDeviceError) as refusal:
        find_device("NVIDIA \x1b[31m\n" * 1000)
    assert len(str(refusal.value).splitlines()[0]) < 200
    assert "\x1b" not in str(refusal.value)


@given(st.text(max_size=120))
def test_any_text_is_matched_whole_or_refused(name: str) -> None:
    try:
        spec = find_device(name).spec
    except UnknownDeviceError:
        return
    known = {spelled(spelling) for spelling in (spec.name, *spec.driver_names)}
    assert spelled(split_mig(name)[0]) in known


@given(
    st.sampled_from(SPELLINGS),
    st.integers(min_value=0, max_value=60),
    st.integers(min_value=0, max_value=60),
    st.sampled_from(["", "x", " Ti", "S", " SUPER", " D", "0", " NVL", " Laptop GPU", "-1"]),
)
def test_parts_and_extensions_of_a_name_never_mean_another_row(
    known: tuple[str, DeviceSpec], start: int, cut: int, suffix: str
) -> None:
    name = known[0][start : len(known[0]) - cut] + suffix
    for spec in devices_named(name):
        assert spelled(name) in {spelled(spelling) for spelling in (spec.name, *spec.driver_names)}


def test_importing_the_catalog_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, mfu_profiler.hardware as h; h.devices();"
        "sys.exit(' '.join({'torch', 'numpy', 'msgspec'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
