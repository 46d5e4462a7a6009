"""A step counted on a copy without data: the same FLOP, and nothing of the process touched."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from mfu_profiler.capture.flop.forward_calls import describe_call
from mfu_profiler.capture.flop.shadow import shadow_count
from mfu_profiler.capture.torch_private import number_of_modes

from .counted_models import ConvNet, Gpt, Mlp, count, matmul


def frozen_mlp() -> Mlp:
    model = Mlp()
    model.wide.requires_grad_(False)
    return model


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], torch.Tensor]]] = {
    "mlp": (Mlp, lambda: torch.randn(5, 8)),
    "frozen": (frozen_mlp, lambda: torch.randn(5, 8)),
    "input gradient": (Mlp, lambda: torch.randn(5, 8, requires_grad=True)),
    "convolutions": (ConvNet, lambda: torch.randn(2, 3, 16, 16)),
    "lstm": (lambda: nn.LSTM(5, 7, num_layers=2), lambda: torch.randn(3, 2, 5)),
    "gpt": (Gpt, lambda: torch.randint(32, (2, 8))),
    "grouped queries": (lambda: Gpt(kv_heads=2), lambda: torch.randint(32, (2, 8))),
    "checkpoint": (lambda: Gpt(reentrant=False), lambda: torch.randint(32, (2, 8))),
    "reentrant checkpoint": (lambda: Gpt(reentrant=True), lambda: torch.randint(32, (2, 8))),
    "weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 4)),
        lambda: torch.randn(5, 8),
    ),
}


class Helped(nn.Module):
    """A module and a function behind it."""

    def __init__(self, inner: nn.Module, helper: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner, self.helper = inner, helper

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.helper(self.inner(x))


def outputs_backward(outputs: Any) -> None:
    (outputs[0] if isinstance(outputs, tuple) else outputs).sum().backward()


@pytest.mark.parametrize("name", MODELS)
def test_a_shadow_counts_what_the_real_step_counts(name: str) -> None:
    make, given = MODELS[name]
    model, x = make(), given()
    call = describe_call((x,), {}, True)
    assert shadow_count(model, [call]) == count(model, lambda: outputs_backward(model(x)))


def test_autocast_is_replayed_whatever_it_is_now() -> None:
    model, x = Mlp(), torch.randn(5, 8)
    plain = describe_call((x,), {}, True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        call = describe_call((x,), {}, True)
        assert set(shadow_count(model, [plain]).by_precision) == {"fp32"}
    assert set(shadow_count(model, [call]).by_precision) == {"bf16"}


def test_alike_calls_are_multiplied_and_others_added() -> None:
    model = Mlp()
    five, three = (describe_call((torch.randn(rows, 8),), {}, True) for rows in (5, 3))
    counted = shadow_count(model, [five, three, five])
    assert counted.forward == matmul(5 + 3 + 5, 8, 16, 4)
    assert counted == shadow_count(model, [five]) * 2 + shadow_count(model, [three])


def test_a_plain_argument_that_decides_what_runs_is_heeded() -> None:
    class Rounds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor, rounds: int) -> torch.Tensor:
            for _ in range(rounds):
                x = self.layer(x)
            return x

    x = torch.randn(5, 8)
    calls = [describe_call((x, rounds), {}, False) for rounds in (1, 2)]
    assert shadow_count(Rounds(), calls).forward == 3 * matmul(5, 8, 8)


def test_calls_without_a_backward_are_only_run_forward() -> None:
    counted = shadow_count(Mlp(), [describe_call((torch.randn(5, 8),), {}, False)])
    assert (counted.forward, counted.backward) == (matmul(5, 8, 16, 4), 0)


def test_nothing_of_the_module_or_the_process_is_touched(capfd: pytest.CaptureFixture[str]) -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.norm, self.calls = nn.Linear(8, 8), nn.BatchNorm1d(8), []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            print("forward")
            self.calls.append(random.random() + np.random.rand())
            result: torch.Tensor = checkpoint(
                nn.functional.dropout, self.norm(self.layer(x)), use_reentrant=False
            )
            return result + torch.rand(8)

    def state() -> list[Any]:
        tensors = [*model.state_dict().values(), torch.get_rng_state()]
        return [
            *(tensor.tolist() for tensor in tensors),
            random.getstate(),
            np.random.get_state()[1].tolist(),
        ]

    model, x, hooked = Noisy(), torch.randn(5, 8), []
    model.register_forward_hook(lambda *args: hooked.append("module"))
    handle = nn.modules.module.register_module_forward_hook(lambda *args: hooked.append("global"))
    before = state()
    counted = shadow_count(model, [describe_call((x,), {}, True)])
    after = state()
    assert (hooked, model.calls, number_of_modes(), capfd.readouterr()) == ([], [], 0, ("", ""))
    model(x)
    handle.remove()
    assert after == before
    assert counted.model == 2 * matmul(5, 8, 8)
    assert all(weight.grad is None for weight in model.parameters())
    assert hooked[-2:] == ["global", "module"] and len(model.calls) == 1
    assert "forward" in capfd.readouterr().out


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # Dynamo asks for it
@pytest.mark.parametrize("how", ["wrapped", "in place", "inside", "helper"])
def test_a_compiled_module_is_counted_eagerly_and_stays_compiled(how: str) -> None:
    runs: list[str] = []

    def backend(graph: Any, inputs: Any) -> Any:
        def run(*args: Any) -> Any:
            runs.append("compiled")
            return graph(*args)

        return run

    torch._dynamo.reset()
    inner = Mlp().eval()
    model: Any = inner
    if how == "in place":
        model.compile(backend=backend)
    elif how == "wrapped":
        model = torch.compile(inner, backend=backend)
    elif how == "inside":
        model = nn.Sequential(torch.compile(inner, backend=backend))
    else:
        model = Helped(inner, torch.compile(lambda x: x.sin() + 1, backend=backend))
    x = torch.randn(5, 8)
    expected = model(x)
    frames = torch._dynamo.convert_frame.FRAME_COUNTER
    runs.clear()
    counted = shadow_count(model, [describe_call((x,), {}, True)])
    assert counted.forward == matmul(5, 8, 16, 4)
    assert runs == []
    assert torch.equal(model(x), expected)
    assert runs == ["compiled"] and frames == torch._dynamo.convert_frame.FRAME_COUNTER
    torch._dynamo.reset()
