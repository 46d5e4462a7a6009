"""Where a block runs: its device, that device's peak, its rank, and the folder for its files."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from mfu_profiler.capture.machine.ceiling import cpu_ceiling
from mfu_profiler.capture.machine.device import LiveDevice, live_device
from mfu_profiler.capture.messages import warn
from mfu_profiler.capture.profile.handover import TraceFiles
from mfu_profiler.capture.settings import Settings
from mfu_profiler.hardware.ceilings import Ceiling

__all__ = ["Surroundings", "device_of", "surroundings_of"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What does not change while a block runs."""

    device: torch.device
    live: LiveDevice
    ceiling: Ceiling | None
    """Measured matmul rate; of a CPU only."""
    rank: int | None
    files: TraceFiles | None
    """None where nothing can be written: then nothing is profiled."""

    @property
    def has_device_clock(self) -> bool:
        """Whether steps are timed by events on the device."""
        return self.device.type in ("cuda", "xpu")

    @property
    def is_first_rank(self) -> bool:
        """Of several ranks only the first prints."""
        return self.rank in (None, 0)


def surroundings_of(model: nn.Module | None, settings: Settings) -> Surroundings:
    """Look around before the block begins; on a CPU this measures its peak once per machine (a second)."""
    device = device_of(model)
    needs_peak = device.type == "cpu" and settings.peak_tflops is None
    rank = _rank()
    return Surroundings(
        device=device,
        live=live_device(device),
        ceiling=cpu_ceiling() if needs_peak else None,
        rank=rank,
        files=_files(Path(settings.folder), rank),
    )


def device_of(model: nn.Module | None) -> torch.device:
    """The device with most of a model's parameters; without a model the accelerator in use, else the CPU."""
    sizes: dict[torch.device, int] = {}
    for parameter in model.parameters() if model is not None else ():
        sizes[parameter.device] = sizes.get(parameter.device, 0) + _numel(parameter)
    if sizes:
        device = max(sizes, key=lambda one: sizes[one])
        if device.type in ("cpu", "cuda", "xpu"):
            return device
    for kind in ("cuda", "xpu"):
        module = getattr(torch, kind)
        # Only one that the program uses already: asking another would put a context into its memory.
        if model is None and module.is_available() and module.is_initialized():
            return torch.device(kind, module.current_device())
    return torch.device("cpu")


def _numel(parameter: torch.Tensor) -> int:
    try:
        return parameter.numel()
    except ValueError:  # a lazy parameter
        return 0


def _rank() -> int | None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    return None


def _files(folder: Path, rank: int | None) -> TraceFiles | None:
    """Names of this run's files, in a folder that can be written; None, said once, where it cannot."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        warn("nothing is recorded: cannot make the folder %s: %s", folder, error.strerror or error)
        return None
    if not os.access(folder, os.W_OK | os.X_OK):
        warn("nothing is recorded: no permission to write in %s", folder)
        return None
    worker = f"{socket.gethostname()}_{os.getpid()}".replace(".", "_")
    prefix = "" if rank is None else f"rank{rank}_"
    return TraceFiles(folder.absolute(), f"{prefix}{worker}.{time.time_ns()}")
