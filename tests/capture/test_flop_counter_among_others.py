"""The counter beside dispatch modes, compiled code, exceptions and threads of the user's."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch._C import _len_torch_dispatch_stack
from torch.utils._python_dispatch import TorchDispatchMode

from mfu_profiler.capture.flop.flop_counter import FlopCounter, dynamo_has_compiled
from mfu_profiler.capture.flop.op_counter import OpCounter

from .counted_models import Mlp, count, matmul


class Watching(TorchDispatchMode):
    """A mode of the user's that passes everything on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    torch._dynamo.reset()
    assert _len_torch_dispatch_stack() == 0
    yield
    assert _len_torch_dispatch_stack() == 0


def telling(runs: list[str]) -> Any:
    """A backend whose code notes each time that it runs."""

    def backend(graph: Any, inputs: Any) -> Any:
        def run(*args: Any) -> Any:
            runs.append("compiled")
            return graph(*args)

        return run

    return backend


@pytest.fixture
def _forget_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def test_under_another_mode_counting_does_not_start() -> None:
    counter = FlopCounter(None)
    with Watching():
        assert counter.start() == "another dispatch mode is active"
        assert counter.stop() is None
        assert _len_torch_dispatch_stack() == 1
    assert not counter.is_stacked


def test_a_mode_entered_and_left_in_the_step_sees_every_op_and_so_do_we() -> None:
    model, x, watching = Mlp(), torch.randn(5, 8), Watching()

    def step() -> None:
        with watching:
            y = model(x)
        y.sum().backward()

    assert count(model, step).forward == matmul(5, 8, 16, 4)
    assert watching.seen > 0


def test_a_mode_still_active_at_the_end_is_never_taken_from_the_stack() -> None:
    model, x, watching = Mlp(), torch.randn(5, 8), Watching()
    counter = FlopCounter(model)
    assert counter.start() is None
    with watching:
        model(x)
        assert counter.stop() is None
        assert counter.because == "another dispatch mode was entered in the step and not left"
        assert counter.is_stacked and _len_torch_dispatch_stack() == 2
        before = watching.seen
        torch.equal(model(x), model(x))  # ours passes everything on now
        assert watching.seen > before
    counted = counter.stop()
    assert counted is not None and counted.forward == matmul(5, 8, 16, 4)
    assert not counter.is_stacked and counter.because is None


def test_stop_on_another_thread_leaves_the_stack_alone() -> None:
    counter = FlopCounter(None)
    assert counter.start() is None
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(counter.stop()))
    thread.start()
    thread.join()
    assert results == [None] and counter.is_stacked
    assert counter.stop() is not None and not counter.is_stacked


def test_a_step_that_begins_or_ends_inside_a_backward_is_refused_there() -> None:
    x = torch.randn(3, requires_grad=True)
    counter, late = FlopCounter(None), FlopCounter(None)
    told: list[object] = []
    x.register_hook(lambda gradient: told.append(counter.start()))
    x.sum().backward()
    assert told == ["the step begins inside a backward pass"]
    assert late.start() is None
    x.register_hook(lambda gradient: told.append((late.stop(), late.is_stacked)))
    x.sum().backward()
    assert told[-1] == (None, True)
    assert late.stop() is not None and not late.is_stacked


def test_the_users_exception_passes_and_what_ran_before_is_counted() -> None:
    model, x = Mlp(), torch.randn(5, 8)
    counter = FlopCounter(model)
    assert counter.start() is None
    model(x)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        torch.randn(2, 3) @ torch.randn(2, 3)
    counted = counter.stop()
    assert counted is not None and counted.hardware == matmul(5, 8, 16, 4)


def test_a_counter_counts_once() -> None:
    counter = FlopCounter(None)
    assert counter.stop() is None
    assert counter.start() is None
    assert counter.start() == "this counter has been used"
    assert counter.stop() == counter.stop()


def test_threads_of_the_users_are_not_counted_and_not_disturbed() -> None:
    model, x = Mlp(), torch.randn(5, 8)

    def step() -> None:
        thread = threading.Thread(target=model, args=(x,))
        thread.start()
        thread.join()

    assert count(model, step).hardware == 0


def test_data_parallel_over_several_devices_is_refused() -> None:
    wrapped = nn.DataParallel(Mlp())
    wrapped.device_ids = [0, 1]
    because = FlopCounter(wrapped).start()
    assert because is not None and "threads of its own" in because


