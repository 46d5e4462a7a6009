"""What is read of the device in use: CPU, NVIDIA, AMD, Intel, and devices that answer badly."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mfu_profiler.capture.machine import device as device_module
from mfu_profiler.capture.machine.clock_source import clock_sampler, clock_source
from mfu_profiler.capture.machine.device import LiveDevice, cpu_name, live_device
from mfu_profiler.hardware import find_device

FIELDS = [
    "name", "index", "backend", "sm_count", "memory_byte", "compute_capability", "gfx", "uuid",
    "power_limit_w", "default_power_limit_w", "driver", "nvml_because", "threads",
]  # fmt: skip
A100 = {
    "name": "NVIDIA A100-SXM4-80GB", "major": 8, "minor": 0, "multi_processor_count": 108,
    "total_memory": 85_097_971_712, "uuid": "00000000-0000-4000-8000-000000000000",
    "gcnArchName": "NVIDIA A100-SXM4-80GB",  # what a CUDA build of torch has there
}  # fmt: skip
MI300X = {
    "name": "AMD Instinct MI300X", "major": 9, "minor": 4, "multi_processor_count": 304,
    "total_memory": 206_141_652_992, "uuid": "61323031-3363-3962-6231-353935646532",
    "gcnArchName": "gfx942:sramecc+:xnack-",
}  # fmt: skip


def has_properties(monkeypatch: pytest.MonkeyPatch, properties: dict[str, Any], module: str = "cuda") -> None:
    """From here on a device of torch.cuda (or torch.xpu) has these properties, whatever its index."""
    reading = SimpleNamespace(**properties)
    monkeypatch.setattr(getattr(torch, module), "get_device_properties", lambda index: reading)
    monkeypatch.setattr(getattr(torch, module), "current_device", lambda: 3)


def is_rocm(monkeypatch: pytest.MonkeyPatch, properties: dict[str, Any]) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.4.43482")
    has_properties(monkeypatch, properties)


def test_a_cpu_has_its_model_and_the_threads_in_use() -> None:
    live = live_device(torch.device("cpu"))
    assert live.name == cpu_name() and live.name
    assert live.to_json() == {
        **dict.fromkeys(FIELDS), "name": live.name, "backend": "cpu", "threads": torch.get_num_threads(),
    }  # fmt: skip


def test_the_cpu_model_is_read_where_linux_says_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(device_module, "_CPU_INFO", info)
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert cpu_name() == "aarch64"  # no such file
    info.write_text("processor\t: 0\nCPU implementer\t: 0x41\n")
    assert cpu_name() == "aarch64"
    info.write_text("processor\t: 0\nmodel name\t: AMD EPYC 7B13   64-Core\nmodel name\t: other\n")
    assert cpu_name() == "AMD EPYC 7B13 64-Core"


def test_an_nvidia_device_has_what_torch_says_and_a_reason_where_nvml_does_not_know_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has_properties(monkeypatch, A100)
    live = live_device(torch.device("cuda", 1))
    assert list(live.to_json()) == FIELDS
    assert (live.name, live.index, live.backend) == ("NVIDIA A100-SXM4-80GB", 1, "cuda")
    assert (live.sm_count, live.memory_byte) == (108, 85_097_971_712)
    assert (live.compute_capability, live.gfx) == ((8, 0), None)
    assert live.uuid == "GPU-00000000-0000-4000-8000-000000000000"
    assert live.power_limit_w is None
    assert live.nvml_because is not None and "\n" not in live.nvml_because
    assert json.loads(json.dumps(live.to_json()))["compute_capability"] == [8, 0]


def test_a_device_without_an_index_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    has_properties(monkeypatch, A100)
    assert live_device(torch.device("cuda")).index == 3


def test_an_nvml_that_breaks_costs_only_what_it_would_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(uuid: str | None, index: int) -> None:
        raise OSError(f"cannot read {uuid}")

    has_properties(monkeypatch, A100)
    monkeypatch.setattr(device_module, "open_device", broken)
    live = live_device(torch.device("cuda", 0))
    assert live.nvml_because == f"OSError: cannot read {A100['uuid']}"
    assert live.sm_count == 108


def test_an_older_torch_says_no_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    has_properties(monkeypatch, {key: value for key, value in A100.items() if key != "uuid"})
    live = live_device(torch.device("cuda", 9))
    assert live.name == "NVIDIA A100-SXM4-80GB"
    assert live.uuid is None


@pytest.mark.parametrize(("kind", "backend"), [("cuda", "cuda"), ("xpu", "xpu")])
def test_a_device_that_torch_cannot_describe_is_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, kind: str, backend: str
) -> None:
    def refuse(index: int) -> None:
        raise RuntimeError("Cannot re-initialize CUDA\nin forked subprocess")

    monkeypatch.setattr(getattr(torch, kind), "get_device_properties", refuse)
    live = live_device(torch.device(kind, 2))
    reason = "torch cannot describe the device: RuntimeError: Cannot re-initialize CUDA in forked subprocess"
    assert live == LiveDevice(None, 2, backend, nvml_because=reason)  # type: ignore[arg-type]


def test_a_device_of_another_kind_has_its_kind_as_its_name() -> None:
    assert live_device(torch.device("meta")) == LiveDevice("meta", None, None)


def test_an_amd_device_has_its_gfx_id_and_no_word_of_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    is_rocm(monkeypatch, MI300X)
    live = live_device(torch.device("cuda", 0))
    assert (live.name, live.backend, live.gfx) == ("AMD Instinct MI300X", "rocm", "gfx942:sramecc+:xnack-")
    assert live.nvml_because is None


@pytest.mark.parametrize(
    ("market_name", "name"),
    [
        ("AMD Instinct MI300X", "AMD Instinct MI300X"),
        ("0x74a1", "AMD Radeon Graphics"),  # amdsmi does not know it either
        (None, "AMD Radeon Graphics"),
    ],
)
def test_a_nameless_amd_device_is_named_by_amdsmi_where_it_can(
    monkeypatch: pytest.MonkeyPatch, market_name: str | None, name: str
) -> None:
    is_rocm(monkeypatch, {**MI300X, "name": "AMD Radeon Graphics"})
    amdsmi = SimpleNamespace(amdsmi_get_gpu_asic_info=lambda handle: {"market_name": market_name})
    monkeypatch.setitem(sys.modules, "amdsmi", amdsmi)  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "_get_amdsmi_handler", lambda index: "handle")
    assert live_device(torch.device("cuda", 0)).name == name


@pytest.mark.parametrize("name", ["", "AMD Radeon Graphics"])
def test_a_nameless_amd_device_without_amdsmi_is_still_found_in_the_catalog(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    is_rocm(monkeypatch, {**MI300X, "name": name})
    monkeypatch.setitem(sys.modules, "amdsmi", None)  # type: ignore[arg-type]
    live = live_device(torch.device("cuda", 0))
    assert live.name == (name or None)
    match = find_device(
        live.name or "", sm_count=live.sm_count, memory_byte=live.memory_byte, gfx=live.gfx, backend="rocm"
    )
    assert match.spec.name == "Instinct MI300X"


@pytest.mark.parametrize(
    ("counts", "sm_count"),
    [
        ({"gpu_eu_count": 512, "max_compute_units": 64}, 512),
        ({"max_compute_units": 448}, 448),
        ({"multi_processor_count": 64, "gpu_eu_count": 512}, 64),
        ({}, None),
    ],
)
def test_an_intel_device_has_the_units_that_torch_counts(
    monkeypatch: pytest.MonkeyPatch, counts: dict[str, int], sm_count: int | None
) -> None:
    fixed = {"name": "Intel(R) Data Center GPU Max 1550", "total_memory": 2**36, "driver_version": "1.6.3"}
    has_properties(monkeypatch, {**fixed, **counts}, module="xpu")
    live = live_device(torch.device("xpu"))
    assert (live.name, live.index, live.backend) == (fixed["name"], 3, "xpu")
    assert (live.sm_count, live.memory_byte, live.driver) == (sm_count, 2**36, "1.6.3")


def answers(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    """What torch.cuda's functions answer; an exception is raised."""

    def answering(value: object) -> Any:
        def answer(index: int) -> object:
            assert index == 5
            if isinstance(value, Exception):
                raise value
            return value

        return answer

    for function in ("clock_rate", "power_draw", "temperature", "utilization"):
        monkeypatch.setattr(torch.cuda, function, answering(values.get(function, RuntimeError("none"))))


