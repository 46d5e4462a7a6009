"""Patches of a method: around it, and gone again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mfu_profiler.capture.observe.patch import Patch


class Base:
    def greet(self, name: str) -> str:
        return f"hello {name}"


class Derived(Base):
    pass


class Calls(list[str]):
    """Begin and end of calls, and what failed."""

    def patch(self, owner: type, **options: Any) -> Patch:
        return Patch(owner, "greet", self.before, self.after, failed=self.failed, **options)

    def failed(self, error: Exception) -> None:
        self.append(repr(error))

    def before(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        self.append(f"before {args[0]}")
        return True

    def after(self, instance: Any) -> None:
        self.append("after")


@pytest.mark.parametrize("owner", [Base, Derived])
def test_a_call_is_observed_until_the_patch_is_undone(owner: type[Base]) -> None:
    before = dict(owner.__dict__)
    calls = Calls()
    patch = calls.patch(owner)
    assert owner().greet("you") == "hello you"
    patch.undo()
    assert owner().greet("me") == "hello me"
    assert calls == ["before you", "after"]
    assert dict(owner.__dict__) == before


def test_calls_through_the_class_and_through_super_are_observed() -> None:
    class Louder(Derived):
        def greet(self, name: str) -> str:
            return super().greet(name).upper()

    calls = Calls()
    patch = calls.patch(Derived)
    assert Louder().greet("you") == "HELLO YOU" and Derived.greet(Derived(), "you") == "hello you"
    patch.undo()
    assert calls == ["before you", "after"] * 2


def test_only_the_instances_that_it_concerns_are_observed() -> None:
    one, other = Derived(), Derived()
    calls = Calls()
    patch = calls.patch(Derived, concerns=lambda instance: instance is one)
    assert one.greet("one") == "hello one" and other.greet("other") == "hello other"
    patch.undo()
    assert calls == ["before one", "after"]


def test_a_later_change_of_the_base_class_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    patch = Calls().patch(Derived)
    monkeypatch.setattr(Base, "greet", lambda self, name: "changed")
    assert Derived().greet("you") == "changed"
    patch.undo()


def test_patches_are_undone_in_any_order() -> None:
    before = dict(Derived.__dict__)
    calls = [Calls(), Calls(), Calls()]
    patches = [one.patch(Derived) for one in calls]
    for index in (1, 0, 2):
        patches[index].undo()
        Derived().greet("you")
    assert [len(one) for one in calls] == [2, 0, 4]  # two for each call that was observed
    assert dict(Derived.__dict__) == before


@pytest.mark.parametrize("is_theirs_undone_first", [True, False])
def test_somebody_elses_wrapper_is_never_removed(is_theirs_undone_first: bool) -> None:
    class Own(Base):
        pass

    calls = Calls()
    patch = calls.patch(Own)
    ours: Callable[..., str] = Own.greet

    def theirs(self: Own, name: str) -> str:
        return ours(self, name) + "!"

    Own.greet = theirs  # type: ignore[method-assign]
    assert Own().greet("you") == "hello you!" and len(calls) == 2
    if is_theirs_undone_first:
        Own.greet = ours  # type: ignore[method-assign]
        patch.undo()
        assert Own().greet("you") == "hello you"
    else:
        patch.undo()
        assert Own().greet("you") == "hello you!"
    assert len(calls) == 2


def test_a_call_kept_from_before_the_end_is_observed_no_more() -> None:
    calls = Calls()
    patch = calls.patch(Derived)
    kept = Derived().greet
    patch.undo()
    assert kept("you") == "hello you" and calls == []


def test_a_call_that_raises_ends_too() -> None:
    class Failing(Base):
        def greet(self, name: str) -> str:
            raise ValueError(name)

    calls = Calls()
    patch = calls.patch(Failing)
    with pytest.raises(ValueError, match="you"):
        Failing().greet("you")
    patch.undo()
    assert calls == ["before you", "after"]


@pytest.mark.parametrize("part", ["before", "after"])
def test_what_fails_in_the_observer_is_told_and_does_not_reach_the_caller(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Calls, *given: Any) -> bool:
        raise ValueError(part)

    monkeypatch.setattr(Calls, part, fails)
    calls = Calls()
    patch = calls.patch(Base)
    assert Base().greet("you") == "hello you"
    patch.undo()
    assert f"ValueError('{part}')" in calls
