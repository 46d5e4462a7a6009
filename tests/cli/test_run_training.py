"""``run`` around scripts that train: the training is the same, and there is a report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from .scripts import QUICK, plain, process, run

pytest.importorskip("torch", reason="training needs torch")

TRAIN = """
import os
os.environ["OMP_NUM_THREADS"] = "2"  # is read when torch is imported
import sys
import torch
from torch import nn

class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.Linear(16, 8))

    def forward(self, x):
        return self.body(x)

def main(steps, batch=4):
    print(torch.get_num_threads(), torch.cuda.is_initialized())
    torch.manual_seed(0)
    model = Mlp()
    optimizer = torch.optim.AdamW(model.parameters())
    for step in range(1, steps + 1):
        loss = model(torch.randn(batch, 8)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(step, loss.item().hex())
    return model
"""
FAILS = TRAIN + "model = main(int(sys.argv[1]))\nmodel(torch.randn(4, 9))\n"


def write(folder: Path, text: str) -> str:
    (folder / "train.py").write_text(text)
    return "train.py"


def reports(folder: Path) -> list[dict[str, Any]]:
    assert not list(folder.glob(".*")), "something unfinished was left"
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.report.json"))]


@pytest.mark.parametrize("steps", [1, 6])
def test_a_training_and_its_traceback_are_the_same_to_the_byte(tmp_path: Path, steps: int) -> None:
    """The failing step is the counted one, whose ops pass through a mode of ours; or a profiled one."""
    script = write(tmp_path, FAILS)
    expected = plain(tmp_path, script, str(steps))
    ended = run(tmp_path, script, str(steps), options=(*QUICK, "--out", "traces", "--quiet"))
    assert ended.own_err == expected.own_err
    assert expected.own_err[-1].startswith("RuntimeError: mat1 and mat2")
    assert (ended.out, ended.status) == (expected.out, 1)
    assert expected.out.startswith(b"2 False\n")
    (report,) = reports(tmp_path / "traces")
    assert any(f"RuntimeError in step {steps + 1}" in note for note in report["notes"])


def test_the_report_is_on_stderr_and_the_model_was_found_through_its_optimizer(tmp_path: Path) -> None:
    script = write(tmp_path, TRAIN + "main(9)\nsys.exit(3)")
    ended = run(tmp_path, script, options=QUICK)
    assert ended.status == 3
    assert b"MFU" not in ended.out
    assert "Where the other" in ended.err and "9 steps in" in ended.err
    (report,) = reports(tmp_path / "mfu_traces")
    # Two layers of 8 x 16, 4 rows: forward, weight gradients, and the input gradient of the second alone.
    assert report["flop"]["model_per_step"] == 2 * 4 * 8 * 16 * (2 + 2 + 1)
    assert not any("SystemExit" in note for note in report["notes"])


TRACKS = """
import mfu_profiler
from torch import nn
model = nn.Linear(4, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with mfu_profiler.track(model, warmup=0, timed=1, active=1, peak_tflops=1, out="own", quiet=True) as run:
    for _ in range(7):
        model(torch.randn(4, 4)).sum().backward()
        optimizer.step()
print(run.report.steps.count, run.metrics()["steps"])
"""


def test_a_script_that_tracks_itself_gets_what_it_asked_for(tmp_path: Path) -> None:
    script = write(tmp_path, "import torch\n" + TRACKS)
    ended = run(tmp_path, script, options=(*QUICK, "--out", "ours"))
    assert (ended.out, ended.status) == (b"1 7.0\n", 0)
    (line,) = [line for line in ended.err.splitlines() if not line.startswith("USDT:")]
    assert line == (
        "mfu_profiler: the script calls track() itself; that is used, and the options of run are not"
    )
    assert len(reports(tmp_path / "own")) == 1
    assert not (tmp_path / "ours").exists()


def test_a_script_that_does_not_train_is_told_so_and_leaves_nothing(tmp_path: Path) -> None:
    script = write(tmp_path, "import torch\nprint(torch.ones(2).sum())\nraise SystemExit(4)")
    ended = run(tmp_path, script)
    assert (ended.out, ended.status) == (b"tensor(2.)\n", 4)
    assert ended.err == "mfu_profiler: no step was seen: no optimizer of this process stepped\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "train.py"]


def test_a_script_may_leave_at_once(tmp_path: Path) -> None:
    script = write(tmp_path, TRAIN + "main(3)\nsys.stdout.flush()\nos._exit(9)")
    ended = run(tmp_path, script, options=QUICK)
    assert (ended.status, ended.err) == (9, "")
    assert ended.out.count(b"\n") == 4


DISTRIBUTED = """
import torch
from torch import distributed, nn
distributed.init_process_group("gloo")
torch.manual_seed(0)
model = nn.parallel.DistributedDataParallel(nn.Linear(8, 8))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(9):
    model(torch.randn(4, 8)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
distributed.destroy_process_group()
"""


def test_under_torchrun_each_rank_has_its_trace(tmp_path: Path) -> None:
    script = write(tmp_path, DISTRIBUTED)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    ended = process(tmp_path, [*torchrun, "-m", "mfu_profiler", "run", *QUICK, script])
    assert ended.status == 0, ended.err
    names = sorted(path.name.split("_")[0] for path in (tmp_path / "mfu_traces").glob("*.pt.trace.json.gz"))
    assert names == ["rank0", "rank1"]
    assert ended.err.count("Where the other") == 1, "the first rank reports"
    for report in reports(tmp_path / "mfu_traces"):
        assert report["flop"]["model_per_step"] == 2 * 4 * 8 * 8 * 2
