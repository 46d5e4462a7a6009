"""What is heard where backward runs on a thread of its own."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from tests.capture.watching import Net, watched

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA or ROCm device"),
]


def test_optimizers_in_backward_are_heard_from_the_thread_of_autograd() -> None:
    model = Net().cuda()
    threads = set()
    for parameter in model.parameters():
        optimizer = AdamW([parameter])

        def step(parameter: Tensor, optimizer: Optimizer = optimizer) -> None:
            threads.add(threading.get_ident())
            optimizer.step()
            optimizer.zero_grad()

        parameter.register_post_accumulate_grad_hook(step)
    with watched(model) as heard:
        for _ in range(2):
            model(torch.ones(2, 4, device="cuda")).sum().backward()
    assert heard.picture == "F()()()()F()()()()"
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("is_fused", [True, False])
def test_overflows_are_heard_as_steps(is_fused: bool) -> None:
    model = Net().cuda()
    optimizer = AdamW(model.parameters(), fused=is_fused)
    scaler = torch.amp.GradScaler("cuda", init_scale=4.0)
    with watched(model) as heard:
        for is_bad in (False, True, False):
            scaler.scale(model(torch.ones(2, 4, device="cuda")).sum()).backward()
            if is_bad:
                assert model.first.weight.grad is not None
                model.first.weight.grad.fill_(float("inf"))
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    assert heard.picture == "F()F()F()"


def test_inductors_optimizer_is_heard_at_the_next_forward() -> None:
    model = Net().cuda()
    optimizer = AdamW(model.parameters())
    step = torch.compile(optimizer.step)
    with watched(model) as heard:
        for _ in range(3):
            model(torch.ones(2, 4, device="cuda")).sum().backward()
            step()
            optimizer.zero_grad()
    assert heard.picture == "F()F()F"