AMD = LiveDevice("AMD Instinct MI300X", 5, "rocm")


@pytest.mark.parametrize("power_draw", [717, 717_000])
def test_amd_clocks_come_from_torch_with_power_in_watts_or_milliwatts(
    monkeypatch: pytest.MonkeyPatch, power_draw: int
) -> None:
    answers(monkeypatch, clock_rate=2105, power_draw=power_draw, temperature=71, utilization=98)
    source, because = clock_source(AMD)
    assert source is not None and because is None
    sample = source()
    assert (sample.sm_clock_hz, sample.power_w) == (2_105_000_000, 717.0)
    assert (sample.temperature_c, sample.utilization_fraction, sample.throttle) == (71.0, 0.98, None)


def test_what_amdsmi_does_not_say_costs_its_field_only(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, clock_rate=0, power_draw=0, temperature="N/A", utilization=0)
    source, _ = clock_source(AMD)
    assert source is not None
    sample = source()
    assert (sample.sm_clock_hz, sample.power_w, sample.temperature_c) == (None, None, None)
    assert sample.utilization_fraction == 0.0


def test_without_amdsmi_there_are_no_clocks_and_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch)
    reason = "the driver says neither clock nor power nor temperature"
    assert clock_source(AMD) == (None, reason)
    assert clock_sampler(AMD).to_json()["because"] == reason


def test_a_cpu_has_no_clocks_and_a_reason() -> None:
    assert clock_source(live_device(torch.device("cpu"))) == (None, "clocks are not read on cpu")


def test_an_nvidia_device_that_nvml_does_not_know_has_no_clocks_and_a_reason() -> None:
    source, because = clock_source(LiveDevice("NVIDIA A100-SXM4-80GB", 0, "cuda", uuid=f"GPU-{A100['uuid']}"))
    assert source is None
    assert because is not None and "NVML" in because
