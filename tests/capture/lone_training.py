"""Run as a script: one tracked training, in a process that ends in the way that its first argument says.

Prints ``step N`` on stdout; the folder of the traces is the second argument.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import mfu_profiler
from mfu_profiler.capture.profile import outcome, profiling

from .training import QUICK, STEPS, Mlp, Step, mlp_training

LOUD = {**QUICK, "quiet": False}


class Rows(Dataset[Any]):
    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> Any:
        return torch.full((8,), float(index))


def train(steps: int, ends_at: int = 0, end: Any = None) -> None:
    """Some steps; ``end`` is called in step ``ends_at``."""
    model, step = mlp_training()
    with mfu_profiler.track(model, out=sys.argv[2], **LOUD):
        for number in range(1, steps + 1):
            if number == ends_at:
                end()
            step()
            print("step", number, flush=True)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)


def interrupt_the_wait() -> None:
    """Ctrl-C in the loop, and again while the report is waited for."""
    wait = outcome.Outcome.close

    def interrupted(self: outcome.Outcome) -> None:
        threading.Timer(0.2, interrupt).start()
        wait(self)

    outcome.Outcome.close = interrupted  # type: ignore[method-assign]
    interrupt()


def interrupt_the_export() -> None:
    """Ctrl-C while the trace is exported: it is delivered when torch returns."""
    export = torch.profiler.profiler._KinetoProfile.export_chrome_trace

    def interrupted(self: Any, path: str) -> None:
        torch.profiler.profiler._KinetoProfile.export_chrome_trace = export  # type: ignore[method-assign]
        export(self, path)
        interrupt()

    torch.profiler.profiler._KinetoProfile.export_chrome_trace = interrupted  # type: ignore[method-assign]


def leave_a_thread() -> None:
    """In the profiled window, asleep: inside torch one exit in ten aborts, without ``track`` too."""
    profiling.LONGEST_WAIT_S = 0.2
    in_window = threading.Event()

    def wait() -> None:
        in_window.set()
        time.sleep(1000)

    threading.Thread(target=train, args=(10, 8, wait), daemon=True).start()
    in_window.wait()
    sys.exit(5)


def leave_started() -> None:
    """A notebook whose kernel is shut down: ``start`` without ``stop``, in the profiled window."""
    model, step = mlp_training()
    mfu_profiler.track(model, out=sys.argv[2], **LOUD).start()
    for _ in range(7):
        step()


def load_with(context: str, epochs: int) -> None:
    """Worker processes, started before, within and after the profiled window of 24 steps."""
    model, step = mlp_training()
    with mfu_profiler.track(model, out=sys.argv[2], **{**LOUD, "active": 24}):
        for _ in range(epochs):
            loader = DataLoader(Rows(), batch_size=4, num_workers=2, multiprocessing_context=context)
            seen = []
            for batch in loader:
                step()
                seen += batch[:, 0].tolist()
            assert sorted(seen) == [float(index) for index in range(48)]
    print("loaded", flush=True)


def parallel(rank: int) -> None:
    """One of two ranks of DDP: trains without ``track`` and with it, and compares the weights to the bit."""
    place = f"file://{sys.argv[2]}/rendezvous"
    torch.distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=2)

    def training() -> tuple[nn.Module, Step]:
        torch.manual_seed(0)
        model = Mlp()
        torch.manual_seed(rank)  # each rank has its own batches and dropout
        return mlp_training(model, called=nn.parallel.DistributedDataParallel(model))

    plain, step = training()
    for _ in range(STEPS):
        step()
    model, step = training()
    with mfu_profiler.track(model, out=f"{sys.argv[2]}/traces", **LOUD):
        for _ in range(STEPS):
            step()
    pairs = zip(plain.parameters(), model.parameters(), strict=True)
    print("same", all(torch.equal(a, b) for a, b in pairs), flush=True)
    torch.distributed.destroy_process_group()


def fork_and_track() -> None:
    """A forked child may have a block of its own, and does not disturb its parent's."""
    model, step = mlp_training()
    with mfu_profiler.track(model, out=sys.argv[2], **LOUD):
        for number in range(1, 11):
            step()
            if number == 5:
                child = os.fork()
                if child == 0:
                    for _ in range(5):
                        step()
                    sys.exit(9)  # leaves the block, and runs what is registered for the exit
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    print("done", flush=True)


MODES: dict[str, Any] = {
    "plain": lambda: train(10),
    "sys.exit": lambda: train(10, 5, lambda: sys.exit(3)),
    "os._exit": lambda: train(10, 10, lambda: os._exit(4)),
    "interrupted": lambda: train(10, 8, interrupt),
    "interrupted twice": lambda: train(10, 8, interrupt_the_wait),
    "interrupted export": lambda: train(20, 2, interrupt_the_export),
    "thread left": leave_a_thread,
    "left started": leave_started,
    "fork": lambda: load_with("fork", 4),
    "spawn": lambda: load_with("spawn", 1),
    "rank 0": lambda: parallel(0),
    "rank 1": lambda: parallel(1),
    "own fork": fork_and_track,
}

if __name__ == "__main__":
    MODES[sys.argv[1]]()
