"""What is kept of a forward call, and what is not."""

from __future__ import annotations

import gc
import weakref
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from mfu_profiler.capture.flop.forward_calls import (
    TensorSpec,
    UnknownArgumentError,
    describe_call,
    tensors_in,
)

Pair = namedtuple("Pair", "left right")


@dataclass
class Batch:
    tokens: Any
    mask: Any
    scale: float = 1.0


def zeros(spec: TensorSpec) -> torch.Tensor:
    return torch.zeros(spec.shape, dtype=spec.dtype, device=spec.device, requires_grad=spec.requires_grad)


def test_a_call_can_be_made_again_with_other_tensors() -> None:
    x = torch.ones(2, 3, requires_grad=True)
    tokens = torch.ones(2, 5, dtype=torch.int64)
    args = (x, [tokens, None], Pair(x, 3), Batch(tokens, None, 0.5))
    call = describe_call(args, {"labels": {"a": tokens}, "mode": "sum", "order": OrderedDict(x=1)}, True)
    (first, second, pair, batch), kwargs = call.made_again(zeros)
    assert torch.equal(first, torch.zeros(2, 3)) and first.requires_grad
    assert second[0].dtype == torch.int64 and second[1] is None
    assert isinstance(pair, Pair) and pair.left.shape == (2, 3) and pair.right == 3
    assert isinstance(batch, Batch) and batch.scale == 0.5 and batch.tokens.shape == (2, 5)
    assert kwargs["labels"]["a"].shape == (2, 5)
    assert (kwargs["mode"], kwargs["order"]) == ("sum", OrderedDict(x=1))


def test_calls_are_equal_if_their_shapes_are_whatever_the_plain_values() -> None:
    def call(length: int, number: int) -> Any:
        return describe_call((torch.ones(2, length), number), {}, True)

    assert call(3, 1) == call(3, 2) and hash(call(3, 1)) == hash(call(3, 2))
    assert call(3, 1) != call(4, 1)


@pytest.mark.parametrize(
    "other",
    [
        ((torch.ones(2, 3, dtype=torch.float64),), {}, True),
        ((torch.ones(2, 3, requires_grad=True),), {}, True),
        ((torch.ones(2, 3), torch.ones(2, 3)), {}, True),
        ((), {"x": torch.ones(2, 3)}, True),
        ((torch.ones(2, 3),), {}, False),
    ],
)
def test_dtype_gradient_structure_and_mode_make_a_difference(other: Any) -> None:
    assert describe_call(*other) != describe_call((torch.ones(2, 3),), {}, True)


def test_autocast_is_part_of_the_call() -> None:
    plain = describe_call((), {}, True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = describe_call((), {}, True)
    assert (plain.autocast, under.autocast) == ((), (("cpu", torch.bfloat16),))


def test_no_tensor_is_kept_alive() -> None:
    x = torch.ones(2, 3)
    kept = weakref.ref(x)
    call = describe_call((x, [x]), {"x": x}, True)
    del x
    gc.collect()
    assert kept() is None
    assert [spec.shape for spec in call.tensors()] == [(2, 3)] * 3


@pytest.mark.parametrize("strange", [object(), {1, 2}, torch.eye(2).to_sparse(), list(range(2000))])
def test_what_is_neither_tensor_nor_plain_cannot_be_made_again(strange: Any) -> None:
    call = describe_call((strange,), {}, True)
    with pytest.raises(UnknownArgumentError, match=type(strange).__name__):
        call.made_again(zeros)


def test_a_list_that_holds_itself_is_given_up() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(UnknownArgumentError):
        describe_call((endless,), {}, True).made_again(zeros)


def test_outputs_are_searched_for_tensors() -> None:
    x, y, z = torch.ones(1), torch.ones(2), torch.ones(3)
    assert [t.shape[0] for t in tensors_in((x, {"a": [y]}, Batch(z, None), "text", 3))] == [1, 2, 3]
