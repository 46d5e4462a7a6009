"""What surrounds the training on a real device: other profilers, other processes, when CUDA starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

import mfu_profiler
from tests.conftest import REPOSITORY
from tests.gpu.trainings import QUICK, STEPS, Shape, gpt_training, timeline_of

# Of what torch and drivers warn of on a machine that nobody has tried nothing is ours.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

LONGEST_S = 600


def run_python(program: str, *words: str, **environment: str) -> str:
    """Standard output of a program in a process of its own, which must succeed."""
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, env=environ)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def touches_device(pid: int | str) -> bool | None:
    """Whether a process has a GPU's driver loaded or its files open; None once it is gone."""
    links = []
    try:
        maps = Path(f"/proc/{pid}/maps").read_text()
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None
    for entry in entries:
        with suppress(OSError):  # closed meanwhile
            links.append(os.readlink(entry))
    drivers = ("libcuda.so", "libamdhip64", "libtorch")
    return any(name in maps for name in drivers) or any(
        link.startswith(("/dev/nvidia", "/dev/kfd", "/dev/dri")) for link in links
    )


def test_the_process_of_the_report_does_not_touch_the_device(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/proc/self/maps").exists():
        pytest.skip("no /proc")
    seen: list[bool] = []
    watchers: list[threading.Thread] = []
    real = subprocess.Popen

    def watched(command: list[str], *rest: Any, **settings: Any) -> Any:
        process = real(command, *rest, **settings)
        if "finish-live" not in command:
            return process

        def watch() -> None:
            time.sleep(0.05)  # until it has become another program
            while process.poll() is None:
                touches = touches_device(process.pid)
                if touches is not None:
                    seen.append(touches)
                time.sleep(0.01)

        watchers.append(threading.Thread(target=watch))
        watchers[-1].start()
        return process

    monkeypatch.setattr(subprocess, "Popen", watched)
    model, step = gpt_training(Shape())(device)
    with mfu_profiler.track(model, out=tmp_path, **QUICK) as run:
        for _ in range(STEPS):
            step()
    for watcher in watchers:
        watcher.join()
    assert run.report is not None and len(watchers) == 1
    assert len(seen) > 5 and not any(seen)
    assert touches_device("self"), "else the question is not well asked"


def test_the_users_own_profiler_keeps_its_kernels_and_ours_comes_later(
    gpu: torch.device, tmp_path: Path
) -> None:
    """CUPTI serves one after the other."""
    from torch.profiler import ProfilerActivity, profile

    model, step = gpt_training(Shape())(gpu)
    with mfu_profiler.track(model, out=tmp_path / "ours", **QUICK) as run:
        for _ in range(4):
            step()
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            for _ in range(8):
                step()
        for _ in range(40):
            step()
    path = tmp_path / "own.json"
    profiler.export_chrome_trace(str(path))
    events = json.loads(path.read_text())["traceEvents"]
    assert sum(event.get("cat") == "kernel" for event in events) > 8 * 20, "of each of its steps"
    timeline = timeline_of(run)
    assert timeline.live is not None
    assert any("another profiler" in note for note in timeline.live.run.notes)
    assert len(timeline.activities.start_ns) > 3 * 20


SUBSCRIBED = """
import ctypes, json, sys
import torch
path = next(line.split()[-1] for line in open("/proc/self/maps") if "libcupti" in line)
cupti = ctypes.CDLL(path)
kinds = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p
function = ctypes.CFUNCTYPE(None, *kinds)(lambda *_: None)
first, second = ctypes.c_void_p(), ctypes.c_void_p()
if cupti.cuptiSubscribe(ctypes.byref(first), function, None) != 0:
    print("skip: CUPTI takes no subscriber"); sys.exit()
if cupti.cuptiSubscribe(ctypes.byref(second), function, None) == 0:
    print("skip: this CUPTI takes several subscribers"); sys.exit()

import mfu_profiler
from tests.gpu.trainings import QUICK, STEPS, Shape, gpt_training
model, step = gpt_training(Shape())(torch.device("cuda"))
with mfu_profiler.track(model, out=sys.argv[1], **QUICK) as run:
    for _ in range(STEPS):
        step()
report = run.report
facts = report.step_time_s is not None, report.flop.model_per_step, report.partition_unknown_because
print(json.dumps([report.partition is not None, *facts]))
"""


def test_a_cupti_that_another_tool_holds_costs_the_kernels_at_most_and_is_said(
    nvidia: torch.device, tmp_path: Path
) -> None:
    """As under nsys, or another profiler in the process: step time and FLOP stay."""
    maps = Path("/proc/self/maps")
    if not maps.exists() or "libcupti" not in maps.read_text():
        pytest.skip("this build of torch has loaded no CUPTI")
    answer = run_python(SUBSCRIBED, str(tmp_path)).splitlines()[-1]
    if answer.startswith("skip"):
        pytest.skip(answer)
    has_kernels, has_step_time, model_flop, because = json.loads(answer)
    assert has_step_time and model_flop == Shape().model_flop
    assert has_kernels or "missing" in because


def test_peaks_measures_the_device_beside_its_datasheet(gpu: torch.device, tmp_path: Path) -> None:
    target = tmp_path / "peaks.json"
    command = [sys.executable, "-m", "mfu_profiler", "peaks", "--measure", "--json", str(target)]
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, env=environ)
    assert done.returncode == 0, done.stderr
    devices = json.loads(target.read_text())["devices"]
    found = next(one for one in devices if one["backend"] in ("cuda", "rocm") and one["index"] == gpu.index)
    assert found["name"] and found["sm_count"] == torch.cuda.get_device_properties(gpu).multi_processor_count
    rates = found["ceiling"]["flop_per_s"]
    assert {"fp32", "fp16"} <= rates.keys(), found["ceiling"]["notes"]
    if found["datasheet"] is None:
        pytest.skip(f"no datasheet: {found['because']}")
    peaks = found["datasheet"]["peak_flop_per_s"]
    shares = {precision: rates[precision] / peaks[precision] for precision in rates.keys() & peaks.keys()}
    assert shares and all(0.2 < share < 1.05 for share in shares.values()), shares


