"""A stub of NVML in C, built with cc and loaded by the real bindings in a process of its own.

The loader reads LD_LIBRARY_PATH when a process starts, hence the subprocess.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("nvml_stub.c")
REPOSITORY = Path(__file__).parents[3]
LIBRARY = "libnvidia-ml.so.1"

READ_DEVICES = """
import json, sys
from dataclasses import asdict
from mfu_profiler.hardware.nvml import NvmlUnavailableError
from mfu_profiler.hardware.nvml_device import open_device
answers = []
for uuid, index, environment in json.loads(sys.argv[1]):
    try:
        with open_device(uuid, index, environment) as device:
            answers.append({**asdict(device.reading()), **asdict(device.sample())})
    except NvmlUnavailableError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""
"""Prints what NVML says of each device asked for, or why nothing."""


def build(folder: Path, *flags: str) -> Path:
    """The folder with the built library; skips where there is no compiler, unless one is required."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or sys.platform != "linux":
        reason = "the stub of NVML needs Linux and a C compiler named cc"
        if os.environ.get("MFU_PROFILER_REQUIRE_SHARED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    warnings = ["-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror"]
    command = [compiler, "-shared", "-fPIC", *warnings, *flags, str(SOURCE), "-o", str(folder / LIBRARY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


def run_python(
    program: str, folder: Path, machine: str = "a100", argument: object = None, log: Path | None = None
) -> Any:
    """What a program prints as JSON, in a process that loads NVML from ``folder``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CUDA_")}
    environment |= {
        "LD_LIBRARY_PATH": os.pathsep.join([str(folder), environment.get("LD_LIBRARY_PATH", "")]).rstrip(":"),
        "MFU_PROFILER_STUB_MACHINE": machine,
        "OMP_NUM_THREADS": "1",
        **({} if log is None else {"MFU_PROFILER_STUB_LOG": str(log)}),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, json.dumps(argument)],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
