"""Activation checkpointing told apart from backward, in traces that torch records and in a real one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop  # noqa: E402

from mfu_profiler.analysis import Report, analyze  # noqa: E402
from mfu_profiler.analysis.op_roles import is_recomputed  # noqa: E402
from mfu_profiler.flops import op_call, op_cost  # noqa: E402
from mfu_profiler.trace.nesting import Nesting  # noqa: E402

from .pictures import AUTOGRAD, MAIN, Host, assembled  # noqa: E402
from .real import real_report, real_timeline  # noqa: E402
from .recorded import counted_flop, one_thread, record  # noqa: E402

BATCH, WIDTH, CLASSES = 32, 64, 8
LINEAR = 2 * BATCH * WIDTH * WIDTH
HEAD = 2 * BATCH * WIDTH * CLASSES
Step = Callable[[], None]


class Checkpointed(nn.Module):
    """Stem, a checkpointed block of two linear layers, head."""

    def __init__(self, *, is_reentrant: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(WIDTH, WIDTH)
        self.block = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU())
        self.head = nn.Linear(WIDTH, CLASSES)
        self.is_reentrant = is_reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = checkpoint(self.block, self.stem(x), use_reentrant=self.is_reentrant)
        return self.head(x)


def training_step(model: nn.Module, loss_of: Callable[[nn.Module], torch.Tensor] | None = None) -> Step:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    data = torch.randn(BATCH, WIDTH)

    def step() -> None:
        optimizer.zero_grad()
        loss = model(data).square().mean() if loss_of is None else loss_of(model)
        loss.backward()
        optimizer.step()

    return step


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    one_thread()
    yield
    torch.set_num_threads(before)


def analysed(step: Step, folder: Path) -> Report:
    return analyze(record(step, folder / "trace.json"), peak_tflops=1000.0)


# Stem: forward, weight gradient. Block: forward, both gradients. Head likewise.
MODEL_FLOP = 2 * LINEAR + 2 * 3 * LINEAR + 3 * HEAD


@pytest.mark.parametrize("is_reentrant", [True, False], ids=["reentrant", "non-reentrant"])
def test_recomputed_flop_are_the_forward_flop_of_the_checkpointed_part(
    is_reentrant: bool, tmp_path: Path
) -> None:
    with set_checkpoint_early_stop(False):
        step = training_step(Checkpointed(is_reentrant=is_reentrant))
        found = analysed(step, tmp_path)
        executed = counted_flop(step)
    assert found.flop.recomputed_per_step == 2 * LINEAR
    assert found.flop.model_per_step == MODEL_FLOP
    assert found.flop.hardware_per_step == executed
    assert found.mfu is not None and found.hfu is not None
    assert found.hfu / found.mfu == pytest.approx(executed / MODEL_FLOP)


def test_checkpointing_that_stops_early_recomputes_what_it_still_needs(tmp_path: Path) -> None:
    """The block ends with an activation, whose input is the last product: all of the block runs again."""
    step = training_step(Checkpointed(is_reentrant=False))
    found = analysed(step, tmp_path)
    assert found.flop.recomputed_per_step == 2 * LINEAR
    assert found.flop.hardware_per_step == counted_flop(step)


def test_checkpoints_inside_checkpoints_run_the_inner_part_again_each_time(tmp_path: Path) -> None:
    torch.manual_seed(0)
    inner, outer = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([inner, outer])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            def both(x: torch.Tensor) -> torch.Tensor:
                return outer(checkpoint(inner, x, use_reentrant=False).tanh()).tanh()

            return checkpoint(both, x, use_reentrant=False)

    with set_checkpoint_early_stop(False):
        step = training_step(Nested())
        found, executed = analysed(step, tmp_path), counted_flop(step)
    assert found.flop.model_per_step == 2 * LINEAR + 3 * LINEAR  # no gradient of the data
    assert found.flop.hardware_per_step == executed


def test_a_graph_of_the_gradient_is_no_recomputation(tmp_path: Path) -> None:
    """A gradient penalty: backward with ``create_graph=True``, then backward through it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, CLASSES))
    data = torch.randn(BATCH, WIDTH, requires_grad=True)

    def penalized(model: nn.Module) -> torch.Tensor:
        point = data * 1.0  # torch's counter takes no leaf here
        loss = model(point).square().mean()
        (gradient,) = torch.autograd.grad(loss, point, create_graph=True)
        penalty: torch.Tensor = loss + gradient.square().sum()
        return penalty

    step = training_step(model, penalized)
    found = analysed(step, tmp_path)
    assert found.flop.recomputed_per_step == 0
    assert found.flop.model_per_step == found.flop.hardware_per_step == counted_flop(step)


