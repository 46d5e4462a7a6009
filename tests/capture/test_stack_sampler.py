"""The stack sampler names the very lines that a thread is on, and leaves nothing behind."""

from __future__ import annotations

import gc
import inspect
import json
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mfu_profiler.capture.profile.stack_sampler import StackSampler

GIVE_UP_S = 20.0
QUICK_HERTZ = 1000.0


def line_of(function: Callable[..., Any], text: str) -> int:
    """Number of the line of ``function`` that holds ``text``."""
    lines, first = inspect.getsourcelines(function)
    return first + next(index for index, line in enumerate(lines) if text in line)


def frame(function: Callable[..., Any], text: str) -> str:
    return f"{__file__}({line_of(function, text)}): {function.__name__}"


def sleeps(sampler: StackSampler, count: int = 5) -> None:
    """Wait until there are ``count`` samples more."""
    goal, give_up_s = sampler.sample_count + count, time.monotonic() + GIVE_UP_S
    while sampler.sample_count < goal:
        assert time.monotonic() < give_up_s, "no samples"
        time.sleep(0.01)  # here it waits


def spins(sampler: StackSampler) -> None:
    """Run Python code, without a call, for some ms at a time."""
    goal, number = sampler.sample_count + 5, 0
    while sampler.sample_count < goal:
        for number in range(200_000):  # here it spins
            number += 1


def named_stacks(content: dict[str, Any]) -> Iterator[list[str]]:
    """The stack of each sample as texts."""
    for index in content["stack"]:
        yield [content["frames"][frame] for frame in content["stacks"][index]]


def own_sampler(**given: Any) -> StackSampler:
    return StackSampler(threading.get_ident(), QUICK_HERTZ, **given)


def samplers_running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "stack sampler" in thread.name]


def ends_by_itself() -> None:
    """Wait for a sampler that ends without ``stop``."""
    for thread in samplers_running():
        thread.join(GIVE_UP_S)
    assert not samplers_running()


def test_samples_of_a_sleep_name_its_line_and_its_callers_innermost_first() -> None:
    sampler = own_sampler()
    sampler.start()
    sleeps(sampler)  # the caller
    content = sampler.to_json()
    expected = [
        frame(sleeps, "# here it waits"),
        frame(test_samples_of_a_sleep_name_its_line_and_its_callers_innermost_first, "# the caller"),
    ]
    assert expected in [stack[:2] for stack in named_stacks(content)]
    assert content["because"] is None


def test_samples_of_a_busy_loop_name_its_line() -> None:
    sampler = own_sampler()
    sampler.start()
    spins(sampler)  # the caller
    innermost = [stack[0] for stack in named_stacks(sampler.to_json())]
    first = line_of(spins, "# here it spins")
    assert {f"{__file__}({line}): spins" for line in (first, first + 1)} & set(innermost)


def test_only_the_thread_that_was_asked_for_is_sampled() -> None:
    end = threading.Event()
    other = threading.Thread(target=end.wait, args=(GIVE_UP_S,))
    other.start()
    assert other.ident is not None
    sampler = StackSampler(other.ident, QUICK_HERTZ)
    sampler.start()
    sleeps(sampler)
    content = sampler.to_json()
    end.set()
    other.join()
    assert content["thread"] == str(other.native_id)
    assert not [text for text in content["frames"] if __file__ in text]
    assert all(": wait" in stack[0] for stack in named_stacks(content))


def test_the_thread_bears_the_name_that_the_trace_has_for_it() -> None:
    assert own_sampler().to_json()["thread"] == str(threading.get_native_id())
    assert own_sampler(native_id=77).to_json()["thread"] == "77"
    assert StackSampler(0).to_json()["thread"] is None


def test_the_samples_survive_json_and_lie_between_start_and_stop() -> None:
    before_ns = time.time_ns()
    sampler = own_sampler()
    sampler.start()
    sleeps(sampler)
    content = json.loads(json.dumps(sampler.to_json()))
    assert set(content) == {
        "hertz", "thread", "frames", "stacks", "time_ns", "stack", "cost_fraction", "because",
    }  # fmt: skip
    assert len(content["time_ns"]) == len(content["stack"]) == sampler.sample_count >= 5
    stamps = [before_ns, *content["time_ns"], time.time_ns()]
    assert stamps == sorted(stamps)
    assert 0 < content["cost_fraction"] < 1
    assert len(set(content["frames"])) == len(content["frames"])
    assert len(set(map(tuple, content["stacks"]))) == len(content["stacks"])


def test_stop_leaves_no_thread_and_may_be_called_again() -> None:
    sampler = own_sampler()
    sampler.stop()
    sampler.start()
    assert len(samplers_running()) == 1
    sampler.stop()
    sampler.stop()
    assert not samplers_running()


