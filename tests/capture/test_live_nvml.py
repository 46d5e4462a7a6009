"""Device and clocks as a run reads them: torch, the real bindings of NVML, and a library of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mfu_profiler.capture.machine.clock_source import clock_sampler
from mfu_profiler.capture.machine.device import live_device
from tests.hardware.nvml_stub import build, run_python

SAMPLED = """
import json, threading, time
from types import SimpleNamespace
import torch
from mfu_profiler.capture.machine.clock_source import clock_sampler
from mfu_profiler.capture.machine.device import live_device

torch.cuda.get_device_properties = lambda index: SimpleNamespace(
    name="NVIDIA H100 80GB HBM3", major=9, minor=0, multi_processor_count=132, total_memory=85_000_000_000,
    uuid="b1000000-0000-4000-8000-000000000002",
)
live = live_device(torch.device("cuda", 0))
sampler = clock_sampler(live, 0.001)
sampler.start()
while sampler.sample_count < 5:
    time.sleep(0.001)
sampler.stop()
left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
print(json.dumps([live.to_json(), sampler.to_json(), left]))
"""
"""On a CPU build of torch, which is made to say that it has an H100."""


def test_an_h100_under_a_power_cap_is_described_and_sampled_and_nvml_is_shut_down(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    live, clocks, left_threads = run_python(SAMPLED, build(tmp_path), "two-alike", log=log)
    assert live["uuid"] == "GPU-b1000000-0000-4000-8000-000000000002"
    assert (live["power_limit_w"], live["default_power_limit_w"]) == (500.0, 700.0)
    assert (live["driver"], live["nvml_because"]) == ("535.104.05", None)
    count = len(clocks["time_ns"])
    assert count >= 5
    assert clocks["sm_clock_hz"] == [1_305_000_000] * count
    assert clocks["power_w"] == pytest.approx([499.9] * count)
    assert clocks["temperature_c"] == [74.0] * count
    assert clocks["utilization_fraction"] == [1.0] * count
    assert clocks["throttle"] == ["power cap"] * count
    assert clocks["time_ns"] == sorted(clocks["time_ns"])
    assert 0 < clocks["cost_fraction"] <= 1 and clocks["because"] is None
    assert left_threads == []
    assert log.read_text().split() == ["init", "shutdown"] * 2  # the reading, then the samples


def test_a_driver_that_refuses_every_reading_leaves_no_source_and_no_open_nvml(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    program = (
        "import json\n"
        "from mfu_profiler.capture.machine.clock_source import clock_source\n"
        "from mfu_profiler.capture.machine.device import LiveDevice\n"
        "print(json.dumps(clock_source(LiveDevice('NVIDIA A100-SXM4-80GB', 0, 'cuda'))))\n"
    )
    answer = run_python(program, build(tmp_path), "refuses", log=log)
    assert answer == [None, "the driver says neither clock nor power nor temperature"]
    assert log.read_text().split() == ["init", "shutdown"]


@pytest.mark.gpu
def test_the_device_of_this_machine_is_described_and_sampled() -> None:
    if torch.version.hip is not None or not torch.cuda.is_available():
        pytest.skip("no NVIDIA device")
    live = live_device(torch.device("cuda"))
    properties = torch.cuda.get_device_properties(live.index)
    assert (live.name, live.sm_count) == (properties.name, properties.multi_processor_count)
    assert live.nvml_because is None
    assert live.uuid is not None and live.uuid.startswith(("GPU-", "MIG-"))
    assert (
        live.uuid.endswith(str(properties.uuid)) or live.uuid.startswith("MIG-") or " MIG " in properties.name
    )
    assert live.driver and live.power_limit_w and live.power_limit_w > 10
    sampler = clock_sampler(live, 0.01)
    sampler.start()
    matrix = torch.randn(4096, 4096, device="cuda")
    while sampler.sample_count < 10 and sampler.to_json()["because"] is None:
        matrix = (matrix @ matrix).tanh()
    sampler.stop()
    clocks = sampler.to_json()
    assert clocks["because"] is None
    assert all(1e8 < clock < 4e9 for clock in clocks["sm_clock_hz"])
    assert all(1 < watt < 3000 for watt in clocks["power_w"])
    assert all(0 < celsius < 120 for celsius in clocks["temperature_c"])
    assert None not in clocks["throttle"]


@pytest.mark.gpu
def test_an_amd_device_of_this_machine_is_described_and_sampled() -> None:
    if torch.version.hip is None or not torch.cuda.is_available():
        pytest.skip("no AMD device")
    live = live_device(torch.device("cuda"))
    assert live.name and live.gfx is not None and live.gfx.startswith("gfx")
    sampler = clock_sampler(live, 0.01)
    if sampler.to_json()["because"] is not None:
        pytest.skip(f"no amdsmi: {sampler.to_json()['because']}")
    sampler.start()
    while sampler.sample_count < 3 and sampler.to_json()["because"] is None:
        torch.randn(1024, 1024, device="cuda").sum().item()
    sampler.stop()
    assert all(watt is None or 1 < watt < 3000 for watt in sampler.to_json()["power_w"])