def test_plain_training_recomputes_nothing(tmp_path: Path) -> None:
    step = training_step(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES)))
    found = analysed(step, tmp_path)
    assert found.flop.recomputed_per_step == 0
    assert found.flop.model_per_step == 2 * LINEAR + 3 * HEAD == counted_flop(step)


def roles(*ops: Host) -> list[str]:
    """Names of the ops that are recomputed."""
    drawn = assembled(ops=ops)
    found = is_recomputed(drawn, Nesting.of(drawn.ops), np.arange(len(ops)))
    return [drawn.names[drawn.ops.name[row]] for row in np.flatnonzero(found).tolist()]


NODE = "autograd::engine::evaluate_function: "


def test_threads_count_for_themselves_so_that_numbers_may_repeat() -> None:
    """The autograd thread's 7 is recomputed, although the main thread's 7 has its backward node later.

    ::

        main       ├ mm 7 ┤├ mm 8 ┤
        autograd                    ├ node 8: ├ again 7 ┤ ┤├ node 7 ┤
    """
    forward = Host("aten::mm", 0, 10, MAIN, sequence=7), Host("aten::mm", 10, 20, MAIN, sequence=8)
    again = Host("again", 22, 28, AUTOGRAD, sequence=7)
    nodes = [
        Host(NODE + "CheckpointFunctionBackward", 20, 30, AUTOGRAD, sequence=8),
        Host(NODE + "MmBackward0", 30, 40, AUTOGRAD, sequence=7),
    ]
    assert roles(*forward, *nodes, again) == ["again"]


def test_a_repeated_number_with_two_nodes_is_a_graph_of_the_gradient() -> None:
    """The second node 7 is the autograd thread's own: ``create_graph=True``."""
    forward = Host("aten::mm", 0, 10, MAIN, sequence=7), Host("aten::mm", 10, 20, MAIN, sequence=8)
    recorded = Host("recorded", 22, 28, AUTOGRAD, sequence=7)
    nodes = [
        Host(NODE + "MmBackward0", 20, 30, AUTOGRAD, sequence=8),
        Host(NODE + "MmBackward0", 40, 50, AUTOGRAD, sequence=7),
        Host(NODE + "MmBackward0", 50, 60, AUTOGRAD, sequence=7),
    ]
    assert roles(*forward, *nodes, recorded) == []


@pytest.mark.usefixtures("shared_dir")
def test_a_real_checkpointed_resnet_repeats_the_convolutions_inside_backward() -> None:
    """Per step 20 convolutions forward, and those of the checkpointed blocks again inside backward nodes."""
    name = "tracelens_mi300x_resnet_checkpoint"
    drawn, found = real_timeline(name), real_report(name)
    named = np.array([drawn.names[index] for index in drawn.ops.name])
    node = np.flatnonzero(np.char.startswith(named, "autograd::engine::evaluate_function"))
    convolution = np.flatnonzero(named == "aten::convolution")
    inside = [
        any(
            drawn.ops.thread[row] == drawn.ops.thread[outer]
            and drawn.ops.start_ns[outer] <= drawn.ops.start_ns[row] < drawn.ops.end_ns[outer]
            for outer in node.tolist()
        )
        for row in convolution.tolist()
    ]
    assert (len(inside), sum(inside)) == (3 * 20 + 3 * 19, 3 * 19)
    repeated = 0
    for row in convolution[np.array(inside)].tolist():
        raw = drawn.signatures[drawn.ops.signature[row]]
        shapes, types, concrete = (json.loads(text) for text in (raw.dims, raw.types, raw.concrete))
        call = op_call("aten::convolution", shapes, types, concrete)
        cost = None if call is None else op_cost(call)
        assert cost is not None
        repeated += cost.model_flop
    assert found.flop.recomputed_per_step == repeated / 3
