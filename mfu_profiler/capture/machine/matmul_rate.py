"""How fast a device multiplies square matrices: the best of many repeats over a few sizes.

Nothing of the caller's torch is touched or felt. The work runs in a thread of its own, because what could
bend it is kept per thread: autocast, gradient and inference mode, dispatch modes such as a FLOP counter
or fake tensors, a default device, a running profiler. The data come from a generator of their own.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

import torch

__all__ = ["Bench", "MatmulRate", "best_rate", "better", "in_fresh_thread"]

_Result = TypeVar("_Result")

_FIRST_PASS_FRACTION = 0.6
"""Of the time, for one look at each size; the rest goes to the best of them."""
_DATA_SIZE = 256
"""So many rows and columns are drawn and repeated: drawing all would take longer than multiplying."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how matrices are multiplied."""

    device: torch.device
    """As the tensors name it."""

    sizes: Sequence[int]
    """Rows and columns of the matrices, ascending."""

    batch_s: float
    """Calls are timed in batches of about this length, so that the clock and the waiting do not count."""

    synchronize: Callable[[], object]
    """Returns when the device has done all that was asked of it."""

    stop: threading.Event
    """Set when nobody waits for the result any more."""


@dataclass(frozen=True, slots=True)
class MatmulRate:
    """The best rate seen, and where."""

    flop_per_s: float
    size: int
    """Rows and columns of the matrices that reached it."""


def best_rate(bench: Bench, dtype: torch.dtype, budget_s: float) -> MatmulRate | None:
    """The best rate of one dtype within about ``budget_s``; None where not one multiplication was done.

    A size that would take more than half of the time that is left is passed over, and so are all after it.

    Raises:
        RuntimeError: the device cannot multiply this dtype, or has no memory for it.

    """
    deadline = time.perf_counter() + budget_s
    look_s = _FIRST_PASS_FRACTION * budget_s / len(bench.sizes)
    best: MatmulRate | None = None
    for size in bench.sizes:
        left_s = deadline - time.perf_counter()
        if best is not None and 2 * _flop(size) / best.flop_per_s > left_s / 2:
            break
        best = better(best, _rate_at(bench, dtype, size, min(look_s, left_s)))
    if best is None:
        return None
    return better(best, _rate_at(bench, dtype, best.size, deadline - time.perf_counter()))


def _rate_at(bench: Bench, dtype: torch.dtype, size: int, time_s: float) -> MatmulRate | None:
    """The best batch of one size, at least one unless stopped. The first call sets things up: not timed."""
    if bench.stop.is_set():
        return None
    left, right = _matrix(bench, dtype, size, seed=0), _matrix(bench, dtype, size, seed=1)
    product = torch.empty_like(left)
    deadline = time.perf_counter() + time_s
    _batch_s(bench, left, right, product, calls=1)
    best_s = _batch_s(bench, left, right, product, calls=1)
    calls = max(1, math.ceil(bench.batch_s / best_s))
    while time.perf_counter() + calls * best_s < deadline and not bench.stop.is_set():
        best_s = min(best_s, _batch_s(bench, left, right, product, calls) / calls)
    return MatmulRate(_flop(size) / best_s, size)


def _batch_s(
    bench: Bench, left: torch.Tensor, right: torch.Tensor, product: torch.Tensor, calls: int
) -> float:
    bench.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        torch.mm(left, right, out=product)
    bench.synchronize()
    # A clock that does not move (a coarse one, a tiny product) must not make a rate infinite.
    return max(time.perf_counter() - start, 1e-9)


def _matrix(bench: Bench, dtype: torch.dtype, size: int, seed: int) -> torch.Tensor:
    """Normal deviates: constant data are as fast on a CPU, but faster on a GPU that meets its power limit."""
    generator = torch.Generator(device="cpu")
    generator.manual_seed(seed)
    block = torch.empty(_DATA_SIZE, _DATA_SIZE, dtype=torch.float32, device="cpu")
    block.normal_(generator=generator)
    repeats = math.ceil(size / _DATA_SIZE)
    return block.to(bench.device, dtype).repeat(repeats, repeats)[:size, :size].contiguous()


def _flop(size: int) -> int:
    """Of one product: a multiply-add is 2 FLOP."""
    return 2 * size**3


def better(one: MatmulRate | None, other: MatmulRate | None) -> MatmulRate | None:
    """The faster of two rates; None only where both are."""
    seen = [rate for rate in (one, other) if rate is not None]
    return max(seen, key=lambda rate: rate.flop_per_s, default=None)


def in_fresh_thread(work: Callable[[threading.Event], _Result]) -> _Result:
    """What ``work`` returns or raises in a thread of its own, which has ended when this returns.

    Args:
        work: gets an event that is set when the caller was interrupted.

    Raises:
        RuntimeError: no thread can be started, as while the interpreter ends.

    """
    outcome: Future[_Result] = Future()
    stop = threading.Event()

    def run() -> None:
        try:
            outcome.set_result(work(stop))
        except BaseException as error:  # raised again where the caller waits
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name="mfu_profiler matmul rate", daemon=True)
    thread.start()
    try:
        return outcome.result()
    finally:
        stop.set()
        thread.join()
