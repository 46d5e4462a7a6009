"""NVML through the real bindings, against a stub of its library (see ``nvml_stub``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.hardware.nvml import ClockSample, throttle_text
from tests.hardware.nvml_stub import LIBRARY, READ_DEVICES, build, run_python

A100 = "a1000000-0000-4000-8000-000000000001"
H100 = "b1000000-0000-4000-8000-000000000002"
H100_TWIN = "b1000000-0000-4000-8000-000000000004"
L4 = "c4000000-0000-4000-8000-000000000003"
SPLIT = "d1000000-0000-4000-8000-000000000005"
SLICE_3G = "MIG-e3000000-0000-5000-8000-000000000006"
SLICE_1G = "MIG-e1000000-0000-5000-8000-000000000007"
READINGS = {
    "name", "uuid", "driver", "power_limit_w", "default_power_limit_w", "max_sm_clock_hz",
    "sm_clock_hz", "power_w", "temperature_c", "utilization_fraction", "throttle",
}  # fmt: skip


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


def read(
    folder: Path, machine: str, *asked: tuple[str | None, int, dict[str, str]], log: Path | None = None
) -> list[Any]:
    """For each (UUID, index, environment) what is read, times left out, or the reason."""
    answers: list[Any] = run_python(READ_DEVICES, folder, machine, asked, log)
    for answer in answers:
        if isinstance(answer, dict):
            assert answer.pop("time_ns") > 1_600_000_000_000_000_000
    return answers


def test_an_a100_is_found_by_the_uuid_that_torch_gives_and_everything_is_read(library: Path) -> None:
    assert read(library, "a100", (A100, 0, {})) == [
        {
            "name": "NVIDIA A100-SXM4-80GB",
            "uuid": f"GPU-{A100}",
            "driver": "535.104.05",
            "power_limit_w": 400.0,
            "default_power_limit_w": 400.0,
            "max_sm_clock_hz": 1_410_000_000,
            "sm_clock_hz": 1_395_000_000,
            "power_w": 312.5,
            "temperature_c": 61.0,
            "utilization_fraction": 0.97,
            "throttle": "none",
        }
    ]


def test_the_power_limit_is_the_one_in_force_not_the_one_set(library: Path) -> None:
    (reading,) = read(library, "h100-power-cap", (H100, 0, {}))
    assert (reading["power_limit_w"], reading["default_power_limit_w"]) == (500.0, 700.0)
    assert (reading["sm_clock_hz"], reading["max_sm_clock_hz"]) == (1_305_000_000, 1_980_000_000)
    assert (reading["power_w"], reading["throttle"]) == (pytest.approx(499.9), "power cap")


@pytest.mark.parametrize("machine", ["mig", "mig-beside-h100"])
def test_a_mig_slice_has_its_own_name_and_the_clock_and_power_of_its_gpu(library: Path, machine: str) -> None:
    plain, prefixed = read(library, machine, (SLICE_1G.removeprefix("MIG-"), 0, {}), (SLICE_3G, 0, {}))
    assert (plain["name"], plain["uuid"]) == ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", SLICE_1G)
    assert (prefixed["name"], prefixed["uuid"]) == ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", SLICE_3G)
    for reading in (plain, prefixed):
        assert (reading["power_limit_w"], reading["default_power_limit_w"]) == (300.0, 400.0)
        assert (reading["sm_clock_hz"], reading["throttle"]) == (1_155_000_000, "power cap")
        assert reading["utilization_fraction"] is None  # NVML has none under MIG


def test_a_slice_is_found_through_cuda_visible_devices_where_cuda_and_nvml_differ_in_its_uuid(
    library: Path,
) -> None:
    other_uuid = "99999999-0000-4000-8000-000000000000"
    spellings = (SLICE_1G, f"MIG-GPU-{SPLIT}/9/0", SLICE_1G[:10])
    readings = read(
        library, "mig-beside-h100",
        *((other_uuid, 0, {"CUDA_VISIBLE_DEVICES": spelling}) for spelling in spellings),
    )  # fmt: skip
    assert [reading["uuid"] for reading in readings] == [SLICE_1G] * 3


def test_of_a_slice_that_cannot_be_told_from_others_the_gpu_is_read(library: Path) -> None:
    (reading,) = read(library, "mig", ("99999999-0000-4000-8000-000000000000", 0, {}))
    assert (reading["uuid"], reading["power_limit_w"]) == (f"GPU-{SPLIT}", 300.0)


def test_a_uuid_is_found_whatever_index_and_environment_say(library: Path) -> None:
    reordered = {"CUDA_VISIBLE_DEVICES": "1,0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    readings = read(library, "two-kinds", (L4, 0, reordered), (H100, 0, {}), (f"GPU-{H100}", 7, reordered))
    assert [reading["name"] for reading in readings] == [
        "NVIDIA L4", "NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3",
    ]  # fmt: skip
    assert readings[0]["throttle"] == "power cap, thermal"


def test_without_a_uuid_reordered_devices_are_told_by_cuda_visible_devices(library: Path) -> None:
    by_bus = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    readings = read(
        library, "two-kinds",
        (None, 0, {**by_bus}),
        (None, 0, {**by_bus, "CUDA_VISIBLE_DEVICES": "1,0"}),
        (None, 1, {**by_bus, "CUDA_VISIBLE_DEVICES": "1,0"}),
        (None, 0, {"CUDA_VISIBLE_DEVICES": "GPU-b1"}),
    )  # fmt: skip
    names = [reading["name"].removeprefix("NVIDIA ")[:4].strip() for reading in readings]
    assert names == ["L4", "H100", "L4", "H100"]


def test_without_a_uuid_unlike_devices_in_the_default_order_are_not_guessed(library: Path) -> None:
    unlike, alike = (None, 1, {}), (None, 1, {"CUDA_VISIBLE_DEVICES": "0,1"})
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in read(library, "two-kinds", unlike)[0]
    assert read(library, "two-alike", alike)[0]["uuid"] == f"GPU-{H100_TWIN}"


def test_a_device_that_is_not_there_is_refused_with_a_reason(library: Path) -> None:
    hidden = {"CUDA_VISIBLE_DEVICES": "0,-1,1"}
    unknown, beyond = read(library, "two-alike", (A100, 0, {}), (None, 1, hidden))
    assert unknown == f"NVML lists no device with the UUID {A100}"
    assert beyond == 'NVML lists no device for index 1 (CUDA_VISIBLE_DEVICES="0,-1,1")'
    assert read(library, "no-gpu", (None, 0, {})) == ["NVML lists no device for index 0"]


def test_a_gpu_without_access_still_counts_in_the_index(library: Path) -> None:
    by_bus = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    refused, allowed = read(library, "hidden", (None, 0, by_bus), (None, 1, by_bus))
    assert refused == "NVML lists the device but does not give access to it"
    assert allowed["uuid"] == f"GPU-{A100}"


@pytest.mark.parametrize("machine", ["refuses", "lost", "unknown-error", "unheard-of-error"])
def test_a_call_that_fails_costs_its_field_only(library: Path, machine: str) -> None:
    (reading,) = read(library, machine, (A100, 0, {}))
    known = {name: value for name, value in reading.items() if value is not None}
    assert known == {"uuid": f"GPU-{A100}", "driver": "535.104.05"}
    assert set(reading) == READINGS


def test_a_driver_without_the_new_name_of_throttle_reasons_gives_them_by_the_old(tmp_path: Path) -> None:
    build(tmp_path, "-DWITHOUT_EVENT_REASONS")
    assert read(tmp_path, "h100-power-cap", (H100, 0, {}))[0]["throttle"] == "power cap"


def test_a_driver_that_cannot_look_a_uuid_up_is_searched_for_it(tmp_path: Path) -> None:
    build(tmp_path, "-DWITHOUT_UUID_LOOKUP")
    gpu, part = read(tmp_path, "mig-beside-h100", (H100, 1, {}), (SLICE_3G, 0, {}))
    assert (gpu["uuid"], gpu["power_limit_w"]) == (f"GPU-{H100}", 500.0)
    assert (part["uuid"], part["power_limit_w"]) == (SLICE_3G, 300.0)


def test_a_driver_that_lacks_nearly_everything_still_says_what_it_can(tmp_path: Path) -> None:
    build(tmp_path, "-DBARE")
    (reading,) = read(tmp_path, "a100", (A100, 0, {}))
    known = {name: value for name, value in reading.items() if value is not None}
    assert known == {"name": "NVIDIA A100-SXM4-80GB", "uuid": f"GPU-{A100}", "driver": "535.104.05"}


def test_without_a_driver_there_is_one_line_of_reason(library: Path) -> None:
    assert read(library, "no-driver", (A100, 0, {})) == ["NVML cannot be opened: Driver Not Loaded"]


def test_without_a_library_there_is_one_line_of_reason(tmp_path: Path) -> None:
    # A file that is no library, so that a true NVML on this machine is not found either.
    (tmp_path / LIBRARY).write_text("not a library")
    reason = "NVML cannot be opened: NVML Shared Library Not Found"
    assert read(tmp_path, "a100", (A100, 0, {})) == [reason]


def test_without_bindings_there_is_one_line_of_reason(tmp_path: Path) -> None:
    program = f"import sys\nsys.modules['pynvml'] = None\n{READ_DEVICES}"
    (reason,) = run_python(program, tmp_path, argument=[(A100, 0, {})])
    assert reason.startswith("nvidia-ml-py cannot be imported")


def test_nvml_is_shut_down_as_often_as_it_is_opened(library: Path, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    asked = (A100, 0, {}), (L4, 0, {}), (None, 0, {}), (None, 5, {})  # two found, two refused
    answers = read(library, "a100", *asked, log=log)
    assert [isinstance(answer, dict) for answer in answers] == [True, False, True, False]
    assert log.read_text().split() == ["init", "shutdown"] * 4


def test_a_closed_device_says_nothing_and_closing_again_does_nothing(library: Path, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    program = (
        "import json\n"
        "from mfu_profiler.hardware.nvml_device import open_device\n"
        "device = open_device(None)\n"
        "before = device.sample()\n"
        "device.close(), device.close()\n"
        "print(json.dumps([before.is_empty, device.sample().is_empty]))\n"
    )
    assert run_python(program, library, log=log) == [False, True]
    assert log.read_text().split() == ["init", "shutdown"]


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        (0x0, "none"),
        (0x1, "idle"),
        (0x4, "power cap"),
        (0x8, "hardware slowdown"),
        (0x20, "thermal"),
        (0x40, "thermal"),
        (0x60, "thermal"),
        (0x88, "hardware slowdown, power brake"),
        (0x44, "power cap, thermal"),
        (1 << 40, "other"),
        (0x4 | 1 << 63, "power cap, other"),
    ],
)
def test_throttle_bits_are_named(bits: int, text: str) -> None:
    assert throttle_text(bits) == text


def test_a_sample_with_one_value_is_not_empty() -> None:
    assert ClockSample(time_ns=1).is_empty
    assert not ClockSample(time_ns=1, utilization_fraction=0.0).is_empty
    assert not ClockSample(time_ns=1, throttle="none").is_empty
