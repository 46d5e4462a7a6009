"""Which device these tests run on, and the settings that make its results repeatable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch

# Every module here imports torch.
collect_ignore_glob = [] if find_spec("torch") is not None else ["*.py"]

# Deterministic algorithms need it, and cuBLAS reads it once.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

IS_REHEARSAL = os.environ.get("MFU_PROFILER_REHEARSE") == "1"


@pytest.fixture(scope="session")
def device() -> torch.device:
    """CUDA's (ROCm's) current device; in a rehearsal the CPU, where there is none."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if IS_REHEARSAL:
        torch.set_num_threads(1)  # several would wait for each other whenever another process runs
        return torch.device("cpu")
    pytest.skip("no CUDA or ROCm device")


@pytest.fixture(scope="session")
def gpu(device: torch.device) -> torch.device:
    """The same for what means nothing on a CPU."""
    if device.type == "cpu":
        pytest.skip("nothing to rehearse on a CPU")
    return device


@pytest.fixture(scope="session")
def nvidia(gpu: torch.device) -> torch.device:
    """The same for what only NVIDIA's driver does."""
    import torch

    if torch.version.hip is not None:
        pytest.skip("an AMD device")
    return gpu


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Two runs of the same training give the same bits."""
    import torch

    was_on = torch.are_deterministic_algorithms_enabled()
    was_warning = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    yield
    torch.use_deterministic_algorithms(was_on, warn_only=was_warning)
    torch.backends.cudnn.benchmark = benchmark


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
