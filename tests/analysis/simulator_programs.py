"""Programs for the simulator: one for each thing that binds a training, and random ones."""

from __future__ import annotations

import random
from collections.abc import Mapping

from hypothesis import strategies as st

from .simulator import (
    AUTOGRAD,
    MAIN,
    MAIN_STREAM,
    SIDE_STREAM,
    Copy,
    Instruction,
    Join,
    Launch,
    Load,
    On,
    Step,
    Sync,
    Think,
)

US = 1_000


def ops(count: int, kernel_us: float, think_us: float = 5, *, is_matmul: bool = True) -> Step:
    """Some equal ops: the host's part of each, and its kernel."""
    return (Think(int(think_us * US)), Launch(int(kernel_us * US), is_matmul=is_matmul)) * count


def reduced(ns: int) -> Step:
    """A collective of what the main stream has computed."""
    return (Join(SIDE_STREAM, MAIN_STREAM), Launch(ns, SIDE_STREAM))


WAIT_FOR_COLLECTIVES = Join(MAIN_STREAM, SIDE_STREAM)
BATCH = Copy(50 * US, is_pageable=False)

BOUND_BY: Mapping[str, tuple[str, Step]] = {
    "data": ("data_loading", (Load(8_000 * US), BATCH, *ops(20, 200))),
    "sync": ("synchronization", (*ops(1, 100), Sync()) * 20),
    "host": ("host_bound", (BATCH, *ops(40, 20, think_us=60))),
    "launch": ("host_bound", ops(300, 2, think_us=3)),
    "communication": (
        "communication",
        (*ops(10, 200), *(*ops(2, 200), *reduced(900 * US)) * 4, WAIT_FOR_COLLECTIVES, *ops(2, 50)),
    ),
    "copies": ("copy", (Copy(2_000 * US, is_pageable=False), *ops(20, 200))),
    "memory": ("other_kernels", (BATCH, *(*ops(1, 200), *ops(2, 150, is_matmul=False)) * 10)),
    "mixed": (
        "data_loading",
        (
            *(Load(5_000 * US), Copy(400 * US)),
            *(*ops(4, 150), Sync()) * 3,
            *(*ops(3, 150), *reduced(600 * US)) * 3,
            *(WAIT_FOR_COLLECTIVES, *ops(4, 50, is_matmul=False)),
        ),
    ),
}
"""Code of the finding that must come first, and the program."""


def healthy_step(seed: int) -> Step:
    """Bound by matrix products: data, copies, collectives and the host all hide behind them."""
    chance = random.Random(seed)
    kernels = [chance.randrange(150, 1_000) * US for _ in range(chance.randrange(12, 40))]
    device_ns = sum(kernels)
    step: list[Instruction] = [Load(chance.randrange(1, device_ns // 2))]
    step.append(Copy(device_ns // 100, is_pageable=False))
    for index, kernel_ns in enumerate(kernels):
        if index == len(kernels) // 3:
            step.append(On(AUTOGRAD))
        step += [Think(chance.randrange(30 * US)), Launch(kernel_ns)]
        if index % 6 == 3:
            step += [Think(2 * US), Launch(kernel_ns // 10, is_matmul=False)]
        if len(kernels) // 2 <= index < len(kernels) - 4 and index % 4 == 0:
            step += reduced(chance.randrange(50, 300) * US)
    return (*step, On(MAIN), WAIT_FOR_COLLECTIVES, Launch(100 * US, is_matmul=False))


def random_step(seed: int, delays: float = 0.0) -> Step:
    """A program of some twenty to eighty instructions, bound by anything.

    Args:
        seed: of the program.
        delays: share of kernels that start 60 to 200 µs later than anything explains.

    """
    chance = random.Random(seed)
    kernel_ns, think_ns = chance.choice((5_000, 40_000, 200_000)), chance.choice((1_000, 20_000, 100_000))
    call_ns = chance.choice((2_000, 5_000))
    step: list[Instruction] = []
    if chance.random() < 0.7:
        step.append(Load(chance.randrange(1_000, 5_000_000)))
    if chance.random() < 0.6:
        step.append(Copy(chance.randrange(10_000, 500_000), is_pageable=chance.random() < 0.5))
    count, matmuls = chance.randrange(5, 40), chance.choice((0.5, 0.9, 1.0))
    for index in range(count):
        step.append(Think(chance.randrange(think_ns)))
        delay_ns = chance.randrange(60 * US, 200 * US) if chance.random() < delays else 0
        length_ns, is_matmul = chance.randrange(1_000, 2 * kernel_ns), chance.random() < matmuls
        step.append(Launch(length_ns, call_ns=call_ns, is_matmul=is_matmul, delay_ns=delay_ns))
        if index == count // 3:
            step.append(On(AUTOGRAD))
        draw = chance.random()
        if draw < 0.1:
            step += reduced(chance.randrange(10_000, 800_000))
        elif draw < 0.15:
            step.append(WAIT_FOR_COLLECTIVES)
        elif draw < 0.18:
            step.append(Sync(stream=chance.choice((None, MAIN_STREAM))))
    # DDP waits on autograd's thread for what the main one then uses.
    step += chance.choice(((On(MAIN), WAIT_FOR_COLLECTIVES), (WAIT_FOR_COLLECTIVES, On(MAIN))))
    return (*step, Launch(chance.randrange(1_000, 2 * kernel_ns), is_matmul=False))


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """Any program whose first work after the wait for data is forward."""

    def times(least_us: float, most_us: float) -> st.SearchStrategy[int]:
        return st.integers(int(least_us * US), int(most_us * US))

    begin = draw(st.lists(st.builds(Load, times(1, 5_000)), max_size=1))
    copied = draw(st.lists(st.builds(Copy, times(10, 500), st.booleans()), max_size=1))
    think_us, kernel_us = draw(st.sampled_from((1, 20, 100))), draw(st.sampled_from((5, 40, 200)))
    think = st.builds(Think, times(0, think_us))
    op = st.tuples(think, st.builds(Launch, times(1, 2 * kernel_us), is_matmul=st.booleans()))
    others = st.one_of(
        times(10, 800).map(reduced),
        st.just((WAIT_FOR_COLLECTIVES,)),
        st.builds(Sync, stream=st.sampled_from((None, MAIN_STREAM))).map(lambda one: (one,)),
    )
    forward = draw(st.lists(op, min_size=1, max_size=10))
    backward = draw(st.lists(st.one_of(op, op, op, others), max_size=25))
    parts = (*forward, (On(AUTOGRAD),), draw(op), *backward, (On(MAIN), WAIT_FOR_COLLECTIVES), draw(op))
    return (*begin, *copied, *(one for part in parts for one in part))
