"""Two processes on one CPU, joined by DistributedDataParallel over gloo: each rank has a trace of its own.

    python examples/ddp_gloo.py

Under ``torchrun --nproc_per_node 2 examples/ddp_gloo.py`` it does the same.
"""

from __future__ import annotations

import argparse
import os
import socket

import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

import mfu_profiler


def train(rank: int, steps: int, out: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(rank)
    distributed.init_process_group("gloo", rank=rank)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(256, 1024), nn.GELU(), nn.Linear(1024, 256)))
    optimizer = torch.optim.AdamW(model.parameters())
    with mfu_profiler.track(model, warmup=3, timed=10, active=4, out=out) as run:
        for _ in range(steps):
            x = torch.randn(128, 256)
            loss = (model(x) - x).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    report = run.report
    if report is not None and report.partition is not None:
        print(
            f"rank {rank}: communication {report.partition.communication:.1%} of a profiled step", flush=True
        )
    distributed.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--out", default="mfu_traces")
    arguments = parser.parse_args()
    if "RANK" in os.environ:  # torchrun
        train(int(os.environ["RANK"]), arguments.steps, arguments.out)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    spawn(train, args=(arguments.steps, arguments.out), nprocs=2)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