@pytest.mark.usefixtures("_forget_compiled")
@pytest.mark.parametrize("is_warm", [False, True])
def test_compiled_code_stays_compiled_under_the_mode(is_warm: bool) -> None:
    runs: list[str] = []
    compiled, x = torch.compile(lambda x: (x @ x).sin() + 1, backend=telling(runs)), torch.randn(4, 4)
    if is_warm:
        compiled(x)
    runs.clear()
    with OpCounter(None):
        inside = compiled(x)
    frames = torch._dynamo.convert_frame.FRAME_COUNTER
    assert torch.equal(compiled(x), inside)
    assert runs == ["compiled"] * 2
    assert torch._dynamo.convert_frame.FRAME_COUNTER == frames == 1  # nothing was compiled again


@pytest.mark.usefixtures("_forget_compiled")
def test_a_step_that_compiles_is_not_counted_and_neither_is_any_later_one() -> None:
    assert not dynamo_has_compiled()
    compiled, counter = torch.compile(lambda x: x.sin() + 1, backend="eager"), FlopCounter(None)
    assert counter.start() is None
    compiled(torch.randn(4))
    assert counter.stop() is None and not counter.is_stacked
    assert dynamo_has_compiled()
    assert (
        counter.because == FlopCounter(None).start() == "Dynamo has compiled code, whose FLOP cannot be seen"
    )


def test_counting_does_not_import_dynamo() -> None:
    program = (
        "import sys, torch\n"
        "from mfu_profiler.capture.flop.flop_counter import FlopCounter, dynamo_has_compiled\n"
        "counter = FlopCounter(None)\n"
        "assert counter.start() is None\n"
        "torch.randn(4, 4) @ torch.randn(4, 4)\n"
        "assert counter.stop().forward == 128 and not dynamo_has_compiled()\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_inference_mode_is_counted_although_composite_ops_arrive_whole() -> None:
    lstm, cell, convolution = nn.LSTM(5, 7), nn.LSTMCell(5, 7), nn.Conv1d(3, 4, 3, padding="same")
    x, heads = torch.randn(5, 8), torch.randn(2, 4, 6, 8)
    model = Mlp()

    def step() -> None:
        with torch.inference_mode():
            model(x)
            nn.functional.scaled_dot_product_attention(heads, heads, heads, is_causal=True)
            torch.einsum("ij,kj->ik", x, x)
            lstm(torch.randn(3, 2, 5))
            cell(torch.randn(2, 5))
            convolution(torch.randn(2, 3, 10))

    attention = 4 * 2 * 4 * 6 * 6 * 8
    gates = 4 * 7 * (5 + 7)
    by_hand = matmul(5, 8, 16, 4) + attention + matmul(5, 8, 5) + 2 * 3 * 2 * gates + 2 * 2 * gates
    counted = count(model, step)
    assert counted.forward == by_hand + 2 * 2 * 10 * (4 * 3 * 3)
    assert (counted.backward, counted.uncounted) == (0, {})
    assert counted.causal_model == counted.forward - attention // 2


def test_evaluating_a_transformer_layer_counts_the_same_fused_or_in_pieces() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    x = torch.randn(2, 5, 16)
    in_pieces = count(layer, lambda: layer(x)).forward
    layer.eval()

    def fused() -> None:
        with torch.no_grad():
            layer(x)
            layer.self_attn(x, x, x)

    attention = matmul(10, 16, 48) + matmul(10, 16, 16) + 4 * 2 * 5 * 5 * 16
    assert in_pieces == attention + matmul(10, 16, 32, 16)
    assert count(layer, fused).forward == in_pieces + attention


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_run_as_ever_and_are_said_to_be_unknown() -> None:
    """They have kernels of their own, and no shape."""
    layer, results = nn.Linear(8, 4), []
    nested = torch.nested.nested_tensor([torch.ones(3, 8), torch.ones(5, 8)])
    counted = count(layer, lambda: results.append(layer(nested)))
    assert [part.shape for part in results[0].unbind()] == [(3, 4), (5, 4)]
    assert (counted.hardware, counted.uncounted) == (0, {"aten::linear": 1})


def test_jagged_tensors_are_counted_by_the_ops_on_what_they_hold() -> None:
    layer = nn.Linear(8, 4)
    jagged = torch.nested.nested_tensor([torch.ones(3, 8), torch.ones(5, 8)], layout=torch.jagged)
    counted = count(layer, lambda: layer(jagged).values().sum().backward())
    assert (counted.forward, counted.backward) == (matmul(8, 8, 4), matmul(8, 8, 4))


def test_function_transforms_are_counted_as_they_run() -> None:
    x, weight = torch.randn(5, 8), torch.randn(8, 4)

    def step() -> None:
        torch.func.grad(lambda weight: (x @ weight).pow(2).sum())(weight)
        torch.func.vmap(lambda weight: x @ weight)(torch.randn(3, 8, 4))

    counted = count(None, step)
    once = matmul(5, 8, 4)
    assert (counted.forward, counted.backward, counted.recomputed) == (once + 3 * once, once, 0)