ON_CPU = """
import sys
import torch
import mfu_profiler
from tests.gpu.trainings import QUICK, STEPS, Shape, gpt_training
_, step = gpt_training(Shape(width=32))(torch.device("cpu"))
with mfu_profiler.track(out=sys.argv[1], peak_tflops=1.0, **QUICK) as run:
    for _ in range(STEPS):
        step()
print(run.report.device.backend, torch.cuda.is_initialized())
"""


def test_a_training_on_the_cpu_does_not_start_cuda(gpu: torch.device, tmp_path: Path) -> None:
    """It would take some 500 MB of the device, and forked workers could not use it any more."""
    assert run_python(ON_CPU, str(tmp_path)).split() == ["cpu", "False"]


NEW_TF32 = """
import sys
import torch
import mfu_profiler
from tests.gpu.trainings import QUICK, STEPS, Shape, gpt_training
torch.backends.cuda.matmul.fp32_precision = "tf32"
model, step = gpt_training(Shape(width=512, context=512))(torch.device("cuda"))
with mfu_profiler.track(model, out=sys.argv[1], **QUICK) as run:
    for _ in range(STEPS):
        step()
        run.mfu, run.metrics()
print(run.report.device.precision)
"""


def test_the_newer_setting_of_tf32_can_be_read(nvidia: torch.device, tmp_path: Path) -> None:
    """Since torch 2.9 reading the older one raises once a program uses the newer."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("torch before 2.9")
    if torch.cuda.get_device_capability(nvidia) < (8, 0):
        pytest.skip("TF32 needs compute capability 8.0")
    assert run_python(NEW_TF32, str(tmp_path)).split() == ["tf32"]