def test_a_sampler_that_never_started_has_no_samples() -> None:
    content = own_sampler().to_json()
    assert content["time_ns"] == content["stack"] == content["stacks"] == content["frames"] == []
    assert content["cost_fraction"] is None and content["because"] is None


def test_the_sampler_ends_with_the_thread() -> None:
    quick = threading.Event()
    thread = threading.Thread(target=quick.wait, args=(GIVE_UP_S,))
    thread.start()
    assert thread.ident is not None
    sampler = StackSampler(thread.ident, QUICK_HERTZ)
    sampler.start()
    sleeps(sampler, 1)
    quick.set()
    thread.join()
    ends_by_itself()
    assert sampler.to_json()["because"] == "the sampled thread ended"


def test_no_more_samples_are_kept_than_asked_for() -> None:
    sampler = own_sampler(most_samples=3)
    sampler.start()
    ends_by_itself()
    content = sampler.to_json()
    assert len(content["stack"]) == 3
    assert content["because"] == "sampling ended after 3 samples: the most that are kept"


def test_different_stacks_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfu_profiler.capture.profile.stack_sampler._MOST_STACK_ENTRIES", 1)
    sampler = own_sampler()
    sampler.start()
    ends_by_itself()
    content = sampler.to_json()
    assert len(content["stacks"]) == 1
    assert content["because"].startswith("sampling ended after 1 samples")


def test_a_deep_stack_keeps_its_innermost_64_frames() -> None:
    sampler = own_sampler()

    def deep(level: int) -> None:
        if level:
            deep(level - 1)
        else:
            sampler.start()
            sleeps(sampler)

    deep(100)
    content = sampler.to_json()
    stack = next(one for one in named_stacks(content) if one[0] == frame(sleeps, "# here it waits"))
    assert len(stack) == 64
    assert all(text.endswith("): deep") for text in stack[1:])


def test_locals_of_the_sampled_functions_are_not_kept_alive() -> None:
    class Held:
        pass

    sampler = own_sampler()

    def holds() -> weakref.ref[Held]:
        held = Held()
        sampler.start()
        sleeps(sampler)
        return weakref.ref(held)

    gone = holds()
    sampler.stop()
    assert gone() is None  # by its reference count alone, without the garbage collector
    kept = [one for one in gc.get_referents(*vars(sampler).values()) if inspect.isframe(one)]
    assert not kept
    assert any(": holds" in text for text in sampler.to_json()["frames"])


def test_code_made_at_run_time_is_not_kept_alive() -> None:
    sampler = own_sampler()
    space: dict[str, Any] = {"sleeps": sleeps}
    exec(compile("def made(sampler):\n    sleeps(sampler)", "made.py", "exec"), space)
    gone = weakref.ref(space["made"].__code__)
    sampler.start()
    space["made"](sampler)
    sampler.stop()
    space.clear()
    gc.collect()
    assert gone() is None
    assert "made.py(2): made" in sampler.to_json()["frames"]


def test_a_failure_ends_the_sampling_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> dict[int, Any]:
        raise MemoryError("none left")

    monkeypatch.setattr("sys._current_frames", fail)
    sampler = own_sampler()
    sampler.start()
    ends_by_itself()
    assert sampler.to_json()["because"] == "sampling failed: MemoryError: none left"


def test_without_a_thread_the_sampler_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sampler = own_sampler()
    sampler.start()
    assert sampler.to_json()["because"] == "no thread could be started: can't start new thread"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_stop_in_a_forked_child_returns_at_once() -> None:
    sampler = own_sampler()
    sampler.start()
    sleeps(sampler, 1)
    child = os.fork()
    if child == 0:
        because = sampler.to_json()["because"]
        os._exit(7 if because == "the process was forked" else 1)
    give_up_s = time.monotonic() + GIVE_UP_S
    done, status = os.waitpid(child, os.WNOHANG)
    while not done and time.monotonic() < give_up_s:
        time.sleep(0.01)
        done, status = os.waitpid(child, os.WNOHANG)
    if not done:
        os.kill(child, 9)
        os.waitpid(child, 0)
    sleeps(sampler, 1)  # the parent's goes on
    assert sampler.to_json()["because"] is None
    assert done and os.waitstatus_to_exitcode(status) == 7


def test_the_users_random_numbers_stay_as_they_are() -> None:
    state = random.getstate()
    sampler = own_sampler()
    sampler.start()
    sleeps(sampler)
    sampler.stop()
    assert random.getstate() == state


def test_undecodable_paths_become_text() -> None:
    sampler = own_sampler()
    space: dict[str, Any] = {"sleeps": sleeps}
    exec(compile("def made(sampler):\n    sleeps(sampler)", "caf\udce9.py", "exec"), space)
    sampler.start()
    space["made"](sampler)
    content = sampler.to_json()
    json.dumps(content, ensure_ascii=False).encode()
    assert "caf\\udce9.py(2): made" in content["frames"]
